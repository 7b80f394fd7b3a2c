"""Compiled scans with explicit state, one family a file.

An operator is an object that holds its state in NumPy arrays and has one method, `scan`: records
in, values out, at the instants asked for. Each module imports numba, so definitions import an
operator only where they make one.
"""

from __future__ import annotations

__all__: list[str] = []
