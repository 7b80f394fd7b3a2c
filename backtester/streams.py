"""Which streams and columns a run reads, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backtester.errors import ScenarioError
from clock.nearest import nearest
from featurizer.market import STAMPS, StreamKey, StreamRequest

if TYPE_CHECKING:
    from featurizer.catalog import Catalog

__all__ = ["merged_requests"]


def merged_requests(requests: Iterable[StreamRequest], catalog: Catalog) -> list[StreamRequest]:
    """Return one request a stream, with every column that anybody asked for.

    Raises:
        ScenarioError: If a column is not one of its kind.
    """
    columns: dict[StreamKey, dict[str, None]] = {}
    for request in requests:
        known = list(catalog.kind(request.kind).all_columns)
        for name in request.columns:
            if name not in known:
                raise ScenarioError(
                    f"`{request.kind}` has no column `{name}`. {nearest(name, known)}"
                )
        wanted = columns.setdefault((request.instrument, request.kind), {})
        wanted.update(dict.fromkeys(name for name in request.columns if name not in STAMPS))
    return [StreamRequest(*stream, columns=tuple(names)) for stream, names in columns.items()]
