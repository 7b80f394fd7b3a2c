"""Examples are the same in every run of the suite; `HYPOTHESIS_PROFILE=explore` seeks new ones."""

from __future__ import annotations

import os

from hypothesis import settings

# without a deadline: the first example of a test may compile kernels
settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
