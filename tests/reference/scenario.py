"""What the reference simulates: the few settings of a scenario that its answer depends on.

`read_scenario` takes the mapping of a scenario file as it stands, so that one mapping describes
both the run of the engine and the run of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from clock.units import parse_duration, parse_instant

Row = dict[str, Any]
"""One market record: `event_time, receipt_time, sequence` and the columns of its kind."""

StreamRecords = Mapping[tuple[str, str], Sequence[Row]]
"""Records in any order, by (instrument, kind)."""

Predict = Callable[[list[float]], float]
"""Maps the values of the columns that a model reads to its prediction."""

_OF_THE_LOOP = ("polling", "max_in_flight", "on_new", "features", "model_uri")

KIND_NUMBERS = {"quotes": 0, "trades": 1, "depth": 2, "bars": 3}


@dataclass(frozen=True)
class Instrument:
    """Contract terms, exact."""

    id: str
    tick_size: Fraction
    lot_size: Fraction
    contract_size: Fraction = Fraction(1)
    contract: str = "linear"
    maker: Fraction = Fraction(0)
    taker: Fraction = Fraction(0)


@dataclass(frozen=True)
class Feature:
    """One feature: the last part of its definition's path, its name and its parameters."""

    definition: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """The row stream: `sampling` is "raw", a period in ns, or (instrument, kind)."""

    columns: tuple[Feature, ...]
    sampling: str | int | tuple[str, str] = "raw"
    label_feature: str | None = None
    compute_latency: int = 0
    every: int = 1


@dataclass(frozen=True)
class Loop:
    """One inference loop and its deployment."""

    name: str = "main"
    polling: str = "continuous"
    period: int = 0
    num_replicas: int = 1
    max_in_flight: int | None = None
    on_new: str = "replace"
    service_time: Any = 0
    latency: Any = 0
    network_out: Any = 0
    network_back: Any = 0
    features: tuple[str, ...] | None = None
    serving: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the block; `tests.reference.serving.settings` reads them."""


@dataclass(frozen=True)
class Scenario:
    """A run over `[start, until)`."""

    start: int
    until: int
    instruments: tuple[Instrument, ...]
    features: Features | None = None
    loops: tuple[Loop, ...] = ()
    seed: int = 0
    entry_latency: Any = 0
    response_latency: Any = 0
    balance: Fraction = Fraction(0)
    leverage: Fraction = Fraction(1)


def read_scenario(mapping: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> Scenario:
    """Return the scenario that a scenario file's mapping describes; other keys are ignored."""
    data, execution = mapping["data"], mapping.get("execution", {})
    portfolio = mapping.get("portfolio", {})
    balances = portfolio.get("balances", {})
    assert len(balances) <= 1, "the reference starts with quote currency alone"
    ids = data["instruments"]
    featurizer = mapping.get("featurizer")
    return Scenario(
        start=parse_instant(data["start"]),
        until=parse_instant(data["until"]),
        instruments=tuple(instruments[name] for name in ids),
        features=None if featurizer is None else _features(featurizer, ids[0]),
        loops=_loops(mapping.get("inference_config")),
        seed=mapping.get("seed", 0),
        entry_latency=execution.get("entry_latency", 0),
        response_latency=execution.get("response_latency", 0),
        balance=sum((Fraction(str(amount)) for amount in balances.values()), Fraction(0)),
        leverage=Fraction(str(execution.get("leverage", portfolio.get("leverage", 1)))),
    )


def _features(block: Mapping[str, Any], first: str) -> Features:
    sampling: Any = block.get("sampling", "raw")
    every = 1
    if isinstance(sampling, Mapping):
        every = sampling.get("every", 1)
        sampling = (sampling.get("instrument", first), sampling["input"])
    elif sampling != "raw":
        sampling = parse_duration(sampling)
    columns = []
    for item in block["feature_configs"]:
        definition = item["feature_definition"].rsplit(".", 1)[-1]
        columns.append(Feature(definition, item.get("name", definition), item.get("params", {})))
    return Features(
        columns=tuple(columns),
        sampling=sampling,
        label_feature=block.get("label_feature"),
        compute_latency=parse_duration(block.get("compute_latency", 0)),
        every=every,
    )


def _loops(block: Any) -> tuple[Loop, ...]:
    if block is None:
        return ()
    if block and all(
        isinstance(value, Mapping) and "model_uri" in value for value in block.values()
    ):
        return tuple(_loop(name, value) for name, value in block.items())
    return (_loop("main", block),)


def _loop(name: str, block: Mapping[str, Any]) -> Loop:
    polling, period = block.get("polling", "continuous"), 0
    if isinstance(polling, Mapping):
        if "every" in polling:
            polling = {"kind": "every", "period": polling["every"]}
        period = parse_duration(polling.get("period") or 0)
        polling = polling["kind"]
    network = block.get("network", {})
    features = block.get("features")
    return Loop(
        name=name,
        polling=polling,
        period=period,
        num_replicas=block.get("num_replicas", 1),
        max_in_flight=block.get("max_in_flight"),
        on_new=block.get("on_new", "replace"),
        service_time=block.get("service_time", 0),
        latency=block.get("latency", 0),
        network_out=network.get("out", 0),
        network_back=network.get("back", 0),
        features=None if features is None else tuple(features),
        serving={key: value for key, value in block.items() if key not in _OF_THE_LOOP},
    )
