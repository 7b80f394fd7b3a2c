"""What holds for every test: the same examples in each run, and little work for the collector.

`HYPOTHESIS_PROFILE=explore` seeks new examples.
"""

from __future__ import annotations

import gc
import os

from hypothesis import settings

# without a deadline: the first example of a test may compile kernels
settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_finish() -> None:
    """Keep what is there for good, modules and tests, out of every collection of garbage.

    A million objects: a whole collection takes a third of a second over them, and what measures
    makes one before each load. It must not thaw them afterwards, and need freeze nothing more.
    """
    gc.collect()
    gc.freeze()
    gc.freeze = gc.unfreeze = _nothing


def _nothing() -> None:
    pass
