"""From a request to its answer: which deployment, its rows as an array, the deadline, the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from clock.wall import host_ns
from inference.errors import ModelFailedError
from inference.http import models
from inference.http.errors import RefusedError, clipped
from inference.http.features import as_array, nearest_name
from inference.http.metrics import Recorder
from inference.http.served import About, BusyError, DownError, Floats, Scored, Served
from inference.http.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answering", "unknown_deployment"]

_SECOND = 1_000_000_000
_MILLION = 1e6
_LONGEST_REASON = 500


class Answering:
    """Answers the requests of one application."""

    def __init__(
        self, deployments: Mapping[str, Served], settings: Settings, recorder: Recorder
    ) -> None:
        """Answer for some deployments."""
        self._deployments, self._settings, self._recorder = deployments, settings, recorder

    async def one(
        self, asked: models.PredictionRequest, request_id: str
    ) -> models.PredictionResponse:
        """Return the answer to one row.

        Raises:
            RefusedError: If there is none; with the status, code and reason.
        """
        deployment = self._find(asked.deployment)
        rows = as_array([asked.features], deployment.about, ["features"])
        scored, latency = await self._ask(deployment, rows)
        about = deployment.about
        return models.PredictionResponse(
            request_id=request_id,
            deployment=about.name,
            model_id=about.model_id,
            model_version=about.model_version,
            latency=latency,
            **_prediction(scored, 0).model_dump(),
        )

    async def several(self, asked: models.BatchRequest, request_id: str) -> models.BatchResponse:
        """Return the answers to several rows, in order.

        Raises:
            RefusedError: If there are none; with the status, code and reason.
        """
        deployment = self._find(asked.deployment)
        most = self._settings.max_rows
        if len(asked.rows) > most:
            raise RefusedError(
                413,
                "too_many_rows",
                f"`rows` must hold at most {most:,} rows: got {len(asked.rows):,}. "
                "Send them in several requests.",
                "rows",
            )
        where = [f"rows[{place}]" for place in range(len(asked.rows))]
        rows = as_array(asked.rows, deployment.about, where)
        scored, latency = await self._ask(deployment, rows)
        about = deployment.about
        return models.BatchResponse(
            request_id=request_id,
            deployment=about.name,
            model_id=about.model_id,
            model_version=about.model_version,
            latency=latency,
            predictions=[_prediction(scored, place) for place in range(len(rows))],
        )

    def _find(self, name: str | None) -> Served:
        if name is None:
            if len(self._deployments) == 1:
                return next(iter(self._deployments.values()))
            raise RefusedError(
                422,
                "deployment_needed",
                f"`deployment` must be one of {', '.join(self._deployments)}: got nothing.",
                "deployment",
            )
        if name not in self._deployments:
            raise unknown_deployment(name, self._deployments)
        return self._deployments[name]

    async def _ask(self, deployment: Served, rows: Floats) -> tuple[Scored, models.Latency]:
        name, started_at = deployment.about.name, host_ns()
        try:
            scored = await self._in_time(deployment, rows)
            _check(scored, deployment.about)
        except RefusedError as error:
            self._recorder.failed(name, error.code)
            raise
        except asyncio.CancelledError:
            self._recorder.failed(name, "cancelled")
            raise
        took_ns = host_ns() - started_at
        self._recorder.answered(name, len(rows), took_ns)
        return scored, models.Latency(
            total_ms=took_ns / _MILLION,
            queue_ms=_ms(scored.queue_ns),
            model_ms=_ms(scored.model_ns),
        )

    async def _in_time(self, deployment: Served, rows: Floats) -> Scored:
        name, wait_ns = deployment.about.name, self._settings.timeout_ns
        later = {"Retry-After": str(self._settings.retry_after_s)}
        try:
            async with asyncio.timeout(wait_ns / _SECOND):
                return await deployment.predict(rows)
        except TimeoutError:
            why = f"deployment '{name}' did not answer within {wait_ns / _SECOND:g} s."
            raise RefusedError(504, "timeout", why) from None
        except BusyError as error:
            why = f"the queue of deployment '{name}' is full: {_reason(error)} Ask again later."
            raise RefusedError(503, "queue_full", why, headers=later) from None
        except DownError as error:
            why = f"deployment '{name}' cannot answer: {_reason(error)}"
            raise RefusedError(503, "not_ready", why, headers=later) from None
        except ModelFailedError as error:
            raise RefusedError(502, "model_failed", _reason(error)) from None


def unknown_deployment(name: str, known: Mapping[str, Served]) -> RefusedError:
    """Return the refusal of a name that no deployment has."""
    return RefusedError(
        404,
        "unknown_deployment",
        f"there is no deployment {clipped(name)}.{nearest_name(name, list(known))} "
        f"Known: {', '.join(known)}.",
        "deployment",
    )


def _check(scored: Scored, about: About) -> None:
    """Refuse answers that JSON has no number for."""
    parts: Sequence[Floats | None] = (scored.values, scored.probabilities)
    if all(part is None or bool(np.isfinite(part).all()) for part in parts):
        return
    bad = np.flatnonzero(~np.isfinite(scored.values))
    where = f" for row {int(bad[0])}" if len(bad) else " among its probabilities"
    raise RefusedError(
        502,
        "not_finite",
        f"the model of deployment '{about.name}' answered NaN or infinity{where}.",
    )


def _prediction(scored: Scored, place: int) -> models.Prediction:
    if scored.probabilities is None:
        return models.Prediction(prediction=float(scored.values[place]))
    shares = scored.probabilities[place].tolist()
    return models.Prediction(
        prediction=float(scored.values[place]), probabilities=shares, confidence=max(shares)
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _ms(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / _MILLION
