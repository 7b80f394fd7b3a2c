"""What is deployed, as a table and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from inference.ray_serve.status import ApplicationStatus

__all__ = ["deployments_json", "deployments_table"]


def deployments_json(found: Sequence[ApplicationStatus]) -> list[dict[str, Any]]:
    """Return the deployments as plain JSON values."""
    return [one._asdict() for one in found]


def deployments_table(found: Sequence[ApplicationStatus], address: str) -> Table:
    """Return a row for each deployment."""
    table = Table(title=f"Deployments at {address}")
    for column in ("deployment", "status", "replicas", "message"):
        table.add_column(column)
    for one in found:
        states = ", ".join(f"{count} {state.lower()}" for state, count in one.replicas.items())
        table.add_row(one.name, one.status.lower(), states or "none", escape(one.message))
    return table
