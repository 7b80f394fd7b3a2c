"""Compile the two largest kernels side by side, before two workers each compile both of them.

`python -m tests.warm`: nothing to do, and done in seconds, where the cache holds them already.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def trading() -> None:
    """Trade by the express lane, by the venue in Python, and ask a plain deployment."""
    from featurizer.catalog import Catalog
    from featurizer.synthetic import write_synthetic
    from tests.backtester.test_express import MARKET, Hearing, play

    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(MARKET, Path(folder))
        play(Catalog(Path(folder)), Hearing(1234))
    ask()


def serving() -> None:
    """Ask a deployment with a policy, which takes the whole stack."""
    ask(router="power_of_two")


def ask(**policies: str) -> None:
    from inference.config import InferenceConfig
    from inference.measure.simulate import simulate

    config = {"model_uri": "none", "service_time": "1ms", **policies}
    simulate(InferenceConfig.model_validate(config), np.arange(10) * 10**7, seed=1)


PARTS = {"trading": trading, "serving": serving}


def main() -> int:
    """Compile each part in a process of its own; return what failed first."""
    command = [sys.executable, "-m", "tests.warm"]
    parts = [subprocess.Popen([*command, name]) for name in PARTS]
    return max(part.wait() for part in parts)


if __name__ == "__main__":
    sys.exit(PARTS[sys.argv[1]]() if len(sys.argv) > 1 else main())
