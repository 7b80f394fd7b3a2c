"""Whether a UBJSON file is whole: XGBoost reads past the end of one that is not, and dies."""

from __future__ import annotations

__all__ = ["fault_in_ubjson"]

_SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"C": 1}
_EMPTY = {b"T", b"F", b"Z"}
_INTEGERS = {b"i", b"U", b"I", b"l", b"L"}
_DEPTH = 64


class _Fault(Exception):
    """What is wrong, and where."""


def fault_in_ubjson(content: bytes) -> str:
    r"""Return what is wrong with the structure of a UBJSON text, nothing if it is whole.

    Example:
        >>> fault_in_ubjson(b"{i\x01aT}"), fault_in_ubjson(b"{i\x01aT")
        ('', 'it ends at byte 5')
    """
    try:
        reader = _Reader(content)
        reader.value(0)
    except _Fault as fault:
        return str(fault)
    return "" if reader.at == len(content) else f"something follows its end at byte {reader.at}"


class _Reader:
    """Walks over a text without keeping any of it."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count < 0 or self.at + count > len(self.content):
            raise _Fault(f"it ends at byte {len(self.content)}")
        self.at += count
        return self.content[self.at - count : self.at]

    def value(self, depth: int, kind: bytes = b"") -> None:
        """Pass one value, of a kind that is known or stands before it."""
        kind = kind or self.take(1)
        while kind == b"N":
            kind = self.take(1)
        if kind in _SIZES:
            self.take(_SIZES[kind])
        elif kind in (b"S", b"H"):
            self.take(self.count())
        elif kind in (b"{", b"[") and depth < _DEPTH:
            self.container(kind == b"{", depth + 1)
        elif kind not in _EMPTY:
            raise _Fault(f"byte {self.at - 1} is {kind!r}, which no value begins with")

    def count(self) -> int:
        """Return a length: an integer with its kind before it."""
        kind = self.take(1)
        if kind not in _INTEGERS:
            raise _Fault(f"byte {self.at - 1} is {kind!r}, where a length must be")
        return int.from_bytes(self.take(_SIZES[kind]), "big", signed=kind != b"U")

    def container(self, named: bool, depth: int) -> None:
        """Pass the rest of an object, or of an array."""
        kind, count = b"", None
        if self.peek() == b"$":
            self.take(1)
            kind = self.take(1)
        if self.peek() == b"#":
            self.take(1)
            count = self.count()
        if not named and count is not None and kind in _SIZES:
            self.take(count * _SIZES[kind])
            return
        end = b"}" if named else b"]"
        while count is None or count > 0:
            if count is None and self.peek() == end:
                self.take(1)
                return
            if named:
                self.take(self.count())
            self.value(depth, kind)
            count = None if count is None else count - 1

    def peek(self) -> bytes:
        """Return the next byte, and stay before it."""
        return self.content[self.at : self.at + 1]
