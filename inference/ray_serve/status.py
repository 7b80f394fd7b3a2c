"""What is deployed on a cluster, and how it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inference.errors import NotDeployedError

__all__ = ["ApplicationStatus", "check_deployed", "delete", "statuses"]


class ApplicationStatus(NamedTuple):
    """One variant's application, as Ray Serve sees it now."""

    name: str
    status: str
    """Serve's own word: RUNNING, DEPLOYING, UNHEALTHY, DEPLOY_FAILED, DELETING."""
    replicas: dict[str, int]
    """Replicas in each of Serve's states, such as RUNNING or STARTING."""
    message: str


def statuses() -> list[ApplicationStatus]:
    """Return every application of the connected cluster, by name."""
    from ray import serve

    found = []
    for name, one in sorted(serve.status().applications.items()):
        replicas: dict[str, int] = {}
        for deployment in one.deployments.values():
            for state, count in deployment.replica_states.items():
                replicas[state] = replicas.get(state, 0) + count
        message = one.message or " ".join(d.message for d in one.deployments.values() if d.message)
        found.append(ApplicationStatus(name, one.status.value, replicas, message))
    return found


def check_deployed(names: Sequence[str]) -> None:
    """Refuse names under which nothing is deployed.

    Raises:
        NotDeployedError: With those that are.
    """
    known = [one.name for one in statuses()]
    missing = [name for name in names if name not in known]
    if missing:
        raise NotDeployedError(
            f"there must be a deployment of the name: got '{missing[0]}'. Deployed: "
            f"{', '.join(known) or 'nothing'}."
        )


def delete(names: Sequence[str]) -> None:
    """Take applications down, and wait until their replicas are gone.

    Raises:
        NotDeployedError: If one of them is not deployed; then none is taken down.
    """
    check_deployed(names)
    from ray import serve

    for name in names:
        serve.delete(name)
