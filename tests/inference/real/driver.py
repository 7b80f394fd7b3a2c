"""A process that deploys and waits to be killed: `python -m tests.inference.real.driver DIR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from inference.ray_serve import deploy, ray_cluster
from tests.inference.real.conftest import moody


def main(folder: Path) -> None:
    with ray_cluster(num_cpus=2) as cluster:
        deploy(cluster, moody(folder / "model.json"), name="doomed").backend()
        print("ready", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
