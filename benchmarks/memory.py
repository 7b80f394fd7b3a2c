"""Peak memory of the same work on a catalog ten times larger: it must not grow with the data.

python benchmarks/memory.py --json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

ONE_RUN = """
import sys
from pathlib import Path
from benchmarks.replay import EveryQuote, peak_mb, scenario_of
from backtester.run import Run
from featurizer.catalog import Catalog
catalog = Catalog(Path(sys.argv[1]))
Run(scenario_of(catalog, "w1"), EveryQuote(), catalog, {}).execute()
print(peak_mb())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quotes", type=int, default=500_000, help="Of the smaller catalog.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from benchmarks.replay import make_catalog

    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for factor in (1, 10):
            root = Path(folder) / f"times-{factor}"
            make_catalog(root, arguments.quotes * factor)
            peaks.append(peak_of_run(root))
    report = {
        "quotes": arguments.quotes,
        "peak_mb": round(peaks[0], 1),
        "peak_mb_ten_times": round(peaks[1], 1),
        "ratio": round(peaks[1] / peaks[0], 3),
    }
    print(json.dumps(report, indent=2) if arguments.json else report)


def peak_of_run(root: Path) -> float:
    """Return the largest resident size of a fresh process that runs W1 on a catalog."""
    here = Path(__file__).parents[1]
    command = [sys.executable, "-c", ONE_RUN, str(root)]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
