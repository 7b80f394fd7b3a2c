"""`lightcone data` end to end: what it prints, and exit code 2 with one message on bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backtester.cli import main
from tests.featurizer.ingest_examples import INSTRUMENTS, write
from tests.featurizer.test_ingest_archive import Archive, archive_files
from tests.featurizer.test_ingest_archive import archive as _archive

archive = _archive
Run = Callable[..., tuple[int, str, str]]
TO = ["--instrument", "MY.BTCUSDT", "--catalog", "c", "--instruments", "instruments.yaml"]
TARDIS = (
    "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    "x,BTCUSDT,1700000000000000,1700000000000700,a,buy,100,1\n"
)
BARS = "time,open,high,low,close,volume\n1700000040,100,101,99,100,7\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `lightcone data` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, INSTRUMENTS, "instruments.yaml")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            main(["data", *arguments])
        printed = capsys.readouterr()
        assert isinstance(leave.value.code, int)
        return leave.value.code, printed.out, printed.err

    return call


def test_each_format_has_its_own_options(run: Run) -> None:
    code, out, _ = run("ingest", "bars", "--help")
    assert code == 0
    assert "--stamp" in out
    assert "--clock-offset" not in out
    code, _, err = run("ingest", "tardis-trades", "x", *TO, "--stamp", "open")
    assert (code, "--stamp" in err) == (2, True)


def test_files_of_every_format_are_ingested_described_and_compacted(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path, TARDIS, "t.csv")
    write(tmp_path, BARS, "b.csv")
    write(tmp_path, "kinds: {signal: {columns: {score: float64}}}", "kinds.yaml")
    write(tmp_path, "time,score\n2024-01-01T00:00:00Z,0.5\n", "s.csv")
    latency = ("--feed-latency", "20ms")
    seconds = ("--time-unit", "s")
    assert run("ingest", "tardis-trades", "t.csv", *TO)[0] == 0
    code, out, _ = run(
        "ingest", "bars", "b.csv", *TO, "--stamp", "open", *seconds, *latency, "--json"
    )
    assert (code, json.loads(out)["rows"]) == (0, {"bars": 1})
    code, out, err = run(
        "ingest", "csv", "s.csv", *TO, "--kind", "signal", "--kinds", "kinds.yaml", *latency
    )
    assert (code, err) == (0, "")
    assert "Receipts are declared" in out
    later = TARDIS.replace("17000000000", "17000000009")
    write(tmp_path, later, "u.csv")
    assert run("ingest", "tardis-trades", "u.csv", *TO)[0] == 0
    code, out, _ = run("compact", "c", "--json")
    assert code == 0
    assert [(s["kind"], s["parts_before"], s["parts_after"]) for s in json.loads(out)] == [
        ("trades", 2, 1), ("bars", 1, 1), ("signal", 1, 1),
    ]  # fmt: skip
    code, out, _ = run("describe", "c")
    assert code == 0
    assert "signal: score float64" in out
    assert "declared" in out
    assert "recorded" in out


def test_a_day_is_replaced_only_when_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    write(tmp_path, TARDIS, "t.csv")
    assert run("ingest", "tardis-trades", "t.csv", *TO)[0] == 0
    code, out, err = run("ingest", "tardis-trades", "t.csv", *TO)
    assert (code, out) == (2, "")
    assert "must not lie among those of the catalog" in err
    code, out, _ = run("ingest", "tardis-trades", "t.csv", *TO, "--replace")
    assert code == 0
    assert "1 of the same days" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "cvs", "t.csv", *TO], "got 'cvs'. Did you mean 'csv'?"),
        (["ingest", "csv", "t.csv", *TO, "--kind", "trades"], "`time` must have"),
        (["ingest", "csv", "none.csv", *TO, "--kind", "trades"], "none.csv: the file must exist"),
        (["ingest", "csv", "t.csv", *TO, "--kind", "trades", "--time-unit", "µs"], "`--time-unit`"),
        (["ingest", "csv", "t.csv", *TO, "--kind", "trades", "--columns", "x"], "`--columns` must"),
        (["ingest", "csv", "t.csv", *TO, "--kind", "trades", "--feed-latency", "3"], "`--feed-lat"),
        (["ingest", "csv", "t.csv", *TO, "--kind", "trades", "--start", "now"], "`--start`: "),
        (["ingest", "csv", "t.csv", *TO, "--kind", "x", "--kinds", "none"], "none: the file must"),
        (["ingest", "bars", "b.csv", *TO, "--stamp", "middle"], "`--stamp` must be one of open"),
        (["ingest", "bars", "b.csv", *TO, "--stamp", "open"], "neither a receipt column nor"),
        (["ingest", "bars", "b.csv", *TO, "--stamp", "open", "--interval", "0"], "`--interval`"),
        (["ingest", "tardis-quotes", "t.csv", *TO], "must have a column `bid_price`"),
        (["ingest", "binance-archive", "t.csv", *TO], "must keep its name"),
        (["compact", "none"], "a catalog must hold `instruments.yaml`"),
        (["download", "--symbol", "X", "--data", "1m", "--start", "May", "--out", "o"], "a day"),
        (["download", "--symbol", "X", "--data", "1m", "--start", "2024-01-02", "--until",
          "2024-01-01", "--out", "o"], "`--until` must be after"),
        (["download", "--symbol", "X", "--data", "1m", "--start", "2024-01-02", "--out", "o",
          "--market", "usdm"], "`--market` must be one of um"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message_and_exit_code_2(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write(tmp_path, TARDIS, "t.csv")
    write(tmp_path, BARS, "b.csv")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("lightcone: ")
    assert "Traceback" not in err
    assert not (tmp_path / "c").exists()


def test_days_are_downloaded_and_then_ingested(run: Run, archive: Archive, tmp_path: Path) -> None:
    import io
    import zipfile

    days = ["2024-08-08", "2024-08-09"]
    for number, file in enumerate(archive_files("um", "trades", "BTCUSDT", days, archive.base)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as zipped:
            stamp = 1_723_075_200_000 + number * 86_400_000
            zipped.writestr("x.csv", f"{number},100,1,100,{stamp},true\n")
        archive.add(file, packed.getvalue())
    what = ["--symbol", "BTCUSDT", "--data", "trades", "--start", days[0], "--until", "2024-08-10"]
    code, out, err = run("download", *what, "--out", "files", "--base-url", archive.base)
    assert code == 0, err
    assert "BTCUSDT-trades-2024-08-09.zip" in out
    assert "Next: lightcone data ingest binance-archive" in err
    names = [f"files/BTCUSDT-trades-{day}.zip" for day in days]
    code, out, _ = run("ingest", "binance-archive", *names, *TO, "--feed-latency", "20ms", "--json")
    assert (code, json.loads(out)["rows"]) == (0, {"trades": 2})
    code, _, err = run("download", *what, "--out", "instruments.yaml", "--base-url", archive.base)
    assert code == 2
    assert "`--out` must be a folder" in err
