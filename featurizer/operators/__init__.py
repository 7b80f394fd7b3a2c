"""Compiled scans with explicit state, one family a file.

An operator is an object that holds its state in NumPy arrays and has a method `scan`: updates in,
values out, at the instants asked for (and after every update, where another feature reads it). Each
module imports numba, so definitions import an operator only where they make one, and its kernel
compiles at its first scan.

What holds for all of them:

* **Boundary.** A window of time covers (now - length, now]: its first instant is left out, its last
  is part of it. A window of N updates covers the newest N. A bar of time covers [open, close) and
  is visible at its close.
* **NaN.** An update of NaN is no update: windows, averages, bars and counts leave it out (of
  several columns, one NaN is enough). Only `asof.Lagged` tells of it: a lag of a NaN is a NaN.
* **Warm-up.** A value is NaN until all that it is made of has been seen: a window, until a first
  update lies at or before now - length; a window of N updates, until there are N. After that an
  empty window sums and counts to 0, and is NaN where that would say nothing (mean, extremes,
  quantiles).
* **Instants.** Of several updates at one instant each counts, in their order; for a value held or
  looked up in time, the last.
* **Bits.** A value depends on the updates so far and on the instant of reading: not on chunks, on
  other reads or on where the run began. Sums start anew at multiples of the window since the epoch
  (at multiples of N bars, for windows of bars); averages that never forget entirely
  (`exponential`, `recursions`) remember a run's start as long as it has weight; windows over the
  last N updates of a stream (`counts`) may show it in the last bits of a sum.

| file | operators |
|---|---|
| `windows` | sum, min, max; with a column of ones, count and rate |
| `moments` | mean, variance, standard deviation, z-score; covariance, correlation, beta of two |
| `ranks` | median, quantile, first, last, count |
| `counts` | any of these over the last N updates |
| `exponential`, `recursions` | exponential mean, variance, covariance, in time and by the event |
| `asof` | lag and log return in time |
| `changes` | lag, difference, ratio, log return by the event; cumulative with reset |
| `bars` | bars by time, ticks, volume, turnover; a price sampled on a grid |
| `book` | a book from snapshots and differences |
| `returns`, `waves` | squared log returns; sines and cosines |

The as-of join of two streams is the graph's work: see `FeatureDefinition.joined`.
"""

from __future__ import annotations

__all__: list[str] = []
