"""A window's predictions are asked for while the window before it trades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backtester.planes import Begun, ExogenousPlanes
    from featurizer.market import Window
    from inference.background import Background

__all__ = ["look_ahead"]


def look_ahead(
    windows: Iterable[Window], planes: ExogenousPlanes, background: Background | None
) -> Iterator[tuple[Window, Begun | None]]:
    """Yield the windows, each with its planes begun, those of the next one too by then.

    What the strategy does cannot change them, so that the order of work is free.

    Args:
        windows: The windows of a run, in order.
        planes: What runs ahead.
        background: Who predicts; None: nothing is begun, and windows come as they are.
    """
    if background is None:
        for window in windows:
            yield window, None
        return
    held: tuple[Window, Begun] | None = None
    for window in windows:
        begun = planes.begin(window.ours, window.until, background)
        if held is not None:
            yield held
        held = (window, begun)
    if held is not None:
        yield held
