"""The columns of seeds.parquet: a seed as a row, and back. Pure, but for the library that it is given."""

import base64
from collections.abc import Sequence
from typing import Any

from services.contracts import SeedCopy

_FLAT = (
    "id", "version", "issue", "kind", "state", "share", "expires_at", "text", "start_s", "end_s", "sha256", "vectors",
    "note", "created_at", "created_by", "updated_at", "updated_by", "quarantined_why",
)  # fmt: skip
_REMOVED = {"removed_at": "at", "removed_by": "by", "removed_why": "why"}
_STATS = ("hits", "confirmed", "refuted", "last_hit_at")
_FLOAT_BYTES = 4


def schema(arrow: Any) -> Any:
    """The columns: every field of a Seed, `frames` (JPEG files), `encoder`, `dim`; `embedding` is a vector a frame."""
    moment = arrow.timestamp("us", tz="UTC")
    types: dict[str, Any] = {name: arrow.string() for name in (*_FLAT, *_REMOVED)}
    types |= dict.fromkeys(("version", "vectors"), arrow.int32())
    types |= dict.fromkeys(("share", "start_s", "end_s"), arrow.float64())
    types |= dict.fromkeys(_STATS, arrow.int64())
    types |= dict.fromkeys(("expires_at", "created_at", "updated_at", "removed_at", "last_hit_at"), moment)
    types |= {"frames": arrow.int32(), "encoder": arrow.string(), "dim": arrow.int32()}
    types["embedding"] = arrow.list_(arrow.list_(arrow.float32()))
    return arrow.schema(list(types.items()))


def column_values(arrow: Any, copies: Sequence[SeedCopy]) -> dict[str, Any]:
    """Values of every column of the schema, in the order of the copies."""
    values: dict[str, Any] = {name: [getattr(each.seed, name) for each in copies] for name in _FLAT}
    for column, name in _REMOVED.items():
        values[column] = [each.seed.removed and getattr(each.seed.removed, name) for each in copies]
    for name in _STATS:
        values[name] = [getattr(each.seed.stats, name) for each in copies]
    values["frames"] = [len(each.frames) for each in copies]
    values["encoder"] = [each.vectors and each.vectors.encoder for each in copies]
    values["dim"] = [each.vectors and each.vectors.dim for each in copies]
    values["embedding"] = _embeddings(arrow, copies)
    return values


def record_document(record: dict[str, Any]) -> dict[str, Any]:
    """A row as the document of a SeedCopy without its frames."""
    seed: dict[str, Any] = {name: record[name] for name in _FLAT}
    seed["stats"] = {name: record[name] for name in _STATS}
    removed = {name: record[column] for column, name in _REMOVED.items()}
    seed["removed"] = removed if removed["at"] is not None else None
    embedding, vectors = record["embedding"], None
    if embedding.is_valid:
        floats = embedding.values.flatten()
        data = floats.buffers()[1]
        start = floats.offset * _FLOAT_BYTES
        raw = data.slice(start, len(floats) * _FLOAT_BYTES).to_pybytes() if len(floats) else b""
        vectors = {"encoder": record["encoder"], "dim": record["dim"], "data": base64.b64encode(raw)}
    return {"seed": seed, "vectors": vectors}


def _embeddings(arrow: Any, copies: Sequence[SeedCopy]) -> Any:
    """The vectors as lists of lists, made of their bytes: a bank has too many numbers to make Python's of them."""
    data, inner, outer = bytearray(), [0], list[int | None]()
    for each in copies:
        if each.vectors is None:
            outer.append(None)
            continue
        outer.append(len(inner) - 1)
        data += each.vectors.data
        width = each.vectors.dim
        if len(each.vectors.data) % (width * _FLOAT_BYTES):
            raise ValueError(f"the vectors of {each.seed.id} are not of {width} numbers")
        inner.extend(range(inner[-1] + width, len(data) // _FLOAT_BYTES + 1, width))
    outer.append(len(inner) - 1)
    floats = arrow.Array.from_buffers(
        arrow.float32(), len(data) // _FLOAT_BYTES, [None, arrow.py_buffer(bytes(data))]
    )  # fmt: skip
    rows = arrow.ListArray.from_arrays(arrow.array(inner, arrow.int32()), floats)
    return arrow.ListArray.from_arrays(arrow.array(outer, arrow.int32()), rows)
