"""Tables in files, batch by batch: CSV, plain or in gzip or zip, and Parquet.

Of a CSV every value is kept as text: what it means is decided, and refused, by column and line.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from featurizer.errors import MarketDataError
from featurizer.ingest.refusal import Origin

__all__ = ["Batch", "Progress", "TableFile"]

Progress = Callable[[int, int], None]
_BLOCK: Final = 2 << 20  # Arrow reads 32 of them ahead
_PARQUET_ROWS: Final = 262_144
_BROKEN: Final = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, pa.ArrowInvalid)


@dataclass(frozen=True)
class Batch:
    """Rows of a file that follow each other.

    Attributes:
        frame: The columns that were asked for: text, or what Parquet says.
        origin: The file, and the line (from 1) or row (from 0) of each.
    """

    frame: pl.DataFrame
    origin: Origin


class TableFile:
    """A file that holds a table.

    Args:
        path: A CSV, plain, `.gz` or in a `.zip` of its own, or a Parquet file.
        names: Names of the columns of a CSV that has no line of names.
        delimiter: What separates the values of a CSV.

    Raises:
        MarketDataError: If it cannot be read, or is empty.
    """

    def __init__(
        self, path: Path, names: Sequence[str] | None = None, delimiter: str = ","
    ) -> None:
        self.path = path
        self._delimiter, self._names = delimiter, names
        with self._reading():
            with path.open("rb") as raw:
                self.parquet = raw.read(4) == b"PAR1"
            self.columns = self._parquet_columns() if self.parquet else self._csv_columns()

    def first_line(self) -> list[str]:
        """Return the values of the first line of a CSV."""
        with self._reading(), self._opened() as (_, file):
            text = file.readline(1 << 20).decode("utf-8-sig")
        return next(csv.reader([text.rstrip("\r\n")], delimiter=self._delimiter), [])

    def batches(self, columns: Sequence[str], progress: Progress | None = None) -> Iterator[Batch]:
        """Yield the rows, in the order of the file.

        Raises:
            MarketDataError: If the file is cut short, a line has too few or too many values, or two
                columns share a name.
        """
        doubled = [name for name in self.columns if self.columns.count(name) > 1]
        if doubled:
            raise MarketDataError(
                f"{self.path}: the names of columns must differ: got `{doubled[0]}` twice. Correct "
                f"the first line, or give `--no-header`."
            )
        with self._reading():
            read = self._parquet_batches if self.parquet else self._csv_batches
            yield from read(list(dict.fromkeys(columns)), progress)

    def _parquet_columns(self) -> list[str]:
        with pq.ParquetFile(self.path) as file:
            return list(file.schema_arrow.names)

    def _csv_columns(self) -> list[str]:
        found = self.first_line()
        if not found:
            raise MarketDataError(f"{self.path}: a table must hold rows: got an empty first line.")
        if self._names is None:
            return [name.strip() for name in found]
        if len(found) > len(self._names):
            return [*self._names, *(f"unnamed {n}" for n in range(len(self._names), len(found)))]
        return list(self._names[: len(found)])

    def _parquet_batches(self, columns: list[str], progress: Progress | None) -> Iterator[Batch]:
        with pq.ParquetFile(self.path) as file:
            done, total = 0, file.metadata.num_rows
            for batch in file.iter_batches(_PARQUET_ROWS, columns=columns, use_threads=False):
                numbers = np.arange(done, done + batch.num_rows)
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield Batch(frame, Origin(str(self.path), "row", numbers))
                done += batch.num_rows
                if progress is not None:
                    progress(done, total)

    def _csv_batches(self, columns: list[str], progress: Progress | None) -> Iterator[Batch]:
        wrong: list[Any] = []

        def refuse(row: Any) -> str:
            wrong.append(row)
            return "error"

        total = self.path.stat().st_size
        read = pc.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=self.columns,
            skip_rows=0 if self._names is not None else 1,
        )  # fmt: skip
        parse = pc.ParseOptions(
            delimiter=self._delimiter, ignore_empty_lines=False, invalid_row_handler=refuse
        )
        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(self.columns, pa.string()), include_columns=columns,
            strings_can_be_null=False,
        )  # fmt: skip
        line = 1 if self._names is not None else 2
        with self._opened() as (raw, file):
            try:
                for batch in pc.open_csv(file, read, parse, convert):
                    numbers = np.arange(line, line + batch.num_rows)
                    frame = pl.from_arrow(pa.Table.from_batches([batch]))
                    assert isinstance(frame, pl.DataFrame)
                    yield Batch(frame, Origin(str(self.path), "line", numbers))
                    line += batch.num_rows
                    if progress is not None:
                        progress(raw.tell(), total)
            except pa.ArrowInvalid as error:
                if wrong:
                    row = wrong[0]
                    raise MarketDataError(
                        f"{self.path} line {row.number}: a line must have {row.expected_columns} "
                        f"values, as the first has: got {row.actual_columns}, {row.text[:60]!r}. "
                        f"Correct the line."
                    ) from None
                if "Empty CSV" not in str(error):
                    raise

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        with self.path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as file:
                    yield raw, file  # type: ignore[misc]
            elif magic == b"PK\x03\x04":
                with zipfile.ZipFile(raw) as archive, archive.open(self._member(archive)) as inner:
                    yield raw, inner
            else:
                yield raw, raw

    def _member(self, archive: zipfile.ZipFile) -> str:
        names = archive.namelist()
        if len(names) != 1:
            raise MarketDataError(
                f"{self.path}: a zip file must hold one table: got {len(names)} files. Unpack it."
            )
        return names[0]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise MarketDataError(
                f"{self.path}: a table must be CSV (plain, gzip, zip) or Parquet: got another kind "
                f"of file. Convert it."
            ) from None
        except _BROKEN as error:
            why = (str(error).splitlines() or ["nothing"])[0]
            raise MarketDataError(
                f"{self.path}: the file must be whole and readable: got {why}. Copy it again."
            ) from None
        except OSError as error:
            raise MarketDataError(
                f"{self.path}: the file must exist and be readable: got "
                f"{error.strerror or error}. Correct the path."
            ) from None
