"""Paper trading: the market replayed against the wall clock, real answers, the simulated venue."""
