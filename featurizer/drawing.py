"""The feature graph as text: a tree for people, a flowchart for Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clock.units import format_duration
from featurizer.graph import FeatureGraph
from featurizer.graph_nodes import Column, Node

__all__ = ["draw_mermaid", "draw_text"]


def draw_text(graph: FeatureGraph) -> str:
    """Return the graph as trees: under each feature, what it reads.

    A node that several features read is worked out once; where it comes again, it is marked with
    an arrow and not drawn a second time.

    Example:
        >>> from featurizer.config import FeaturizerConfig
        >>> mid = {"feature_definition": "price.MidPrice", "name": "mid"}
        >>> lag = {"feature_definition": "smoothing.Lag", "name": "lag",
        ...        "params": {"lag": "1s", "feature": "mid"}}
        >>> config = FeaturizerConfig(feature_configs=[mid, lag])
        >>> print(draw_text(FeatureGraph(config, ["SIM.A"])))
        mid  MidPrice (SIM.A)
        └─ quotes of SIM.A: bid_price, ask_price
        lag  Lag (1s)
        └─ ↑ mid
    """
    drawn: set[int] = set()
    lines: list[str] = []
    for place in _in_order_of_rows(graph):
        lines.append(_title(graph, place))
        lines += _below(graph, place, "", drawn)
        drawn.add(place)
    return "\n".join(lines)


def draw_mermaid(graph: FeatureGraph) -> str:
    """Return the graph as a Mermaid flowchart, from the market's streams to the row."""
    lines = ["flowchart LR"]
    streams = [request.key for request in graph.requests]
    for number, request in enumerate(graph.requests):
        columns = "<br/>".join(request.columns)
        lines.append(f'    s{number}[("{request.kind} of {request.instrument}<br/>{columns}")]')
    for place, node in enumerate(graph.nodes):
        shape = '    n{0}["{1}"]' if node.outputs else '    n{0}("{1}")'
        lines.append(shape.format(place, _title(graph, place).replace("  ", "<br/>")))
    lines.append('    row[["the row"]]')
    for place, node in enumerate(graph.nodes):
        sources = [
            f"s{streams.index(source.stream)}" if isinstance(source, Column) else f"n{source}"
            for source in node.inputs
        ]
        lines += [f"    {source} --> n{place}" for source in dict.fromkeys(sources)]
        if node.outputs:
            lines.append(f"    n{place} --> row")
    return "\n".join(lines)


def _in_order_of_rows(graph: FeatureGraph) -> list[int]:
    places = [(output, place) for place, node in enumerate(graph.nodes) for output in node.outputs]
    return list(dict.fromkeys(place for _, place in sorted(places)))


def _below(graph: FeatureGraph, place: int, indent: str, drawn: set[int]) -> Iterator[str]:
    entries: list[tuple[str, int | None]] = []
    for stream, columns in _columns(graph.nodes[place]).items():
        entries.append((f"{stream}: {', '.join(columns)}", None))
    for source in graph.nodes[place].inputs:
        if not isinstance(source, Column):
            entries.append((_title(graph, source), source))
    for number, (title, below) in enumerate(entries):
        last = number == len(entries) - 1
        if below is not None and (below in drawn or graph.nodes[below].outputs):
            arrow = "↑" if below in drawn else "↓"
            yield f"{indent}{'└─ ' if last else '├─ '}{arrow} {_name(graph, below)}"
            continue
        yield f"{indent}{'└─ ' if last else '├─ '}{title}"
        if below is not None:
            drawn.add(below)
            yield from _below(graph, below, indent + ("   " if last else "│  "), drawn)


def _columns(node: Node) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source in node.inputs:
        if isinstance(source, Column):
            instrument, kind = source.stream
            found.setdefault(f"{kind} of {instrument}", []).append(source.name)
    return found


def _name(graph: FeatureGraph, place: int) -> str:
    node = graph.nodes[place]
    names = [graph.features[output % len(graph.features)] for output in node.outputs]
    definition = type(node.definition).__name__
    if not names:
        return f"{definition} of {node.label}" if " of " not in node.label else node.label
    if graph.blocks > 1:
        blocks = {output // len(graph.features) for output in node.outputs}
        if len(blocks) < graph.blocks:
            names = [f"{name} [{','.join(graph.instruments[b] for b in sorted(blocks))}]"
                     for name in dict.fromkeys(names)]  # fmt: skip
    return ", ".join(dict.fromkeys(names))


def _title(graph: FeatureGraph, place: int) -> str:
    definition = graph.nodes[place].definition
    params = [
        _text(name, value)
        for name, value in definition
        if value is not None and name not in ("feature",)
    ]
    kind = type(definition).__name__ + (f" ({', '.join(params)})" if params else "")
    if not graph.nodes[place].outputs:
        return kind
    return f"{_name(graph, place)}  {kind}"


def _text(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1000:
        return format_duration(value)  # the only large integers among parameters
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return f"{value}" if name == "instrument" else f"{name}={value}"
    if isinstance(value, Sequence):
        return f"{name}={', '.join(str(item) for item in value)}"
    return f"{name}={value}"
