"""The seed's way to write a feature, brought into ours.

    params:
      data_source: [{exchange: BINANCE, instrument_type: spot, symbol: BTC-USDT}]
      feature: {window: 10s, sampling: 1s}

The data source becomes `instrument`, the feature part the definition's parameters, and its
`sampling`, where all features agree on it, the sampling of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clock.nearest import nearest
from featurizer.errors import FeatureError, UnknownFeatureError

__all__ = ["flat_params", "from_seed", "name_of"]

_SUFFIX: Final = {
    "spot": "", "perpetual": "-PERP", "perp": "-PERP", "swap": "-PERP", "linear": "-PERP",
}  # fmt: skip


def from_seed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a featurizer's content with samplings lifted and places turned into names.

    Args:
        value: What the user wrote.

    Raises:
        FeatureError: If features ask for different samplings, or a place lies outside the list.
    """
    entries = value.get("feature_configs")
    if not isinstance(entries, list | tuple):
        return value
    value = dict(value)
    lifted = {}
    flat = []
    for entry in entries:
        params = entry.get("params") if isinstance(entry, dict) else None
        if isinstance(params, Mapping):
            own, sampling = flat_params(params)
            entry = {**entry, "params": own}
            if sampling is not None:
                lifted[str(sampling)] = sampling
        flat.append(entry)
    value["feature_configs"] = flat
    if "sampling" in value and lifted:
        lifted[str(value["sampling"])] = value["sampling"]
    if len(lifted) > 1:
        raise FeatureError(
            f"`sampling` must be the same for all features of a row: got {', '.join(lifted)}. "
            "Give it once, beside `feature_configs`."
        )
    for sampling in lifted.values():
        value["sampling"] = sampling
    names = [name_of(entry) for entry in flat]
    return _named_places(value, names)


def flat_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return a feature's parameters without the seed's parts, and the sampling among them.

    Raises:
        FeatureError: If a part is not what the seed has there, or a parameter is given twice.
    """
    if "data_source" not in params and not isinstance(params.get("feature"), Mapping):
        return dict(params), None
    own = {key: value for key, value in params.items() if key not in ("data_source", "feature")}
    part = params.get("feature", {})
    if not isinstance(part, Mapping):
        part = {"feature": part}
    elif part and all(isinstance(key, int) for key in part):
        if len(part) > 1:
            raise FeatureError(
                f"`feature` must hold the parameters of one feature: got {len(part)} parts, "
                f"{', '.join(str(key) for key in part)}. List each as a feature of its own."
            )
        part = next(iter(part.values()))
    part = dict(part)
    sampling = part.pop("sampling", None)
    if "data_source" in params:
        part = {"instrument": instrument_of(params["data_source"]), **part}
    for key, value in part.items():
        if key in own and own[key] != value:
            raise FeatureError(
                f"parameter `{key}` must be given once: got {own[key]!r} and {value!r}."
            )
    return {**own, **part}, sampling


def instrument_of(source: Any) -> str:
    """Return the id of the instrument that a data source names.

    Args:
        source: An id, `{instrument: ID}`, the seed's `{exchange, instrument_type, symbol}`
            (`BINANCE`, `spot`, `BTC-USDT` is `BINANCE.BTCUSDT`; a perpetual ends in `-PERP`), or a
            list with one of these.

    Raises:
        FeatureError: If it is none of them.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        if len(source) != 1:
            raise FeatureError(
                f"`data_source` must name one instrument: got {len(source)}. List a feature for "
                "each, or set `per_instrument: true`."
            )
        return instrument_of(source[0])
    if isinstance(source, str):
        return source
    if isinstance(source, Mapping):
        if set(source) == {"instrument"}:
            return str(source["instrument"])
        known = {"exchange", "instrument_type", "symbol"}
        if {"exchange", "symbol"} <= set(source) <= known:
            kind = str(source.get("instrument_type", "spot")).lower()
            if kind not in _SUFFIX:
                raise FeatureError(
                    f"`instrument_type` must be one of {', '.join(_SUFFIX)}: got {kind!r}."
                )
            symbol = str(source["symbol"]).upper().replace("-", "").replace("/", "")
            return f"{str(source['exchange']).upper()}.{symbol}{_SUFFIX[kind]}"
    raise FeatureError(
        "`data_source` must be an instrument's id, `{instrument: ID}` or `{exchange, "
        f"instrument_type, symbol}}`: got {source!r}."
    )


def name_of(entry: Any) -> str:
    """Return what a feature is called: its `name`, or its definition's."""
    if isinstance(entry, Mapping):
        definition = entry.get("feature_definition")
        name = entry.get("name") or ""
    else:
        definition, name = getattr(entry, "feature_definition", ""), getattr(entry, "name", "")
    return str(name) if name else str(definition).rpartition(".")[2]


def _named_places(value: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the content with `label_feature_index` and places to store as names."""
    index = value.pop("label_feature_index", None)
    if index is not None:
        name = _at(index, names, "label_feature_index")
        given = value.get("label_feature")
        if given is not None and given != name:
            raise FeatureError(
                f"`label_feature` and `label_feature_index` must mean the same feature: got "
                f"{given!r} and {index}, which is {name!r}. Give one."
            )
        value["label_feature"] = name
    stored = value.get("features_to_store")
    if isinstance(stored, list | tuple):
        value["features_to_store"] = [
            item if isinstance(item, str) else _at(item, names, "features_to_store")
            for item in stored
        ]
    return value


def _at(index: Any, names: Sequence[str], key: str) -> str:
    if isinstance(index, str):
        raise UnknownFeatureError(
            f"`{key}` must be a place in `feature_configs`: got {index!r}. {nearest(index, names)}"
        )
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(names):
        raise FeatureError(
            f"`{key}` must be a place in `feature_configs`, from 0 to {len(names) - 1}: got "
            f"{index!r}."
        )
    return names[index]
