"""The latencies of a scenario's execution, one sampler an action."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clock.sampler import Sampler

if TYPE_CHECKING:
    from backtester.execution_config import ExecutionConfig

__all__ = ["ActionSamplers", "action_samplers"]


class ActionSamplers(NamedTuple):
    """How long each action takes.

    All that goes one way shares a stream of draws: a setting for one action changes no draw of
    another, and what the venue says at once comes back together unless it is told apart.

    Attributes:
        new: A new order on its way to the venue.
        cancel: A cancel on its way.
        modify: A change on its way.
        acknowledgement: A report of anything but an execution, on its way back.
        fill: A report of an execution, on its way back.
        decision: A callback of the strategy.
    """

    new: Sampler
    cancel: Sampler
    modify: Sampler
    acknowledgement: Sampler
    fill: Sampler
    decision: Sampler


def action_samplers(config: ExecutionConfig, seed: int) -> ActionSamplers:
    """Return the samplers of an execution; recorded files are found from the working folder.

    Raises:
        LatencyError: If a recorded file cannot be used.
    """
    ways = {
        "order_entry": (config.entry_latency, ("new", "cancel", "modify")),
        "order_response": (config.response_latency, ("acknowledgement", "fill")),
    }
    samplers = {
        action: Sampler(getattr(config.latency, action) or default, seed, stream)
        for stream, (default, actions) in ways.items()
        for action in actions
    }
    return ActionSamplers(**samplers, decision=Sampler(config.decision_latency, seed, "decision"))
