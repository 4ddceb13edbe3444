"""Damages files in the ways that break parsers, from a seed alone: the same seed gives the same mutant."""

import random
import struct
from collections.abc import Callable, Mapping

_BOXES = (b"ftyp", b"moov", b"mdat", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"stts", b"stss", b"stsz", b"stco",
          b"stsc", b"mvhd", b"tkhd", b"mdhd", b"avc1", b"avcC", b"elst", b"RIFF", b"LIST", b"avih", b"strh", b"strf",
          b"movi", b"idx1", b"00dc")  # fmt: skip
_RIFF = (b"RIFF", b"LIST", b"movi", b"idx1", b"00dc", b"avih", b"strh", b"strf")
_EBML_IDS = (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b",
             b"\xae", b"\xa3", b"\xb0", b"\xba", b"\xe0")  # fmt: skip
_EXTREMES = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutant(seed: int, good: Mapping[str, bytes]) -> tuple[str, str, bytes]:
    """One damaged file.

    Args:
        seed: says everything.
        good: whole files, by the name of their container.

    Returns:
        The container that it came from, what was done to it, and its bytes.
    """
    choice = random.Random(seed)
    container = choice.choice(sorted(good))
    data = bytearray(good[container])
    done = []
    for _ in range(choice.choice((1, 1, 1, 2, 2, 4, 8))):
        name = choice.choice(sorted(_OPERATIONS))
        other = good[choice.choice(sorted(good))]
        _OPERATIONS[name](choice, data, other)
        done.append(name)
    return container, "+".join(done), bytes(data) or b"\0"


def _place(choice: random.Random, data: bytearray) -> int:
    """A position; half of them in the first kilobyte, where headers are."""
    top = max(1, len(data))
    return choice.randrange(min(top, 1024)) if choice.random() < 0.5 else choice.randrange(top)


def _flip_bits(choice: random.Random, data: bytearray, _: bytes) -> None:
    for _ in range(choice.choice((1, 4, 32, 256))):
        if data:
            data[_place(choice, data)] ^= 1 << choice.randrange(8)


def _overwrite_run(choice: random.Random, data: bytearray, _: bytes) -> None:
    start, length = _place(choice, data), choice.choice((1, 4, 64, 1024))
    fill = choice.choice((b"\x00" * length, b"\xff" * length, choice.randbytes(length)))
    data[start : start + length] = fill[: max(0, len(data) - start)]


def _delete(choice: random.Random, data: bytearray, _: bytes) -> None:
    start = _place(choice, data)
    del data[start : start + choice.choice((1, 4, 16, 256, 4096))]


def _duplicate(choice: random.Random, data: bytearray, _: bytes) -> None:
    start, length = _place(choice, data), choice.choice((4, 64, 1024, 8192))
    data[start:start] = data[start : start + length] * choice.choice((1, 2, 16))


def _truncate(choice: random.Random, data: bytearray, _: bytes) -> None:
    del data[_place(choice, data) :]


def _insert(choice: random.Random, data: bytearray, _: bytes) -> None:
    place = _place(choice, data)
    data[place:place] = choice.randbytes(choice.choice((1, 3, 8, 100)))


def _swap(choice: random.Random, data: bytearray, _: bytes) -> None:
    a, b, length = _place(choice, data), _place(choice, data), choice.choice((4, 32, 512))
    one, two = data[a : a + length], data[b : b + length]
    data[a : a + len(one)], data[b : b + len(two)] = two, one


def _change_number(choice: random.Random, data: bytearray, _: bytes) -> None:
    """Writes a number that sits on an edge over four bytes, in either order."""
    place = _place(choice, data) & ~3
    if place + 4 <= len(data):
        data[place : place + 4] = struct.pack(choice.choice((">I", "<I")), choice.choice(_EXTREMES))


def _change_size(choice: random.Random, data: bytearray, _: bytes) -> None:
    """Changes the stated size of a box (ISO BMFF, RIFF) or of an EBML element."""
    marks = [mark for mark in (*_BOXES, *_EBML_IDS) if mark in data]
    if not marks:
        _change_number(choice, data, b"")
        return
    mark = choice.choice(marks)
    places = [place for place in range(len(data)) if data.startswith(mark, place)]
    place = choice.choice(places)
    if mark in _EBML_IDS:
        at, value = place + len(mark), choice.choice((b"\x80", b"\xff", b"\x01" + b"\xff" * 7, b"\x00", b"\x08\xff"))
        data[at : at + len(value)] = value
    else:
        at = (
            place + 4 if mark in (b"RIFF", b"LIST", b"movi", b"idx1", b"00dc", b"avih", b"strh", b"strf") else place - 4
        )
        if at >= 0:
            data[at : at + 4] = struct.pack(choice.choice((">I", "<I")), choice.choice(_EXTREMES))


def _splice_head(choice: random.Random, data: bytearray, other: bytes) -> None:
    """The beginning of another file before the rest of this one."""
    cut = choice.choice((16, 64, 512, 2048))
    data[:cut] = other[:cut]


def _splice_tail(choice: random.Random, data: bytearray, other: bytes) -> None:
    data[_place(choice, data) :] = other[choice.randrange(len(other)) :]


_OPERATIONS: dict[str, Callable[[random.Random, bytearray, bytes], None]] = {
    "flip_bits": _flip_bits,
    "overwrite_run": _overwrite_run,
    "delete": _delete,
    "duplicate": _duplicate,
    "truncate": _truncate,
    "insert": _insert,
    "swap": _swap,
    "change_number": _change_number,
    "change_size": _change_size,
    "splice_head": _splice_head,
    "splice_tail": _splice_tail,
}
