"""A scenario: one question, in YAML, from which exactly one answer follows."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from backtester.errors import ScenarioError
from backtester.scenario_file import ScenarioFile, load_yaml
from backtester.schema_walk import model_at
from clock.errors import InputError
from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration, Instant, format_instant
from featurizer.config import FeaturizerConfig
from featurizer.synthetic import SyntheticMarket
from inference.config import InferenceConfig

__all__ = [
    "DataConfig",
    "ExecutionConfig",
    "PortfolioConfig",
    "Scenario",
    "StrategyConfig",
    "TrainingConfig",
    "checked_model",
    "load_scenario",
]

DEFAULT_LOOP = "main"

Model = TypeVar("Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class DataConfig(_Strict):
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


class TrainingConfig(_Strict):
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


class StrategyConfig(_Strict):
    """A strategy by its dotted path, and its keyword arguments."""

    class_path: str = Field(alias="class")
    params: dict[str, Any] = Field(default_factory=dict)


class ExecutionConfig(_Strict):
    """Latency between us and the venue, both ways."""

    entry_latency: LatencyModel = ZERO_LATENCY
    response_latency: LatencyModel = ZERO_LATENCY


class PortfolioConfig(_Strict):
    """Opening balances, and how far perpetuals may be levered."""

    quote: str = Field(min_length=1)
    balances: dict[str, Decimal]
    leverage: Decimal = Field(default=Decimal(1), gt=0)

    @model_validator(mode="after")
    def _only_quote(self) -> PortfolioConfig:
        others = sorted(set(self.balances) - {self.quote})
        if others or self.quote not in self.balances:
            raise ValueError(
                f"`balances` must hold the quote currency {self.quote} and nothing else yet: got "
                f"{', '.join(sorted(self.balances)) or 'nothing'}"
            )
        if self.balances[self.quote] < 0:
            raise ValueError(f"`balances` must not be negative: got {self.balances[self.quote]}")
        return self


class ReportConfig(_Strict):
    """How results are measured; changes no trade."""

    sampling: Duration | None = Field(
        default=None, description="Period of the equity curve; by default 1s or what fits the run."
    )
    bootstrap: int = Field(default=1000, ge=100, description="Resamples behind an interval.")


def _as_map(value: Any) -> Any:
    # the seed's block stands for a map of loops with one entry
    if isinstance(value, dict) and not any(
        isinstance(v, dict) and "model_uri" in v for v in value.values()
    ):
        return {DEFAULT_LOOP: value}
    return value


InferenceLoops = Annotated[dict[str, InferenceConfig], BeforeValidator(_as_map)]


class Scenario(_Strict):
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

    @field_validator("inference_config")
    @classmethod
    def _named_loops(cls, loops: dict[str, InferenceConfig]) -> dict[str, InferenceConfig]:
        return loops

    @model_validator(mode="after")
    def _fits_together(self) -> Scenario:
        if self.inference_config and self.featurizer is None:
            raise ValueError("`inference_config` needs a `featurizer`: a model reads feature rows")
        label = self.featurizer.label_feature if self.featurizer is not None else None
        if self.training is not None and label is None:
            raise ValueError("`training` needs `featurizer.label_feature`")
        return self

    def resolved(self) -> dict[str, Any]:
        """Return the scenario with every default written out, as plain JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def digest(self) -> str:
        """Return the SHA-256 of the resolved scenario, its paths left out."""
        content = self.resolved()
        content["data"].pop("catalog")
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_scenario(path: Path | str, settings: Sequence[str] = ()) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: The YAML file.
        settings: Overrides, each `dotted.key=value`.

    Raises:
        ScenarioError: With file, line, what was got and what was expected, for every fault found.
    """
    file = load_yaml(Path(path))
    for setting in settings:
        file.override(setting)
    try:
        return Scenario.model_validate(file.data)
    except ValidationError as error:
        faults = [_message(file, fault) for fault in error.errors()]
        raise ScenarioError("\n".join(dict.fromkeys(faults))) from error


def checked_model(model: type[Model], content: dict[str, Any], where: str) -> Model:
    """Return a model made of values that a user gave elsewhere than in a file.

    Raises:
        ScenarioError: With where, what was got and what was expected.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = [
            f"{where}: `{f['loc'][0] if f['loc'] else ''}`: {f['msg']}" for f in error.errors()
        ]
        raise ScenarioError("\n".join(faults)) from error


def _message(file: ScenarioFile, fault: Any) -> str:
    location = file.locate(fault["loc"])
    kind, got = fault["type"], fault["input"]
    name = ".".join(map(str, location)) or "the scenario"
    if kind == "extra_forbidden":
        return _unknown_key(file, fault["loc"], location)
    if kind == "missing":
        where = file.where(location)
        return f"{where}: `{fault['loc'][-1]}` is missing from {name}. Add it."
    text = str(fault["ctx"]["error"]) if kind == "value_error" else fault["msg"]
    if isinstance(fault.get("ctx", {}).get("error"), InputError) or kind == "value_error":
        return f"{file.where(location)}: `{name}`: {text.rstrip('.')}."
    shown = repr(got) if not isinstance(got, dict | list) else f"a {type(got).__name__}"
    return f"{file.where(location)}: `{name}`: {_lower(text)}: got {shown}."


def _unknown_key(
    file: ScenarioFile, loc: Sequence[str | int], location: tuple[str | int, ...]
) -> str:
    key = str(loc[-1])
    owner = model_at(Scenario, tuple(loc[:-1]))
    known = sorted(field.alias or name for name, field in owner.model_fields.items())
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else ""
    around = ".".join(str(part) for part in location[:-1]) or "the scenario"
    return (
        f"{file.where(location)}: {around} has no key `{key}`.{hint} "
        f"Known keys: {', '.join(known)}."
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _check_range(what: str, start: int, until: int) -> None:
    if until <= start:
        raise ValueError(
            f"`{what}.until` must be after `{what}.start`: got {format_instant(until)}, "
            f"start is {format_instant(start)}"
        )
