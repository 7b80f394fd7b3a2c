"""An inference loop and its deployment, one event at a time: see the package `serving`."""

from __future__ import annotations

from tests.reference.serving.client import InferenceLoop
from tests.reference.serving.records import MISSING, Attempt, Request

__all__ = ["MISSING", "Attempt", "InferenceLoop", "Request"]
