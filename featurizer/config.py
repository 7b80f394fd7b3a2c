"""What a scenario says about features: which, of what, emitted when, and the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from clock.nearest import nearest
from clock.units import Duration, Instant
from featurizer.config_seed import flat_params, from_seed
from featurizer.definitions.lookup import build_definition, find_definition
from featurizer.emission import Emission
from featurizer.errors import FeatureError, UnknownFeatureError
from featurizer.feature import FeatureDefinition, PositiveDuration

__all__ = [
    "FeatureConfig",
    "FeaturizerConfig",
    "InputSampling",
    "LabelKind",
    "Sampling",
    "row_names",
]

LabelKind = Literal["difference", "log_return", "sign", "level"]


class InputSampling(BaseModel):
    """A row with each record of one stream.

    Attributes:
        input: Kind of the records, such as `quotes`.
        instrument: Whose; by default the scenario's first, or with `per_instrument` each one's: a
            record then emits the row of its own instrument alone.
        every: Only each such record, counted from the run's first (of its stream).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    instrument: str | None = None
    every: int = Field(1, ge=1)


def _kind_of_sampling(value: object) -> str:
    if value == "raw":
        return "raw"
    return "input" if isinstance(value, dict | InputSampling) else "grid"


# the tag is found first, so that a message tells of the form that the user meant
Sampling = Annotated[
    Annotated[Literal["raw"], Tag("raw")]
    | Annotated[InputSampling, Tag("input")]
    | Annotated[PositiveDuration, Tag("grid")],
    Discriminator(_kind_of_sampling),
]
"""When a row is emitted: `raw`, the grid's period, or the stream whose records emit it."""


# a place is turned into its name before it is checked: here for the schema's sake
_NameOrPlace = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]})
]


class FeatureConfig(BaseModel):
    """One feature of the rows.

    Attributes:
        feature_definition: One of ours, such as `price.MidPrice`, or the dotted path of a class.
        name: By default the definition's name.
        params: The definition's parameters, `instrument` (default: the scenario's first) and, where
            it is made from another feature, `feature`: that one's name. Or in the seed's form:
            `data_source` for the instrument, and the parameters under `feature`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_definition: str
    name: str = ""
    params: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        value = dict(value)
        definition, params = value.get("feature_definition"), value.get("params")
        if not value.get("name") and isinstance(definition, str):
            value["name"] = definition.rpartition(".")[2]
        if isinstance(params, Mapping):
            value["params"], sampling = flat_params(params)
            if sampling is not None:
                raise FeatureError(
                    f"`sampling` belongs to the rows, not to one feature: got {sampling!r}."
                )
        return value

    @model_validator(mode="after")
    def _known(self) -> FeatureConfig:
        self.definition()
        return self

    def definition(self) -> FeatureDefinition:
        """Return the definition with its parameters.

        Raises:
            UnknownFeatureError: If there is no such definition.
            FeatureError: If a parameter is wrong.
        """
        return build_definition(find_definition(self.feature_definition), self.params, self.name)


class FeaturizerConfig(BaseModel):
    """The features of a scenario, with the seed's field names.

    Attributes:
        start_date: First instant of a training set, where the scenario does not say.
        end_date: First instant after it.
        sampling: When a row is emitted: `raw` (with each input record), a duration (on the grid of
            its multiples), or `{input: quotes}` (with each record of one stream).
        feature_configs: The features, in the order of a row's values.
        label_feature: Name of the feature whose change is learned.
        label_feature_index: The same, by its place in `feature_configs`.
        label_lookahead: How far after the row's instant its change is measured.
        label: What is measured: `difference`, `log_return`, `sign` or `level`.
        features_to_store: Features kept in a training set, by name or place; by default all.
        compute_latency: From a row's emission to when it is visible.
        per_instrument: Emit a row for each instrument of the scenario, with the same columns;
            a feature without an `instrument` of its own is then the row's instrument's.
        rows: How many rows of its instrument a row holds, the newest last: `mid@-1` is the `mid`
            of the row before. NaN until there have been so many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_date: Instant | None = None
    end_date: Instant | None = None
    sampling: Sampling = "raw"
    feature_configs: tuple[FeatureConfig, ...] = Field(min_length=1)
    label_feature: str | None = None
    label_feature_index: int | None = Field(None, exclude=True)
    label_lookahead: PositiveDuration | None = None
    label: LabelKind = "difference"
    features_to_store: tuple[_NameOrPlace, ...] | None = None
    compute_latency: Duration = 0
    per_instrument: bool = False
    rows: int = Field(1, ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _from_seed(cls, value: Any) -> Any:
        return from_seed(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> FeaturizerConfig:
        names = [feature.name for feature in self.feature_configs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FeatureError(
                f"`name` must differ between features: got {twice[0]!r} twice. "
                "Give each its own `name`."
            )
        for key in ("label_feature", "features_to_store"):
            value = getattr(self, key) or ()
            for name in (value,) if isinstance(value, str) else value:
                if name not in names:
                    raise UnknownFeatureError(
                        f"`{key}` names the unknown feature {name!r}. {nearest(name, names)}"
                    )
        marked = [name for name in names if "@" in name]
        if self.rows > 1 and marked:
            raise FeatureError(
                f"`name` must not hold an @ where a row holds `rows: {self.rows}`: got "
                f"{marked[0]!r}. The columns of earlier rows are named so."
            )
        if (self.label_feature is None) != (self.label_lookahead is None):
            given = "label_feature" if self.label_lookahead is None else "label_lookahead"
            lacking = "label_lookahead" if self.label_lookahead is None else "label_feature"
            raise FeatureError(f"`{given}` needs `{lacking}`. Give both, or neither.")
        return self

    def definitions(self) -> dict[str, FeatureDefinition]:
        """Return the features' definitions by name, in the order of a row's values."""
        return {feature.name: feature.definition() for feature in self.feature_configs}

    def emission(self, default_instrument: str) -> Emission:
        """Return the rule that `sampling` states."""
        if self.sampling == "raw":
            return Emission.raw()
        if isinstance(self.sampling, InputSampling):
            if self.per_instrument and self.sampling.instrument is None:
                return Emission.of_kind(self.sampling.input, self.sampling.every)
            instrument = self.sampling.instrument or default_instrument
            return Emission.of_input(instrument, self.sampling.input, self.sampling.every)
        assert isinstance(self.sampling, int)
        return Emission.grid(self.sampling)


def row_names(names: Sequence[str], rows: int) -> tuple[str, ...]:
    """Return the columns of a row that holds the last *rows* rows of some features.

    Example:
        >>> row_names(["mid", "flow"], 2)
        ('mid@-1', 'flow@-1', 'mid', 'flow')
    """
    earlier = [f"{name}@-{ago}" for ago in range(rows - 1, 0, -1) for name in names]
    return (*earlier, *names)
