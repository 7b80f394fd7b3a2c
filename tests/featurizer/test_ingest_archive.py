"""Binance's public archive, served from the loopback by a server that can misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from featurizer.errors import MarketDataError
from featurizer.ingest.archive import ArchiveFile, archive_files, download
from featurizer.ingest.archive_files import ingest_archive
from tests.featurizer.ingest_examples import rows, target, write

DAY = "2024-08-08"
T0 = 1_723_075_200_000


@dataclass
class Archive:
    """What the server holds, and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    drop_after: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    base: str = ""

    def add(self, file: ArchiveFile, content: bytes, checksum: str | None = None) -> None:
        path = file.url.removeprefix(self.base)
        digest = checksum or hashlib.sha256(content).hexdigest()
        self.files[path] = content
        self.files[f"{path}.CHECKSUM"] = f"{digest}  {file.name}\n".encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        archive: Archive = self.server.archive  # type: ignore[attr-defined]
        archive.asked.append((self.path, self.headers.get("Range")))
        content = archive.files.get(self.path)
        if content is None:
            self.answer(404, b"")
            return
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start and archive.ranges:
            if start >= len(content):
                self.answer(416, b"")
                return
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], {"Content-Range": span})
            return
        self.answer(200, content)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        archive: Archive = self.server.archive  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        drop = archive.drop_after and not self.path.endswith("CHECKSUM")
        self.wfile.write(body[: archive.drop_after.pop(0)] if drop else body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[Archive]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.archive = Archive(base=f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.archive  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


CONTENT = bytes(range(256)) * 40


@pytest.fixture
def file(archive: Archive) -> ArchiveFile:
    (found,) = archive_files("um", "trades", "BTCUSDT", [DAY], archive.base)
    archive.add(found, CONTENT)
    return found


def data_requests(archive: Archive) -> list[str | None]:
    return [span for path, span in archive.asked if not path.endswith("CHECKSUM")]


def test_a_file_is_fetched_verified_and_not_fetched_again(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    done = download(file, tmp_path / "new", lambda *progress: told.append(progress))
    assert done.path.read_bytes() == CONTENT
    assert done.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (done.size_bytes, done.fetched_bytes) == (len(CONTENT), len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    assert download(file, tmp_path / "new").fetched_bytes == 0
    assert data_requests(archive) == [None]
    assert [p.name for p in (tmp_path / "new").iterdir()] == [file.name]


def test_a_part_from_an_earlier_run_is_continued(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    (tmp_path / f"{file.name}.part").write_bytes(CONTENT[:4000])
    done = download(file, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert done.fetched_bytes == len(CONTENT) - 4000
    assert data_requests(archive) == ["bytes=4000-"]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    archive.drop_after = [3000, 3000]
    done = download(file, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert done.fetched_bytes == len(CONTENT)
    assert data_requests(archive) == [None, "bytes=3000-", "bytes=6000-"]


def test_a_server_without_parts_sends_all_of_it_again(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    archive.ranges = False
    (tmp_path / f"{file.name}.part").write_bytes(b"x" * 500)
    assert download(file, tmp_path).path.read_bytes() == CONTENT


def test_a_connection_that_always_breaks_is_told_and_what_came_is_kept(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    archive.drop_after = [3000, *[0] * 20]
    with pytest.raises(MarketDataError, match=r"must be reachable.*3000 bytes are kept.*again"):
        download(file, tmp_path)
    archive.drop_after = []
    assert download(file, tmp_path).fetched_bytes == len(CONTENT) - 3000


@pytest.mark.parametrize("part", [b"", b"x" * 5000, CONTENT + b"more"])
def test_what_is_not_what_the_checksum_says_is_refused_and_not_kept(
    archive: Archive, file: ArchiveFile, tmp_path: Path, part: bytes
) -> None:
    if not part:
        archive.add(file, CONTENT, "0" * 64)
    else:
        (tmp_path / f"{file.name}.part").write_bytes(part)
    with pytest.raises(MarketDataError, match=r"its SHA-256 must be .*download it again"):
        download(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    archive.add(file, CONTENT)
    assert download(file, tmp_path).path.read_bytes() == CONTENT


def test_a_file_that_was_changed_here_is_fetched_again(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    (tmp_path / file.name).write_bytes(b"damaged")
    assert download(file, tmp_path).path.read_bytes() == CONTENT


def test_a_file_that_the_archive_does_not_have_is_told(archive: Archive, tmp_path: Path) -> None:
    (file,) = archive_files("spot", "1m", "BTCUSDT", [DAY], archive.base)
    with pytest.raises(
        MarketDataError, match=r"CHECKSUM: the archive must have this file: got HTTP"
    ):
        download(file, tmp_path)


def test_a_checksum_that_is_none_is_told(
    archive: Archive, file: ArchiveFile, tmp_path: Path
) -> None:
    archive.files[f"{file.url.removeprefix(archive.base)}.CHECKSUM"] = b"<html>welcome</html>"
    with pytest.raises(MarketDataError, match=r"must hold the SHA-256 of BTCUSDT.*got '<html>"):
        download(file, tmp_path)


def test_an_archive_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    (file,) = archive_files("um", "trades", "BTCUSDT", [DAY], "http://127.0.0.1:9")
    with pytest.raises(MarketDataError, match=r"must be reachable: got .*Run the same command"):
        download(file, tmp_path)


@pytest.mark.parametrize("base", ["", "data.binance.vision", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(base: str) -> None:
    with pytest.raises(MarketDataError, match="`--base-url` must be the address of an archive"):
        archive_files("um", "trades", "BTCUSDT", [DAY], base)


def test_a_symbol_that_would_leave_the_folder_is_refused() -> None:
    with pytest.raises(MarketDataError, match="`--symbol` must be written as the archive does"):
        archive_files("um", "trades", "../BTC", [DAY], "http://x")


TRADES = "id,price,qty,quote_qty,time,is_buyer_maker\n"
TRADE_LINES = f"7,100.5,2,201,{T0},true\n8,101,1,101,{T0 + 1},false\n"


@pytest.mark.parametrize(
    ("name", "text", "kind", "expected"),
    [
        (f"BTCUSDT-trades-{DAY}.zip", TRADES + TRADE_LINES, "trades", [7, 100.5, 2.0, -1]),
        (f"BTCUSDT-trades-{DAY}.csv", TRADE_LINES, "trades", [7, 100.5, 2.0, -1]),
        (f"BTCUSDT-trades-{DAY}.zip", f"7,100.5,2,201,{T0}000,True,True\n", "trades",
         [7, 100.5, 2.0, -1]),
        (f"BTCUSDT-aggTrades-{DAY}.zip", f"7,100.5,2,1,2,{T0},false\n", "trades",
         [7, 100.5, 2.0, 1]),
        (f"BTCUSDT-bookTicker-{DAY}.zip", "update_id,best_bid_price,best_bid_qty,best_ask_price,"
         f"best_ask_qty,transaction_time,event_time\n7,100,1,100.5,2,{T0},{T0 + 3}\n", "quotes",
         [7, 100.0, 1.0, 100.5, 2.0]),
    ],
)  # fmt: skip
def test_a_file_of_the_archive_is_read_by_its_name(
    tmp_path: Path, name: str, text: str, kind: str, expected: list[float]
) -> None:
    ingest_archive([write(tmp_path, text, name)], 5_000_000, target(tmp_path))
    row = rows(tmp_path, kind)[0]
    assert list(row.values())[2:] == expected
    assert row["event_time"] == T0 * 1_000_000
    assert row["receipt_time"] == (T0 + 5) * 1_000_000


@pytest.mark.parametrize("unit", [1, 1000])
def test_bars_of_the_archive_are_stamped_with_their_open(tmp_path: Path, unit: int) -> None:
    text = "".join(
        f"{(T0 + n * 60_000) * unit},100,101,99.5,100.5,7,{(T0 + n * 60_000 + 59_999) * unit},"
        "0,3,0,0,0\n"
        for n in range(3)
    )
    path = write(tmp_path, text, f"BTCUSDT-1m-{DAY}.zip")
    report = ingest_archive([path], 0, target(tmp_path))
    assert report.rows == {"bars": 3}
    row = rows(tmp_path, "bars")[0]
    assert (row["open_time"], row["event_time"]) == (T0 * 10**6, (T0 + 60_000) * 10**6)


def test_days_of_the_archive_are_read_together_and_gaps_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path, TRADES + TRADE_LINES, f"BTCUSDT-trades-{DAY}.zip")
    after = f"{T0 + 86_400_000},true\n"
    second = write(tmp_path, f"10,100,1,100,{after}", "BTCUSDT-trades-2024-08-09.zip")
    with pytest.raises(
        MarketDataError, match=r"08-09.zip line 1: `id` must follow .*10 after 8\. Acc"
    ):
        ingest_archive([first, second], 0, target(tmp_path))
    with pytest.raises(MarketDataError, match=r"`id` must grow from line to line: got 7 after 10"):
        ingest_archive([second, first], 0, target(tmp_path))
    report = ingest_archive([first, second], 0, target(tmp_path), accept_gaps=True)
    assert "Accepted 1 gaps in the ids of trades." in report.remarks
    assert report.rows == {"trades": 3}


@pytest.mark.parametrize(
    ("name", "text", "latency", "message"),
    [
        ("data.zip", TRADE_LINES, 0, r"must keep its name, as in BTCUSDT-trades-2024-08-08\.zip"),
        (f"ETHUSDT-trades-{DAY}.zip", TRADE_LINES, 0, r"got ETHUSDT\. Give the instrument"),
        (f"BTCUSDT-trades-{DAY}.zip", TRADE_LINES, None, r"got neither a receipt column nor"),
        (f"BTCUSDT-trades-{DAY}.zip", "id,price\n1,2\n", 0, r"must have a column `qty`: got id"),
        (f"BTCUSDT-trades-{DAY}.zip", TRADE_LINES.replace("true", "x"), 0, r"`is_buyer_maker`"),
        (f"BTCUSDT-trades-{DAY}.csv", TRADES, 0, r"it holds no trades"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_archive_is_refused(
    tmp_path: Path, name: str, text: str, latency: int | None, message: str
) -> None:
    with pytest.raises(MarketDataError, match=message):
        ingest_archive([write(tmp_path, text, name)], latency, target(tmp_path))
    assert not (tmp_path / "c").exists()


def test_a_zip_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, TRADES + TRADE_LINES * 30, f"BTCUSDT-trades-{DAY}.zip")
    whole = path.read_bytes()
    for broken in (whole[:-30], whole[:60] + b"\0\0\0" + whole[63:]):
        path.write_bytes(broken)
        with pytest.raises(MarketDataError, match=r"\.zip: the file must be whole and readable"):
            ingest_archive([path], 0, target(tmp_path))
