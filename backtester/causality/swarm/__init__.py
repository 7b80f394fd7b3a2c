"""Random whole scenarios, with all laws asserted on each: what nobody thought of.

Every example comes from a seed alone, in a process of its own: the same seed, with the same
packages, is the same example.
"""

from backtester.causality.swarm.battery import Tried, assert_laws
from backtester.causality.swarm.swarm import Totals, run_swarm
from backtester.causality.swarm.trial import Trial, try_seed

__all__ = ["Totals", "Trial", "Tried", "assert_laws", "run_swarm", "try_seed"]
