"""What a paper run measured of its deployments, for backtests that take it as service time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from inference.rows import MISSING
from inference.schedule import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.loop import InferenceLoop
    from inference.serving.numbers import LoopRecords

__all__ = ["measured_frame"]


def measured_frame(loops: Sequence[InferenceLoop], records: Sequence[LoopRecords]) -> pl.DataFrame:
    """Return one row an attempt that was answered, in the order of sending, durations in ns.

    `service_time`: from its start on a replica to its end. `outward`: from the instant at which it
    was due to be sent to its start; `back`: from its end until the answer was visible; `latency`:
    all of them. `instant` is when it was sent; where several were sent at one, only the first is
    kept, as an interpolation needs instants that differ. Attempts whose replica does not tell when
    it worked are left out.
    """
    frames = [_of_loop(loop, kept) for loop, kept in zip(loops, records, strict=True) if loop.live]
    return pl.concat(frames) if frames else pl.DataFrame()


def _of_loop(loop: InferenceLoop, kept: LoopRecords) -> pl.DataFrame:
    assert loop.live is not None
    attempts = kept.attempts
    asked = dict(
        zip(kept.outcomes.number.tolist(), kept.outcomes.submitted_at.tolist(), strict=True)
    )
    names = [*loop.live.replica_names, ""]
    first = attempts.attempt == 0
    due = [asked.get(number, MISSING) for number in attempts.number.tolist()]
    frame = pl.DataFrame(
        {
            "loop": pl.Series([loop.name] * len(first), dtype=pl.String),
            "number": attempts.number,
            "attempt": attempts.attempt,
            "replica": pl.Series([names[i] for i in attempts.replica.tolist()], dtype=pl.String),
            "instant": attempts.sent_at,
            "due": pl.Series(due, dtype=pl.Int64),
            "started": attempts.started_at,
            "completed": attempts.completed_at,
            "visible": attempts.visible_at,
            "batch_size": attempts.batch_size,
            "outcome": attempts.outcome,
        }
    )
    done = (pl.col("outcome") == Outcome.COMPLETED) & (pl.col("completed") != MISSING)
    sent = pl.when(pl.col("attempt") == 0).then("due").otherwise("instant")
    return (
        frame.filter(done)
        .with_columns(sent=sent)
        .sort("instant", "number")
        .select(
            "loop",
            "number",
            "attempt",
            "replica",
            pl.col("instant").cast(pl.Datetime("ns", "UTC")),
            "batch_size",
            service_time=(pl.col("completed") - pl.col("started")).cast(pl.Duration("ns")),
            outward=(pl.col("started") - pl.col("sent")).cast(pl.Duration("ns")),
            back=(pl.col("visible") - pl.col("completed")).cast(pl.Duration("ns")),
            latency=(pl.col("visible") - pl.col("sent")).cast(pl.Duration("ns")),
        )
        .unique("instant", keep="first", maintain_order=True)
    )
