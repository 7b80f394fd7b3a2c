"""Where the public sample captures lie, for tests marked `real_data`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def capture_path(name: str) -> Path:
    """Return the path of a sample file; skip the test, with the reason, where there is none."""
    told = os.environ.get("LIGHTCONE_REAL_DATA")
    folder = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    path = folder / name
    if not path.exists():
        pytest.skip(f"no real data: {path} does not exist (set LIGHTCONE_REAL_DATA)")
    return path
