"""What a scenario says about serving, an idea a file: which policies act, and their numbers.

They say only what they are; `inference.serving` compiles them into what happens when.
"""

from __future__ import annotations

__all__: list[str] = []
