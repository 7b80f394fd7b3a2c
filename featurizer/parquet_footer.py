"""What a Parquet file says about itself: page headers and the footer, in Thrift's compact form.

Numbers of fields and of types are those of `parquet.thrift`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["Chunk", "Column", "data_header", "dictionary_header", "footer", "varint"]

Encoding: TypeAlias = Literal["PLAIN", "RLE", "RLE_DICTIONARY"]

_ENCODINGS: Final[Mapping[Encoding, int]] = {"PLAIN": 0, "RLE": 3, "RLE_DICTIONARY": 8}
_PHYSICAL: Final = {"instant": 2, "float64": 5, "text": 6}
_VERSION: Final = 2

# Thrift's types
_YES, _I16, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 4, 5, 6, 8, 9, 12
_Field: TypeAlias = tuple[int, int, bytes]


class Column(NamedTuple):
    """A column of a file.

    Attributes:
        name: Its name.
        type: `instant` (ns, UTC), `float64` or `text`.
        optional: Whether values may be missing.
        ascending: Whether its instants never decrease; row groups then tell their range.
    """

    name: str
    type: Literal["instant", "float64", "text"]
    optional: bool = False
    ascending: bool = False


class Chunk(NamedTuple):
    """A column of a row group, as it lies in the file.

    Attributes:
        data_at: Where its data page begins.
        dictionary_at: Where its page of names begins, if it has one.
        size: Bytes of its pages, headers included.
        encodings: How they are written.
        smallest: Its least value, if that is told.
        largest: Its largest value, if that is told.
    """

    data_at: int
    dictionary_at: int | None
    size: int
    encodings: tuple[Encoding, ...]
    smallest: int | None = None
    largest: int | None = None


def data_header(rows: int, size: int, encoding: Encoding) -> bytes:
    """Return the header of a data page of so many rows and bytes."""
    levels = _ENCODINGS["RLE"]
    page = _struct(_i32(1, rows), _i32(2, _ENCODINGS[encoding]), _i32(3, levels), _i32(4, levels))
    return _struct(_i32(1, 0), _i32(2, size), _i32(3, size), (5, _STRUCT, page))


def dictionary_header(names: int, size: int) -> bytes:
    """Return the header of a page of so many names."""
    page = _struct(_i32(1, names), _i32(2, _ENCODINGS["PLAIN"]))
    return _struct(_i32(1, 2), _i32(2, size), _i32(3, size), (7, _STRUCT, page))


def footer(
    columns: Sequence[Column],
    groups: Sequence[tuple[int, Sequence[Chunk]]],
    metadata: Mapping[str, str],
) -> bytes:
    """Return the footer of a file.

    Args:
        columns: Its columns.
        groups: Of each row group, its rows and its columns.
        metadata: Text kept with the file.
    """
    root = _struct(_text(4, "schema"), _i32(5, len(columns)))
    schema = [root, *[_schema(column) for column in columns]]
    rows = sum(count for count, _ in groups)
    kept = [_struct(_text(1, key), _text(2, value)) for key, value in metadata.items()]
    order = _struct((1, _STRUCT, _struct()))  # values are ordered as their type says
    return _struct(
        _i32(1, _VERSION),
        _structs(2, schema),
        _i64(3, rows),
        _structs(4, [_group(columns, count, own, n) for n, (count, own) in enumerate(groups)]),
        _structs(5, kept),
        _text(6, "lightcone"),
        _structs(7, [order] * len(columns)),
    )


def _schema(column: Column) -> bytes:
    fields = [
        _i32(1, _PHYSICAL[column.type]),
        _i32(3, int(column.optional)),
        _text(4, column.name),
    ]
    if column.type == "text":
        fields += [_i32(6, 0), (10, _STRUCT, _struct((1, _STRUCT, _struct())))]
    if column.type == "instant":
        nanoseconds = _struct((3, _STRUCT, _struct()))
        instant = _struct((1, _YES, b""), (2, _STRUCT, nanoseconds))
        fields.append((10, _STRUCT, _struct((8, _STRUCT, instant))))
    return _struct(*fields)


def _group(columns: Sequence[Column], rows: int, chunks: Sequence[Chunk], number: int) -> bytes:
    size = sum(chunk.size for chunk in chunks)
    begin = chunks[0].data_at if chunks[0].dictionary_at is None else chunks[0].dictionary_at
    described = [_chunk(column, rows, own) for column, own in zip(columns, chunks, strict=True)]
    fields = [_structs(1, described), _i64(2, size), _i64(3, rows), _i64(5, begin), _i64(6, size)]
    if number < 2**15:  # the number of a row group is a short one, and need not be told
        fields.append((7, _I16, _zigzag(number)))
    return _struct(*fields)


def _chunk(column: Column, rows: int, chunk: Chunk) -> bytes:
    encodings = [_zigzag(_ENCODINGS[name]) for name in chunk.encodings]
    name = column.name.encode()
    fields = [
        _i32(1, _PHYSICAL[column.type]),
        _listed(2, _I32, encodings),
        _listed(3, _BINARY, [varint(len(name)) + name]),
        _i32(4, 0),  # not compressed
        _i64(5, rows),
        _i64(6, chunk.size),
        _i64(7, chunk.size),
        _i64(9, chunk.data_at),
    ]
    if chunk.dictionary_at is not None:
        fields.append(_i64(11, chunk.dictionary_at))
    if chunk.smallest is not None and chunk.largest is not None:
        bounds = [
            value.to_bytes(8, "little", signed=True) for value in (chunk.largest, chunk.smallest)
        ]
        told = _struct(_i64(3, 0), _binary(5, bounds[0]), _binary(6, bounds[1]))
        fields.append((12, _STRUCT, told))
    return _struct(_i64(2, 0), (3, _STRUCT, _struct(*fields)))


# --- Thrift's compact form ------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Return a number from 0 on in groups of seven bits, the least first.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _struct(*fields: _Field) -> bytes:
    """Return a structure of fields, in ascending order of their numbers."""
    found, before = [], 0
    for number, type_, content in fields:
        found += [bytes([(number - before) << 4 | type_]), content]
        before = number
    return b"".join([*found, b"\0"])


def _i32(number: int, value: int) -> _Field:
    return number, _I32, _zigzag(value)


def _i64(number: int, value: int) -> _Field:
    return number, _I64, _zigzag(value)


def _binary(number: int, value: bytes) -> _Field:
    return number, _BINARY, varint(len(value)) + value


def _text(number: int, value: str) -> _Field:
    return _binary(number, value.encode())


def _structs(number: int, values: Sequence[bytes]) -> _Field:
    return _listed(number, _STRUCT, values)


def _listed(number: int, type_: int, values: Sequence[bytes]) -> _Field:
    count = len(values)
    head = bytes([count << 4 | type_]) if count < 15 else bytes([0xF0 | type_]) + varint(count)
    return number, _LIST, head + b"".join(values)
