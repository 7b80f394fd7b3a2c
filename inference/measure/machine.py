"""What a measurement was made on: the machine, its load meanwhile, the versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["HostLoad", "host_load", "machine"]

_PACKAGES = ("lightcone-backtester", "ray", "xgboost", "onnxruntime", "numpy", "numba")


def machine(packages: Sequence[str] = _PACKAGES) -> dict[str, Any]:
    """Return the machine and the versions of what runs on it, as plain values."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


class HostLoad(NamedTuple):
    """Processor time of the whole host since its start, in ticks: of use as a difference.

    `busy` is everything but idle; `stolen` is what other guests of the hardware took. Zeros where
    the system does not tell.
    """

    busy: int
    stolen: int
    total: int

    def since(self, before: HostLoad) -> dict[str, float]:
        """Return the shares of the processors' time between two readings, of all cores."""
        total = max(self.total - before.total, 1)
        return {
            "busy": (self.busy - before.busy) / total,
            "stolen": (self.stolen - before.stolen) / total,
        }


def host_load() -> HostLoad:
    """Return what the host's processors have done so far."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return HostLoad(0, 0, 0)
    user, nice, system, idle, waiting, irq, soft, stolen = (int(ticks) for ticks in first)
    busy = user + nice + system + irq + soft
    return HostLoad(busy, stolen, busy + idle + waiting + stolen)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
