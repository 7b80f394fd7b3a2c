"""Rows of one set beside rows of another: as they were visible, not as they were emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featurizer.errors import FeatureError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["join_visible"]

_STAMPS = ("emitted_at", "visible_at", "event_time")
_LABELS = ("label", "label_visible_at")


def join_visible(
    rows: pl.DataFrame,
    other: pl.DataFrame,
    prefix: str,
    *,
    same_instrument: bool = False,
    max_age_ns: int | None = None,
) -> pl.DataFrame:
    """Return rows, each with the newest row of another set that was visible when it became so.

    A row of *other* is seen from its `visible_at` on, whatever its `emitted_at`; of two that became
    visible together, the later one in *other* counts. The sets may have other sampling rates and
    other instruments. Labels of *other* stay behind: they look ahead of both.

    Args:
        rows: The frame of a `FeatureLabelSet`, in any order.
        other: The frame of another, sorted by `visible_at`.
        prefix: Put before the names of the joined columns; `<prefix>visible_at` is when the joined
            row became visible.
        same_instrument: Join rows of one instrument only.
        max_age_ns: Leave null what became visible longer ago than this.

    Returns:
        *rows*, in their order, with the columns joined; null where nothing was visible yet.

    Raises:
        FeatureError: If *other* is not sorted, or a joined column has the name of one there is.
    """
    import polars as pl

    if not other["visible_at"].is_sorted():
        raise FeatureError(
            "`other` must be sorted by `visible_at`: got rows that are not. Sort it."
        )
    dropped = (*_LABELS, *(name for name in _STAMPS if name != "visible_at"))
    wanted = [name for name in other.columns if name not in dropped and name != "instrument"]
    taken = [f"{prefix}{name}" for name in wanted if f"{prefix}{name}" in rows.columns]
    if taken:
        raise FeatureError(
            f"`prefix` must make new names: got {taken[0]!r}, which `rows` has already."
        )
    key = ["instrument"] if same_instrument else []
    right = other.select(
        *key,
        *(pl.col(name).alias(f"{prefix}{name}") for name in wanted),
        pl.col("visible_at").to_physical().alias("__seen"),
    )
    left = rows.with_columns(pl.col("visible_at").to_physical().alias("__seen")).with_row_index(
        "__row"
    )
    joined = left.sort("__seen", maintain_order=True).join_asof(
        right,
        on="__seen",
        by=key or None,
        strategy="backward",
        tolerance=max_age_ns,
        check_sortedness=False,
    )
    return joined.sort("__row").drop("__row", "__seen")
