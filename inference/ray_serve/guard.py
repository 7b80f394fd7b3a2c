"""A process that outlives the one it watches just long enough to end the Ray that it started.

Ray's own processes die with their parent, but when it is killed two agents of its node go on for a
minute, asking a dead server. This file is run as a script, without our packages or any other: its
standard input ends when the watched process does, by whatever cause.

    python -I -S guard.py PID FOLDER

It ends what descends from those children of PID whose command line names FOLDER, and removes it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

SNAPSHOT_S = 0.5
RARELY_S = 5.0
"""Between two looks at all processes, once Ray is up: a look takes 10 ms of a processor. What comes
later are workers, which end by themselves when Ray's servers do."""
LOOKS_OFTEN = 60
GRACE_S = 3.0
"""For Ray to end its processes by itself."""

Identity = tuple[int, str]
"""A process: its id, and when it started, as ids are used again."""


def processes() -> dict[int, tuple[int, str, bool]]:
    """Return parent, start and whether it lives, of every process by its id."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                # the name, in parentheses, may hold anything
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                found[int(entry)] = (int(fields[1]), fields[19], fields[0] not in "ZX")
    return found


def descendants(pid: int, folder: str) -> set[Identity]:
    """Return what descends from the children of a process that name a folder, and those."""
    known = processes()
    family = {
        child
        for child, (parent, _, _) in known.items()
        if parent == pid and child != os.getpid() and _names(child, folder)
    }
    grows = True
    while grows:
        more = {one for one, (parent, _, _) in known.items() if parent in family} - family
        family |= more
        grows = bool(more)
    return {(one, known[one][1]) for one in family}


def living(family: set[Identity]) -> set[Identity]:
    """Return those that live still."""
    known = processes()
    return {one for one in family if one[0] in known and known[one[0]][1:] == (one[1], True)}


def watch(pid: int, folder: str) -> None:
    """Wait until standard input ends, then end the family and remove the folder."""
    family: set[Identity] = set()
    looks = 0
    while not select.select([0], [], [], SNAPSHOT_S if looks < LOOKS_OFTEN else RARELY_S)[0]:
        family |= descendants(pid, folder)
        family = living(family)
        looks += 1
    waited = 0.0
    while living(family) and waited < GRACE_S:
        select.select([], [], [], 0.1)
        waited += 0.1
    for one, _ in living(family):
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _names(pid: int, folder: str) -> bool:
    try:
        return folder.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
