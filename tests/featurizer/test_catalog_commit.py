"""A change of a catalog is whole or not there, whatever kills the process in the middle of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from featurizer.catalog import Catalog
from featurizer.errors import CatalogError, MarketDataError
from tests.featurizer.catalog_versions import (
    DAY,
    DAYS,
    QUOTES_KEY,
    TRADES_KEY,
    change,
    content,
    leftovers,
    make,
    one_stream,
    table,
    whole,
)
from tests.featurizer.market_examples import NOON, trades

CHILD = """
import os, shutil, signal, sys
import pyarrow.parquet as pq
from tests.featurizer.catalog_versions import change

folder, kind = sys.argv[1:]
real = {name: getattr(os, name) for name in ("replace", "unlink", "mkdir", "rmdir")}
write_table = pq.write_table
end = -9
while end != 0:
    step = len(os.listdir(folder)) - 2
    shutil.copytree(f"{folder}/base", f"{folder}/{step}")
    child = os.fork()
    if child == 0:
        left = step
        def counted(call):
            def run(*args, **kwargs):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*args, **kwargs)
            return run
        for name, call in real.items():
            setattr(os, name, counted(call))
        pq.write_table = counted(write_table)
        change(f"{folder}/{step}", kind)
        os._exit(0)
    end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(end, flush=True)
"""
"""Makes the change again and again, killed one step later each time, until it comes to its end."""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make(tmp_path / "catalog")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["append", "replace", "compact"])
def test_a_change_that_is_killed_at_any_step_is_whole_or_not_there(
    tmp_path: Path, kind: str
) -> None:
    base = make(tmp_path / "base")
    old = content(base)
    shutil.copytree(base.root, tmp_path / "done")
    change(str(tmp_path / "done"), kind)
    new = content(Catalog(tmp_path / "done"))
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), kind],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    ends = [int(line) for line in run.stdout.splitlines()]
    assert len(ends) > 10, run.stderr
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert ends[-1] == 0
    seen = set()
    for step in range(len(ends)):
        root = tmp_path / str(step)
        found = content(Catalog(root))
        assert found in (old, new), f"killed at step {step}: half of the change is there"
        seen.add(found == new)
        # the next writer finishes, or sweeps, what was left
        Catalog(root).write(*TRADES_KEY, trades([NOON + 9 * DAY]))
        assert content(Catalog(root))[:-1] == found
        assert leftovers(root) == []
    assert kind == "compact" or seen == {False, True}


@pytest.mark.slow
def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_catalog(tmp_path: Path) -> None:
    root = make(tmp_path / "c").root
    loop = (
        "import sys\nfrom tests.featurizer.catalog_versions import *\n"
        "print('go', flush=True)\nfor n in range(10**6):\n"
        "    with Catalog(sys.argv[1]).transaction(replace=True) as records:\n"
        "        records.write(*QUOTES_KEY, whole(1 + n % 7))\n"
        "        records.write(*TRADES_KEY, whole(1 + n % 7, trades))\n"
    )
    for wait in (0.02, 0.05, 0.11):
        child = subprocess.Popen(
            [sys.executable, "-c", loop, str(root)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        threading.Event().wait(wait)
        assert child.poll() is None
        child.kill()
        child.wait()
        child.stdout.close()
        versions = {version for _, version in content(Catalog(root))}
        assert len(versions) == 1


@pytest.mark.slow
def test_a_reader_sees_a_change_of_many_days_and_streams_as_one(catalog: Catalog) -> None:
    stop = threading.Event()

    def write() -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            with catalog.transaction(replace=True) as records:
                records.write(*QUOTES_KEY, whole(1 + number % 5))
                records.write(*TRADES_KEY, whole(1 + number % 5, trades))

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    try:
        for _ in range(30):
            reader = Catalog(catalog.root)
            try:
                for key in (QUOTES_KEY, TRADES_KEY):
                    versions = {v for _, v in one_stream(reader, key)}
                    assert len(versions) == 1
                    reads += 1
            except CatalogError as error:
                assert "while the catalog is read" in str(error)  # noqa: PT017
    finally:
        stop.set()
        writer.join()
    assert reads
    assert leftovers(catalog.root) == []


def test_a_change_that_fails_writes_nothing_of_any_stream(catalog: Catalog) -> None:
    before = content(catalog)
    bad = whole(2) | {"ask_quantity": np.full(4 * DAYS, -1.0)}

    def write() -> None:
        with catalog.transaction(replace=True) as records:
            records.write(*TRADES_KEY, whole(2, trades))
            records.write(*QUOTES_KEY, bad)

    with pytest.raises(MarketDataError, match="`ask_quantity` must be positive"):
        write()
    assert content(Catalog(catalog.root)) == before
    assert leftovers(catalog.root) == []


def test_records_that_another_process_wrote_meanwhile_are_not_written_over(
    catalog: Catalog,
) -> None:
    def write() -> None:
        with catalog.transaction() as records:
            records.write(*QUOTES_KEY, table(2, 9))
            Catalog(catalog.root).write(*QUOTES_KEY, table(3, 9))

    with pytest.raises(CatalogError, match=r"must not lie among"):
        write()
    assert [v for _, v in content(Catalog(catalog.root)) if v == 2.0] == []


def test_two_writers_of_different_records_both_succeed(catalog: Catalog) -> None:
    with catalog.transaction() as first, Catalog(catalog.root).transaction() as second:
        first.write(*QUOTES_KEY, table(2, 9))
        second.write(*QUOTES_KEY, table(3, 10))
    assert {v for _, v in content(Catalog(catalog.root))} == {1.0, 2.0, 3.0}


def test_a_replaced_day_leaves_the_other_days_alone(catalog: Catalog) -> None:
    with catalog.transaction(replace=True) as records:
        records.write(*QUOTES_KEY, table(2, 0))
    assert records.replaced == {QUOTES_KEY: 8}
    versions = [v for _, v in one_stream(Catalog(catalog.root), QUOTES_KEY)]
    assert versions == [2.0] * 4 + [1.0] * 8
