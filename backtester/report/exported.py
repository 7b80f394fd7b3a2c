"""What an export made, beside the model that it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from backtester.export import Exported

__all__ = ["exported_json", "exported_table"]

_METRICS = ("validation_rmse", "validation_information_coefficient")


def exported_json(made: Exported) -> dict[str, Any]:
    """Return the model and its variants as plain values; latencies in nanoseconds."""
    return {
        "model": {
            "uri": made.uri,
            "size_bytes": made.size,
            "metrics": made.metrics,
            "latency": made.latency._asdict(),
        },
        "variants": [
            {
                "uri": f"models:/{one.model.name}/{one.model.version}",
                "kind": one.kind,
                "size_bytes": one.size,
                "metrics": one.metrics,
                "latency": one.latency._asdict(),
                "largest_difference": one.largest_difference,
                "reused": one.reused,
                "digest": one.model.digest,
                "path": str(one.model.path),
            }
            for one in made.variants
        ],
    }


def exported_table(made: Exported) -> Table:
    """Return a row for the model and each of its variants."""
    table = Table(title=made.uri, title_justify="left", box=None, header_style="dim")
    table.add_column("model")
    for name in ("bytes", "rmse", "information coefficient", "p50 us", "p99 us", "differs by"):
        table.add_column(name, justify="right")
    told = exported_json(made)
    for one in (told["model"], *told["variants"]):
        metrics, latency = one["metrics"], one["latency"]
        table.add_row(
            one["uri"] + (" (made before)" if one.get("reused") else ""),
            f"{one['size_bytes']:,}",
            *(f"{metrics[key]:.6g}" if key in metrics else "-" for key in _METRICS),
            *(f"{latency[key] / 1000:.1f}" for key in ("p50_ns", "p99_ns")),
            f"{one['largest_difference']:.3g}" if "largest_difference" in one else "",
        )
    return table
