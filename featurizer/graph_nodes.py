"""From the features that a scenario names to the nodes of a graph, in order of dependency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clock.nearest import nearest
from featurizer.errors import FeatureError
from featurizer.feature import FeatureDefinition, Market
from featurizer.market import STAMPS, Kind, StreamKey, StreamRequest

__all__ = ["Column", "Node", "build_nodes", "graph_requests", "graph_streams", "names_read"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of market records."""

    stream: StreamKey
    name: str


@dataclass(slots=True)
class Node:
    """One feature to work out: those with the same definition share a node.

    Attributes:
        definition: Bound to its instrument.
        inputs: Nodes (by place) and market columns, in the order of the definition's inputs.
        streams: The streams whose records it reads.
        updating: Those of them whose records update it: of a joined feature, its first input's.
        outputs: Columns of the row that hold it.
        wanted: Whether another feature reads its updates.
        label: What messages call it.
    """

    definition: FeatureDefinition
    inputs: tuple[int | Column, ...]
    streams: frozenset[StreamKey]
    updating: frozenset[StreamKey]
    label: str
    outputs: list[int] = field(default_factory=list)
    wanted: bool = False


class _Builder:
    def __init__(
        self,
        named: Mapping[str, FeatureDefinition],
        instruments: Sequence[str],
        kinds: Mapping[str, Kind],
    ) -> None:
        self.named = named
        self.instruments = instruments
        self.kinds = kinds
        self.nodes: list[Node] = []
        self.places: dict[object, int] = {}
        self.named_places: dict[tuple[str, str], int] = {}
        self.open: list[str] = []
        self.default = instruments[0]

    def place_of_name(self, name: str, reader: str) -> int:
        if name not in self.named:
            raise FeatureError(
                f"feature {reader!r} reads the unknown feature {name!r}. "
                f"{nearest(name, self.named)}"
            )
        if name in self.open:
            cycle = " → ".join([*self.open[self.open.index(name) :], name])
            raise FeatureError(f"features must not need themselves: got {cycle}.")
        key = (name, self.default)
        if key not in self.named_places:
            self.open.append(name)
            self.named_places[key] = self.place_of(self.named[name], name)
            self.open.pop()
        return self.named_places[key]

    def place_of(self, definition: FeatureDefinition, label: str) -> int:
        bound = self.bind(definition, label)
        inputs: list[int | Column] = []
        streams: set[StreamKey] = set()
        updating: set[StreamKey] = set()
        for place, source in enumerate(bound.inputs()):
            if isinstance(source, Market):
                columns = self.market(source, bound, label)
                inputs.extend(columns)
                found = frozenset(column.stream for column in columns)
            else:
                node = self.place_of_source(source, label)
                inputs.append(node)
                self.nodes[node].wanted = True
                found = self.nodes[node].updating
            streams |= found
            if place == 0 or not bound.joined:
                updating |= found
        if not inputs:
            raise FeatureError(f"feature {label!r} must have an input: `inputs()` returns none.")
        # by its inputs too: one name means another feature in another instrument's rows
        key = (_key(bound), tuple(inputs))
        if key not in self.places:
            self.places[key] = len(self.nodes)
            self.nodes.append(
                Node(bound, tuple(inputs), frozenset(streams), frozenset(updating), label)
            )
        return self.places[key]

    def place_of_source(self, source: str | FeatureDefinition, label: str) -> int:
        if isinstance(source, str):
            return self.place_of_name(source, label)
        return self.place_of(source, f"{type(source).__name__} of {label}")

    def bind(self, definition: FeatureDefinition, label: str) -> FeatureDefinition:
        """Return the definition with an instrument: the default unless it names one."""
        if definition.instrument is None:
            if getattr(definition, "feature", None) is not None:
                return definition
            return definition.model_copy(update={"instrument": self.default})
        self.check_instrument(definition.instrument, label)
        return definition

    def check_instrument(self, instrument: str, label: str) -> None:
        if instrument not in self.instruments:
            raise FeatureError(
                f"feature {label!r}: `instrument` must be one of the scenario's: got "
                f"{instrument!r}. {nearest(instrument, self.instruments)}"
            )

    def market(self, source: Market, bound: FeatureDefinition, label: str) -> list[Column]:
        instrument = source.instrument or bound.instrument
        assert instrument is not None, "a definition is bound before its inputs are read"
        self.check_instrument(instrument, label)
        if source.kind not in self.kinds:
            raise FeatureError(
                f"feature {label!r} reads the unknown kind {source.kind!r} of records. "
                f"{nearest(source.kind, self.kinds)}"
            )
        known = self.kinds[source.kind].all_columns
        for name in source.columns:
            if name not in known:
                raise FeatureError(
                    f"feature {label!r} reads the unknown column {name!r} of {source.kind}. "
                    f"{nearest(name, known)}"
                )
        return [Column((instrument, source.kind), name) for name in source.columns]


def build_nodes(
    named: Mapping[str, FeatureDefinition],
    outputs: Sequence[str],
    instruments: Sequence[str],
    kinds: Mapping[str, Kind],
    defaults: Sequence[str] | None = None,
) -> list[Node]:
    """Return the nodes behind some features, each after those that it reads.

    Args:
        named: All features that there are, by name.
        outputs: Names of the features of a row, in its order.
        instruments: Ids of the scenario's instruments.
        kinds: The kinds of market records, by name.
        defaults: Instruments of those features that name none: the features are made once for
            each, their columns side by side. By default the scenario's first.

    Raises:
        FeatureError: If a feature needs itself, or reads a feature, an instrument, a kind or a
            column that is not there.
    """
    builder = _Builder(named, instruments, kinds)
    output = 0
    for builder.default in instruments[:1] if defaults is None else defaults:
        for name in outputs:
            builder.nodes[builder.place_of_name(name, name)].outputs.append(output)
            output += 1
    return builder.nodes


def graph_streams(
    nodes: Sequence[Node], instruments: Sequence[str], kinds: Mapping[str, Kind]
) -> list[StreamKey]:
    """Return the streams that some nodes read, in the order of their records at one instant."""
    streams = {stream for node in nodes for stream in node.streams}
    return sorted(streams, key=lambda key: (instruments.index(key[0]), kinds[key[1]].number))


def graph_requests(nodes: Sequence[Node], streams: Sequence[StreamKey]) -> list[StreamRequest]:
    """Return the columns that some nodes read of each stream, beside the stamps."""
    columns: dict[StreamKey, list[str]] = {stream: [] for stream in streams}
    for node in nodes:
        for source in node.inputs:
            if isinstance(source, Column) and source.name not in (
                *STAMPS,  # these always come
                *columns[source.stream],
            ):
                columns[source.stream].append(source.name)
    return [StreamRequest(*stream, tuple(names)) for stream, names in columns.items()]


def names_read(definition: FeatureDefinition) -> list[str]:
    """Return the names of the features that a definition reads, itself or by a part of it."""
    names: list[str] = []
    for source in definition.inputs():
        if isinstance(source, str):
            names.append(source)
        elif isinstance(source, FeatureDefinition):
            names += names_read(source)
    return names


def _key(definition: FeatureDefinition) -> object:
    """Return what equal definitions share; one with a list among its parameters stays alone."""
    try:
        hash(definition)
    except TypeError:
        return id(definition)
    return definition
