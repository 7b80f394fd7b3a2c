"""Everything that a folder of kept trials says, computed from its logs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.measure.trial import read_trial
from inference.measure.verdicts import Compared, as_json, compare, counted

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.measure.trial import Trial

__all__ = ["FILES", "JSON_FILE", "PICTURE", "TRIALS", "judge"]

TRIALS = ("sleeping", "heavy", "scenario")
JSON_FILE = "validation.json"
PICTURE = "error-map.png"
FILES = (*TRIALS, JSON_FILE, PICTURE)


def judge(
    folder: Path,
    scenario: Scenario | None = None,
    loop: str = "",
    file: str = "SCENARIO.yaml",
) -> dict[str, Any]:
    """Compute what the trials of a folder say, and write it there as JSON.

    Args:
        folder: Holds a folder for each trial.
        scenario: To carry the error through to its strategy; nothing is where None.
        loop: The loop that was measured.
        file: The scenario's file, for messages.
    """
    trials = {name: read_trial(folder / name) for name in TRIALS if (folder / name).is_dir()}
    compared = {name: compare(trial, folder / name) for name, trial in trials.items()}
    first = next(iter(trials.values()))
    content: dict[str, Any] = {
        "machine": first.about["machine"],
        "amounts": first.about["amounts"],
        "seed": first.about["seed"],
        "counts": counted(list(compared.values())),
        "trials": [as_json(one) for one in compared.values()],
    }
    if scenario is not None and "scenario" in trials:
        content["strategy"] = _strategy(
            scenario, loop, trials["scenario"], compared["scenario"], folder / "scenario", file
        )
    temporary = folder / f".{JSON_FILE}.new"
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, folder / JSON_FILE)
    return content


def _strategy(
    scenario: Scenario, loop: str, trial: Trial, compared: Compared, folder: Path, file: str
) -> dict[str, Any] | None:
    from backtester.measured.effect import strategy_effect
    from inference.measure.verdicts import simulator

    markets = [name for name in trial.runs if name.startswith("market")]
    if not markets:
        return None
    pairs = trial.runs[markets[0]]
    run = simulator(compared.config)
    seed = int(trial.about["seed"])
    simulated = [
        run(first.scheduled_at - int(first.scheduled_at[0]), seed + 1000 * number)
        for number, (first, _) in enumerate(pairs)
    ]
    recordings = {
        "measured": [first for first, _ in pairs],
        "measured again": [second for _, second in pairs],
        "simulated": simulated,
    }
    return strategy_effect(scenario, loop, recordings, folder, file)
