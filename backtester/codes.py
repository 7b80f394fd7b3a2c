"""Enumerations looked up and named for every order: quicker than those of the library."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = ["Code"]


class Code(IntEnum):
    """An `IntEnum` that hashes as its number, and knows its name in small letters.

    Attributes:
        word: The name as results have it.

    Example:
        >>> class Colour(Code):
        ...     DARK_RED = 1
        >>> Colour.DARK_RED.word, {1: "one"}[Colour.DARK_RED]
        ('dark_red', 'one')
    """

    word: str

    def __init__(self, *_: Any) -> None:
        self.word = self._name_.lower()

    __hash__ = int.__hash__  # the library hashes the name, in Python
