"""What the models say: one call for all rows where bits allow it, else execution by execution."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelFailedError, SilentReplicasError
from inference.schedule import Outcome
from inference.serving.layout import BY_CONSTANT, BY_MODEL, BY_SOURCE

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.predictors.base import Predictor
    from inference.serving.records import Collected, Served

__all__ = ["Answers"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Answers:
    """The models behind a loop's variants, and the values that may be asked for again."""

    def __init__(
        self, config: InferenceConfig, predictors: Mapping[str, Predictor], loop: str
    ) -> None:
        """Take the models, by name of the variant, in the order of the configuration."""
        self._predictors = list(predictors.values())
        self._names = [f"model '{uri}' of inference '{loop}'" for uri in config.model_uris.values()]
        self.by_execution = not all(one.batch_invariant for one in self._predictors)
        self._constants = np.array(
            [
                np.nan
                if one.circuit_breaker is None or one.circuit_breaker.fallback.constant is None
                else one.circuit_breaker.fallback.constant
                for one in config.deployments.values()
            ]
        )
        self._of_attempts: dict[tuple[int, int], float] = {}
        self._numbers, self._values = np.empty(0, np.int64), np.empty(0)

    def predict_served(self, served: Served) -> Floats:
        """Predict executions as they were served, and keep the values for their attempts."""
        values = np.empty(len(served.number))
        edges = np.flatnonzero(np.diff(served.execution, prepend=-1, append=-1))
        spans = list(pairwise(edges.tolist()))
        for place in range(len(self._predictors)):
            mine = [span for span in spans if served.variant[span[0]] == place]
            batches = [served.features[start:end] for start, end in mine]
            for (start, end), found in zip(mine, self._batches(place, batches), strict=True):
                values[start:end] = found
        keys = zip(served.number.tolist(), served.attempt.tolist(), strict=True)
        self._of_attempts.update(zip(keys, values.tolist(), strict=True))
        return values

    def values_of(self, found: Collected, needed: Ints) -> Floats:
        """Return one value an outcome, NaN for those that did not complete.

        Args:
            found: What a push brought to light.
            needed: Numbers of the requests whose values may be asked for again, to be kept.
        """
        outcomes = found.outcomes
        if found.said is None:
            return outcomes.value
        if found.served is not None:
            self.predict_served(found.served)
        completed = outcomes.outcome == Outcome.COMPLETED
        values = np.full(len(completed), np.nan)
        by_model = completed & (found.said == BY_MODEL)
        if found.served is None:
            self._predict_rows(outcomes.variant, found.features, by_model, values)
        else:
            number, attempt = outcomes.number[by_model], outcomes.attempts[by_model] - 1
            keys = zip(number.tolist(), attempt.tolist(), strict=True)
            values[by_model] = [self._of_attempts[key] for key in keys]
            ended = zip(
                found.attempts.number.tolist(), found.attempts.attempt.tolist(), strict=True
            )
            for key in ended:
                self._of_attempts.pop(key, None)
        constant = completed & (found.said == BY_CONSTANT)
        values[constant] = self._constants[outcomes.variant[constant]]
        if len(self._numbers) or len(needed):
            self._repeat(found, completed, needed, values)
        return values

    def _repeat(
        self, found: Collected, completed: NDArray[np.bool_], needed: Ints, to: Floats
    ) -> None:
        """Give values again to those that repeat one, and keep what may yet be repeated."""
        assert found.said is not None
        fresh = completed & (found.said == BY_MODEL)
        numbers = np.concatenate((self._numbers, found.outcomes.number[fresh]))
        values = np.concatenate((self._values, to[fresh]))
        order = np.argsort(numbers)
        numbers, values = numbers[order], values[order]
        repeats = completed & (found.said == BY_SOURCE)
        to[repeats] = values[np.searchsorted(numbers, found.outcomes.source[repeats])]
        kept = np.isin(numbers, needed)
        self._numbers, self._values = numbers[kept], values[kept]

    def _predict_rows(
        self, variant: Ints, features: Floats, which: NDArray[np.bool_], to: Floats
    ) -> None:
        for place, predictor in enumerate(self._predictors):
            mine = which if len(self._predictors) == 1 else which & (variant == place)
            if not mine.any():
                continue
            rows = features if mine.all() else features[mine]
            if predictor.batch_invariant:
                to[mine] = self._batch(place, rows)
            else:  # a plain deployment serves each request alone
                to[mine] = np.concatenate(self._batches(place, [row[None] for row in rows]))

    def _batches(self, variant: int, batches: list[Floats]) -> list[Floats]:
        """Predict batches, each on its own; at the same time where the model can."""
        each = getattr(self._predictors[variant], "predict_each", None)
        if each is None:
            return [self._batch(variant, batch) for batch in batches]
        try:
            answers = each(batches)
        except SilentReplicasError:
            raise  # it is no fault of the model's that is known
        except Exception as error:
            name = self._names[variant]
            raise ModelFailedError(f"{name} failed on one of its batches: {error}") from error
        pairs = zip(batches, answers, strict=True)
        return [self._checked(variant, answer, len(batch)) for batch, answer in pairs]

    def _batch(self, variant: int, values: Floats) -> Floats:
        try:
            answer = self._predictors[variant].predict(values)
        except SilentReplicasError:
            raise
        except Exception as error:
            name = self._names[variant]
            raise ModelFailedError(f"{name} failed on a batch of {len(values)}: {error}") from error
        return self._checked(variant, answer, len(values))

    def _checked(self, variant: int, answer: Any, rows: int) -> Floats:
        name = self._names[variant]
        try:
            found = np.asarray(answer, np.float64)
        except Exception as error:
            raise ModelFailedError(f"{name} failed on a batch of {rows}: {error}") from error
        if found.shape != (rows,):
            raise ModelFailedError(
                f"{name} must return one value a row: got shape {found.shape} for {rows} rows."
            )
        return found
