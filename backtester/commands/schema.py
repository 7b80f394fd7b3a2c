"""`lightcone schema`: the scenario's JSON schema, for editors."""

from __future__ import annotations

__all__ = ["schema"]


def schema() -> None:
    """Print the JSON schema of a scenario file, for editors that complete and check YAML."""
    from backtester.commands.console import print_json
    from backtester.scenario import Scenario

    print_json(Scenario.model_json_schema(by_alias=True))
