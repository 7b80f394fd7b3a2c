"""Binance's public archive: daily zip files and their checksums, fetched once and verified.

    <base>/data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-08.zip
    <base>/data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-08.zip.CHECKSUM

A file that is being fetched is called `….zip.part`; it goes on where it stopped, and gets its name
only when its SHA-256 is the one of the archive.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from featurizer.errors import MarketDataError
from featurizer.ingest.files import Progress

__all__ = ["DEFAULT_ARCHIVE", "ArchiveFile", "Download", "Market", "archive_files", "download"]

DEFAULT_ARCHIVE: Final = "https://data.binance.vision"
Market: TypeAlias = Literal["spot", "um", "cm"]

_FOLDERS: Final[dict[Market, str]] = {"spot": "spot", "um": "futures/um", "cm": "futures/cm"}
_BLOCK: Final = 1 << 20
_TIMEOUT_S: Final = 30
_ATTEMPTS: Final = 4
_BROKEN: Final = (URLError, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of the archive.

    Attributes:
        name: Its name.
        url: Its address.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is here, whole, and verified.

    Attributes:
        path: Where it lies.
        size_bytes: Its size.
        fetched_bytes: What was fetched of it now: nothing where it was here already.
        sha256: Its digest, which is the archive's.
    """

    path: Path
    size_bytes: int
    fetched_bytes: int
    sha256: str


def archive_files(
    market: Market, data: str, symbol: str, days: Sequence[str], base: str = DEFAULT_ARCHIVE
) -> list[ArchiveFile]:
    """Return the daily files of a symbol.

    Args:
        market: `spot`, `um` (USD-M futures) or `cm` (COIN-M futures).
        data: `trades`, `aggTrades`, `bookTicker`, or the length of bars, such as `1m`.
        symbol: As the archive writes it, such as BTCUSDT.
        days: Days as 2024-08-08.
        base: Address of the archive, or of a copy.

    Raises:
        MarketDataError: If the address or the symbol is none.

    Example:
        >>> archive_files("spot", "1m", "BTCUSDT", ["2024-08-08"], "http://copy")[0].url
        'http://copy/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-08-08.zip'
    """
    if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).netloc:
        raise MarketDataError(
            f"`--base-url` must be the address of an archive: got {base!r}. Write it as "
            f"{DEFAULT_ARCHIVE}."
        )
    if not re.fullmatch(r"[A-Z0-9_]+", symbol):
        raise MarketDataError(
            f"`--symbol` must be written as the archive does: got {symbol!r}. Write it as BTCUSDT."
        )
    bars = re.fullmatch(r"\d+(s|m|h|d|w|mo)", data)
    folder = f"klines/{symbol}/{data}" if bars else f"{data}/{symbol}"
    names = [f"{symbol}-{data}-{day}.zip" for day in days]
    root = f"{base.rstrip('/')}/data/{_FOLDERS[market]}/daily/{folder}"
    return [ArchiveFile(name, f"{root}/{name}") for name in names]


def download(file: ArchiveFile, folder: Path, progress: Progress | None = None) -> Download:
    """Fetch a file, or what is missing of it, and verify it.

    Args:
        file: What to fetch.
        folder: Where to put it; made if it does not exist.
        progress: Called with (done, total), in bytes.

    Raises:
        MarketDataError: If the archive has no such file, cannot be reached, or what it sent is not
            what its checksum says.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MarketDataError(
            f"`--out` must be a folder that can be written: got {folder} ({error.strerror}). "
            f"Name another one."
        ) from None
    path, part = folder / file.name, folder / f"{file.name}.part"
    wanted = _checksum(file)
    if path.exists() and _sha256(path) == wanted:
        return Download(path, path.stat().st_size, 0, wanted)
    fetched = _fetch(file, part, progress)
    found = _sha256(part)
    if found != wanted:
        part.unlink()
        raise MarketDataError(
            f"{file.url}: its SHA-256 must be that of the archive's CHECKSUM: got {found}, not "
            f"{wanted}. Nothing was kept: download it again."
        )
    os.replace(part, path)
    return Download(path, path.stat().st_size, fetched, wanted)


def _checksum(file: ArchiveFile) -> str:
    url = f"{file.url}.CHECKSUM"
    for attempt in range(_ATTEMPTS):
        try:
            with _open(url) as answer:
                text = answer.read(4096).decode(errors="replace")
            break
        except _BROKEN as error:
            if attempt == _ATTEMPTS - 1:
                raise _unreachable(url, error) from None
    digest, _, name = text.strip().partition(" ")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest) or name.strip(" *") != file.name:
        raise MarketDataError(
            f"{url}: it must hold the SHA-256 of {file.name}: got {text[:60]!r}. Look whether "
            f"`--base-url` is an archive."
        )
    return digest.lower()


def _fetch(file: ArchiveFile, part: Path, progress: Progress | None) -> int:
    """Fetch what is missing, and return how much that was.

    A connection that breaks is opened again where it broke, as long as that helps.
    """
    broken: Exception | None = None
    failures = fetched = 0
    while failures < _ATTEMPTS:
        have = part.stat().st_size if part.exists() else 0
        try:
            with _open(file.url, have) as answer:
                whole, total = answer.status != 206, _total(answer, have)
                with part.open("wb" if whole else "ab") as out:
                    for block in _blocks(answer):
                        out.write(block)
                        fetched += len(block)
                        if progress is not None:
                            progress(out.tell(), max(total, out.tell()))
            if part.stat().st_size >= total:
                return fetched
            broken = OSError("the connection ended too early")
        except _BROKEN as error:
            if isinstance(error, HTTPError) and error.code == 416 and have:
                return fetched  # nothing is missing, or this is of another file: the digest tells
            broken = error
        grown = part.exists() and part.stat().st_size > have
        failures = 0 if grown else failures + 1
    assert broken is not None
    raise _unreachable(file.url, broken, part)


def _total(answer: http.client.HTTPResponse, have: int) -> int:
    """Return the size of the whole file as the server tells it; 0 where it does not."""
    length = int(answer.headers.get("Content-Length") or 0)
    if answer.status != 206:  # it does not do parts: all of it comes
        return length
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise http.client.HTTPException("a part was sent that was not asked for")
    return have + length


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while block := answer.read1(_BLOCK):
        yield block


def _open(url: str, start: int = 0) -> http.client.HTTPResponse:
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer: http.client.HTTPResponse = urlopen(request, timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code in (403, 404):
            raise MarketDataError(
                f"{url}: the archive must have this file: got HTTP {error.code}. Look at the "
                f"market, the symbol and the day: a day is there from the next one on, and not "
                f"every kind of data is there for every day."
            ) from None
        raise
    return answer


def _unreachable(url: str, error: Exception, part: Path | None = None) -> MarketDataError:
    why = getattr(error, "reason", None) or error
    kept = ""
    if part is not None and part.exists():
        kept = f" {part.stat().st_size} bytes are kept in {part.name}."
    return MarketDataError(
        f"{url}: the archive must be reachable: got {why}.{kept} Run the same command again: it "
        f"goes on where it stopped."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
