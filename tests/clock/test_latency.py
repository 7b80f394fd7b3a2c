from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from clock.errors import InputError, LatencyError
from clock.latency import (
    ZERO_LATENCY,
    Constant,
    Empirical,
    Gamma,
    Interpolated,
    LatencyModel,
    Lognormal,
    Sum,
    Uniform,
)

adapter: TypeAdapter[Any] = TypeAdapter(LatencyModel)

BLOCKS: list[Any] = [
    {"kind": "constant", "latency": "20ms"},
    {"kind": "uniform", "low": "1ms", "high": "2ms"},
    {"kind": "lognormal", "median": "4ms", "p99": "20ms"},
    {"kind": "gamma", "mean": "4ms", "shape": 2.5},
    {"kind": "empirical", "path": "a.parquet", "column": "latency_ns"},
    {"kind": "interpolated", "path": "a.parquet"},
    {"kind": "sum", "terms": ["1ms", {"kind": "sum", "terms": [0, "5us"]}]},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["kind"])
def test_every_kind_survives_json_and_pickling(block: Any) -> None:
    model = adapter.validate_python(block)
    assert model.kind == block["kind"]
    assert adapter.validate_json(adapter.dump_json(model)) == model
    assert pickle.loads(pickle.dumps(model)) == model
    assert adapter.validate_python(model) is model


def test_a_bare_duration_is_a_constant() -> None:
    assert adapter.validate_python("20ms") == Constant(latency="20ms")
    assert adapter.validate_python(0) == ZERO_LATENCY
    assert ZERO_LATENCY.latency == 0


def test_every_kind_is_in_the_json_schema_beside_the_bare_duration() -> None:
    schema = adapter.json_schema()
    assert set(schema["$defs"]) == {
        model.__name__
        for model in (Constant, Empirical, Gamma, Interpolated, Lognormal, Sum, Uniform)
    }
    assert {"const": 0} in options(schema)
    assert {"const": 0} in options(schema["$defs"]["Sum"]["properties"]["terms"]["items"])


def options(schema: Any) -> list[Any]:
    """Every option of the outermost choices of a schema, nested ones included."""
    found: list[Any] = []
    for option in schema.get("anyOf", schema.get("oneOf", [])):
        found += [option, *options(option)]
    return found


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"kind": "lognorml"}, "got 'lognorml'. Did you mean 'lognormal'"),
        ({"median": "4ms"}, "must be one of constant, uniform.*got None"),
        (20, "a latency is a duration or a model.*needs a unit: got 20"),
        ("-1ms", "must not be negative"),
        ({"kind": "uniform", "low": "2ms", "high": "1ms"}, "`high` must not be below `low`: got 1"),
        ({"kind": "lognormal", "median": "2ms", "p99": "1ms"}, "`p99` must not be below `median`"),
        ({"kind": "lognormal", "median": 0, "p99": "1ms"}, "`median` must be above zero"),
        ({"kind": "lognormal", "median": "1ns", "p99": "10000d"}, "must never draw more than"),
        ({"kind": "gamma", "mean": "1ms", "shape": 0}, "greater than 0"),
        ({"kind": "gamma", "mean": "1ms", "shape": float("inf")}, "finite"),
        ({"kind": "sum", "terms": []}, "at least 1"),
        ({"kind": "sum", "terms": ["60000d"] * 2}, "must never draw more than"),
        ({"kind": "constant", "latency": "1ms", "p99": "2ms"}, "Extra inputs"),
    ],
)
def test_a_model_that_cannot_be_is_refused_with_a_reason(block: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        adapter.validate_python(block)


def test_latency_errors_are_the_users_to_mend() -> None:
    assert issubclass(LatencyError, InputError)


def test_a_model_is_a_field_like_any_other() -> None:
    class Leg(BaseModel):
        out: LatencyModel = ZERO_LATENCY

    assert Leg().out == ZERO_LATENCY
    assert Leg.model_validate({"out": "2ms"}).model_dump_json() == (
        '{"out":{"kind":"constant","latency":"2ms"}}'
    )
