"""What the outermost structure of a file says about itself, read without a demuxer: kind, and where it should end."""

from dataclasses import dataclass
from typing import BinaryIO, Literal

Kind = Literal["isobmff", "riff", "matroska", "other"]

_IMAGE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_TOP_BOXES = frozenset(
    {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"styp", b"mfra", b"uuid", b"pnot"}
)
_EBML, _SEGMENT, _VOID = 0x1A45DFA3, 0x18538067, 0xEC
_MAX_BOXES = 100_000


@dataclass(frozen=True, slots=True)
class Outline:
    """The outermost structure of a file.

    Attributes:
        kind: family of the container; `other` where it is none of those that state their size.
        cut: the structure states an end that lies behind the end of the file, bytes being missing.
        has_index: ISO BMFF: the whole `moov` box is there; always True for other kinds.
        fragmented: ISO BMFF: there is a `moof` box, or may be one behind an unknown box, so that the index of `moov` is
            not known to be the whole index.
        image: ISO BMFF: a still image (AVIF, HEIF) by its brand.
    """

    kind: Kind
    cut: bool = False
    has_index: bool = True
    fragmented: bool = False
    image: bool = False


def read_outline(file: BinaryIO, size: int) -> Outline:
    """Reads a few bytes of every outermost element of a file of `size` bytes; leaves it at any position."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat"):
        return _isobmff(file, size, head)
    if head[:4] == b"RIFF":
        return Outline("riff", cut=int.from_bytes(head[4:8], "little") + 8 > size)
    if int.from_bytes(head[:4], "big") == _EBML:
        return Outline("matroska", cut=_matroska_cut(file, size))
    return Outline("other")


def _isobmff(file: BinaryIO, size: int, head: bytes) -> Outline:
    """Walks the boxes of ISO/IEC 14496-12, section 4.2."""
    position, cut = 0, False
    seen: set[bytes] = set()
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        name = header[4:8]
        if len(header) < 8 or name not in _TOP_BOXES:
            break  # what follows the last known box is no part of the video
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < 8:
            break
        position += length
        if position > size:
            cut = True
            break
        seen.add(name)
    fragmented = b"moof" in seen or position < size  # a demuxer goes on behind the box that ended the walk
    image = head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS
    return Outline("isobmff", cut=cut, has_index=b"moov" in seen, fragmented=fragmented, image=image)


def _matroska_cut(file: BinaryIO, size: int) -> bool:
    """Whether the Segment element (RFC 9559) states an end behind the end of the file."""
    position = 0
    for _ in range(8):
        file.seek(position)
        element, id_length = _vint(file, keep_marker=True)
        length, size_length = _vint(file, keep_marker=False)
        if id_length == 0 or size_length == 0:
            return False
        unknown = length == (1 << 7 * size_length) - 1
        end = position + id_length + size_length + length
        if element == _SEGMENT:
            return not unknown and end > size
        if element not in (_EBML, _VOID) or unknown:
            return False
        position = end
    return False


def _vint(file: BinaryIO, *, keep_marker: bool) -> tuple[int, int]:
    """A variable-size integer of EBML (RFC 8794, section 4) and its length in bytes; length 0 where there is none."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, 0
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return 0, 0
    value = first[0] if keep_marker else first[0] & ((1 << (8 - length)) - 1)
    return int.from_bytes(bytes([value]) + rest, "big"), length
