"""Rows taken one by one and kept as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

__all__ = ["ColumnStore"]


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
        """Take rows that are columns already; texts as a series."""
        self.close_window()
        if len(columns[0]):
            self._chunks.append([np.array(c) if isinstance(c, np.ndarray) else c for c in columns])

    def to_columns(self) -> dict[str, Any]:
        """Return all rows as columns."""
        self.close_window()
        empty = {int: np.int64, float: np.float64}
        result: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.columns.items()):
            parts = [chunk[place] for chunk in self._chunks]
            if kind is str:
                texts = [pl.Series(part, dtype=pl.String) for part in parts]
                result[name] = pl.concat(texts) if texts else pl.Series([], dtype=pl.String)
            else:
                result[name] = np.concatenate([np.empty(0, dtype=empty[kind]), *parts])
        return result
