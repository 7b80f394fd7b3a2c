"""Execute every notebook, as a reader would, from the root of the repository.

Executed copies go to runs/notebooks; the notebooks themselves are kept without output.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]


def main() -> int:
    folder = ROOT / "runs" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as sockets:
        return execute_all(folder, Path(sockets))


def execute_all(folder: Path, sockets: Path) -> int:
    """Execute all notebooks; return 0, or 1 at the first cell that fails."""
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        # over a socket file: a TCP port would be open to everybody on the machine
        manager = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=str(sockets / path.stem)
        )
        where = {"metadata": {"path": str(ROOT)}}
        client = NotebookClient(notebook, timeout=600, km=manager, resources=where)
        try:
            client.execute()
        except CellExecutionError as error:
            print(f"{path.name}: a cell failed\n{error}", file=sys.stderr)
            return 1
        nbformat.write(notebook, folder / path.name)
        print(f"{path.name}: {len(notebook.cells)} cells, saved to {folder / path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
