"""What an error of Ray means for a request: its outcome, its reason, and a sentence."""

from __future__ import annotations

from inference.schedule import Outcome, Reason

__all__ = ["outcome_of"]


def outcome_of(error: BaseException) -> tuple[Outcome, Reason, str]:
    """Return outcome, reason and a sentence for what awaiting a response raised."""
    from ray import exceptions
    from ray.serve.exceptions import (
        BackPressureError,
        DeploymentUnavailableError,
        ReplicaUnavailableError,
        RequestCancelledError,
    )

    text = _sentence(error)
    if isinstance(error, BackPressureError):
        return Outcome.REJECTED, Reason.QUEUE_FULL, text
    if isinstance(error, RequestCancelledError | exceptions.TaskCancelledError):
        return Outcome.FAILED, Reason.CANCELLED, text
    if isinstance(
        error,
        exceptions.RayActorError
        | exceptions.WorkerCrashedError
        | ReplicaUnavailableError
        | DeploymentUnavailableError,
    ):
        return Outcome.FAILED, Reason.CRASHED, text
    return Outcome.FAILED, Reason.ERROR, text


def _sentence(error: BaseException) -> str:
    cause = getattr(error, "cause", None)  # of an error that was raised in a replica
    if isinstance(cause, BaseException):
        error = cause
    message = getattr(error, "message", None)
    text = message if isinstance(message, str) and message else str(error)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
