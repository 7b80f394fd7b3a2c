"""A scenario: one question, in YAML, from which exactly one answer follows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from backtester.errors import ScenarioError
from backtester.execution_config import ExecutionConfig
from backtester.scenario_faults import described
from backtester.scenario_file import load_yaml
from backtester.strict import Strict
from backtester.venue.fee_models import DEFAULT
from clock.nearest import nearest
from clock.units import Duration, Instant, format_duration, format_instant
from featurizer.config import FeaturizerConfig
from featurizer.market import ExactDecimal, PositiveDecimal
from featurizer.synthetic import SyntheticMarket
from inference.config import InferenceConfig

__all__ = [
    "DataConfig",
    "ExecutionConfig",
    "PortfolioConfig",
    "Scenario",
    "StrategyConfig",
    "TrainingConfig",
    "load_scenario",
]

DEFAULT_LOOP = "main"
_LOOP_KEYS = {"model_uri", "variants"}

Balance = Annotated[ExactDecimal, Field(ge=0, allow_inf_nan=False)]


class DataConfig(Strict):
    """Which records are replayed: `[start, until)` of some instruments of a catalog."""

    catalog: Path = Field(description="Folder of the catalog, from where the command is run.")
    instruments: tuple[str, ...] = Field(min_length=1)
    start: Instant
    until: Instant
    synthetic: SyntheticMarket | None = Field(
        default=None, description="Seeded market that is written to the catalog if it is not there."
    )

    @model_validator(mode="after")
    def _in_order(self) -> DataConfig:
        _check_range("data", self.start, self.until)
        if len(set(self.instruments)) < len(self.instruments):
            raise ValueError(f"`instruments` must be distinct: got {', '.join(self.instruments)}")
        return self


class TrainingConfig(Strict):
    """What `lightcone train` fits: labels known before `until`, never in the run's own range."""

    start: Instant
    until: Instant
    model: str = Field(min_length=1, description="Name under which the model is registered.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of XGBoost.")
    rounds: int = Field(default=100, ge=1)
    validation: float = Field(
        default=0.2, ge=0, lt=1, description="Last share of the range, held out for the metrics."
    )
    embargo: Duration = 0

    @model_validator(mode="after")
    def _in_order(self) -> TrainingConfig:
        _check_range("training", self.start, self.until)
        return self


class StrategyConfig(Strict):
    """A strategy by its dotted path, and its keyword arguments."""

    class_path: str = Field(alias="class")
    params: dict[str, Any] = Field(default_factory=dict)


class PortfolioConfig(Strict):
    """Opening balances, the currency of the report, and how far perpetuals may be levered."""

    quote: str = Field(min_length=1, description="Currency of the report.")
    balances: dict[str, Balance] = Field(
        min_length=1,
        description="What is held of each currency at the start; what is not named is 0.",
    )
    rates: dict[str, PositiveDecimal] = Field(
        default_factory=dict,
        description="What one unit of a currency is worth in `quote`, where no instrument says so.",
    )
    leverage: Decimal = Field(default=Decimal(1), gt=0)


class ReportConfig(Strict):
    """How results are measured; changes no trade."""

    sampling: Duration | None = Field(
        default=None, description="Period of the equity curve; by default 1s or what fits the run."
    )
    bootstrap: int = Field(default=1000, ge=100, description="Resamples behind an interval.")


def _as_map(value: Any) -> Any:
    # the seed's block stands for a map of loops with one entry
    if (
        isinstance(value, dict)
        and value
        and not any(isinstance(v, dict) and _LOOP_KEYS & set(v) for v in value.values())
    ):
        return {DEFAULT_LOOP: value}
    return value


InferenceLoops = Annotated[
    dict[str, InferenceConfig],
    BeforeValidator(_as_map, json_schema_input_type=InferenceConfig | dict[str, InferenceConfig]),
]


class Scenario(Strict):
    """Everything that a run depends on, besides the data and the model that it names."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    data: DataConfig
    training: TrainingConfig | None = None
    featurizer: FeaturizerConfig | None = None
    inference_config: InferenceLoops = Field(default_factory=dict)
    strategy: StrategyConfig
    execution: ExecutionConfig = ExecutionConfig()
    portfolio: PortfolioConfig
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Scenario:
        if self.inference_config and self.featurizer is None:
            raise ValueError("`inference_config` needs a `featurizer`: a model reads feature rows")
        label = self.featurizer.label_feature if self.featurizer is not None else None
        if self.training is not None and label is None:
            raise ValueError("`training` needs `featurizer.label_feature`")
        self._check_named()
        _check_grid("report.sampling", self.report.sampling, self.data)
        for name, loop in self.inference_config.items():
            _check_priorities(name, loop, self.data.instruments)
        grid = self.featurizer.sampling if self.featurizer is not None else None
        _check_grid("featurizer.sampling", grid, self.data)
        return self

    def _check_named(self) -> None:
        execution, known = self.execution, self.data.instruments
        named: dict[str, Mapping[str, Any]] = {
            "execution.fees": execution.fees,
            "execution.margin": execution.margin,
        }
        for limit in ("max_position", "max_order_quantity", "max_order_notional"):
            value = getattr(execution.risk, limit, None)
            if isinstance(value, dict):
                named[f"execution.risk.{limit}"] = value
        for where, by_instrument in named.items():
            for name in by_instrument:
                if name not in (*known, DEFAULT):
                    raise ValueError(
                        f"`{where}` must name instruments of `data.instruments`: got `{name}`. "
                        f"{nearest(name, known)}"
                    )

    def resolved(self) -> dict[str, Any]:
        """Return the scenario with every default written out, as plain JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def digest(self) -> str:
        """Return the SHA-256 of the resolved scenario, without its paths and who predicts."""
        content = self.resolved()
        content["data"].pop("catalog")
        for loop in content["inference_config"].values():
            loop.pop("backend")
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_scenario(
    path: Path | str, settings: Sequence[str] = (), *, measured: Path | None = None
) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: The YAML file.
        settings: Overrides, each `dotted.key=value`.
        measured: A file whose `inference_config` takes the place of the scenario's.

    Raises:
        ScenarioError: With file, line, what was got and what was expected, for every fault found.
    """
    file = load_yaml(Path(path))
    for setting in settings:
        file.override(setting)
    if measured is not None:
        file.take("inference_config", load_yaml(measured))
    try:
        return Scenario.model_validate(file.data)
    except ValidationError as error:
        raise ScenarioError(described(file, Scenario, error)) from error


def _check_priorities(name: str, loop: InferenceConfig, instruments: Sequence[str]) -> None:
    known = {*instruments, "own"}
    for deployment in loop.deployments.values():
        unknown = sorted(set(deployment.queue.priorities) - known)
        if unknown:
            raise ValueError(
                f"`queue.priorities` of inference '{name}' must rank instruments of the run, or "
                f"`own`: got {', '.join(unknown)}. Known: {', '.join(sorted(known))}."
            )


MOST_POINTS = 50_000_000
"""Most points of a regular grid over a run: more is a mistake in a unit."""


def _check_grid(what: str, period_ns: Any, data: DataConfig) -> None:
    if isinstance(period_ns, int) and 0 < period_ns * MOST_POINTS < data.until - data.start:
        raise ValueError(
            f"`{what}` must give at most {MOST_POINTS:,} points: got one every "
            f"{format_duration(period_ns)} for {format_duration(data.until - data.start)}"
        )


def _check_range(what: str, start: int, until: int) -> None:
    if until <= start:
        raise ValueError(
            f"`{what}.until` must be after `{what}.start`: got {format_instant(until)}, "
            f"start is {format_instant(start)}"
        )
