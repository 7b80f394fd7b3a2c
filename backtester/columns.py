"""Rows taken one by one and kept as columns."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Coded", "ColumnStore"]


class Coded(NamedTuple):
    """Texts as numbers of a few words.

    Attributes:
        codes: Place of each text among the words. Shape (n,).
        words: The words.
    """

    codes: np.ndarray
    words: tuple[str, ...]

    def series(self) -> pl.Series:
        """Return the texts."""
        import polars as pl

        return pl.Series(self.words, dtype=pl.String).gather(self.codes)


class ColumnStore:
    """Rows appended as tuples, kept as columns once a window is closed.

    Args:
        columns: Name and type (`int`, `float` or `str`) of each column.
    """

    def __init__(self, columns: dict[str, type]) -> None:
        self.columns = columns
        self.rows: list[tuple[Any, ...]] = []
        self._chunks: list[list[Any]] = []

    def close_window(self) -> None:
        """Turn the rows of the window into columns."""
        if not self.rows:
            return
        kinds = {int: np.int64, float: np.float64}
        self._chunks.append(
            [
                list(values) if kind is str else np.array(values, dtype=kinds[kind])
                for values, kind in zip(
                    zip(*self.rows, strict=True), self.columns.values(), strict=True
                )
            ]
        )
        self.rows = []

    def add(self, columns: list[Any]) -> None:
        """Take rows that are columns already, texts as words and codes; they are copied."""
        self.close_window()
        if len(columns[0]):
            self._chunks.append(
                [
                    Coded(c.codes.astype(np.int16), c.words)
                    if isinstance(c, Coded)
                    else np.array(c)
                    for c in columns
                ]
            )

    def to_columns(self) -> dict[str, Any]:
        """Return all rows as columns."""
        self.close_window()
        empty = {int: np.int64, float: np.float64}
        result: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.columns.items()):
            parts = [chunk[place] for chunk in self._chunks]
            if kind is str:
                result[name] = _texts(parts)
            else:
                result[name] = np.concatenate([np.empty(0, dtype=empty[kind]), *parts])
        return result


def _texts(parts: list[Any]) -> pl.Series:
    """Return chunks of texts, some of them coded, as one series."""
    import polars as pl

    series = [pl.Series([], dtype=pl.String)]
    for words, chunks in groupby(parts, lambda part: getattr(part, "words", None)):
        if words is None:
            series += [pl.Series(chunk, dtype=pl.String) for chunk in chunks]
        else:
            codes = np.concatenate([chunk.codes for chunk in chunks])
            series.append(Coded(codes, words).series())
    return pl.concat(series)
