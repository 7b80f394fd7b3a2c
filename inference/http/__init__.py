"""The HTTP service: predictions of any deployment over HTTP, with limits that hold.

`make_app(deployments, settings)` makes a FastAPI application over anything that is `Served`: a
predictor in this process, a `Backend`, or handles of Ray Serve.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "InProcess": "inference.http.in_process",
    "OverBackend": "inference.http.over_backend",
    "Served": "inference.http.served",
    "Settings": "inference.http.settings",
    "make_app": "inference.http.app",
}

__all__ = ["InProcess", "OverBackend", "Served", "Settings", "make_app"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'inference.http' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
