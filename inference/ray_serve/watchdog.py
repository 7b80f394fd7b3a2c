"""Whether a cluster is still there: asked of its two servers, twice a second.

Ray itself notices that its head is gone only after a minute, and then ends the process that asked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Event, Thread

from clock.wall import steady_ns

__all__ = ["Address", "Watchdog", "answers"]

PERIOD_S = 0.5
_SECOND = 1_000_000_000

Address = tuple[str, int]
"""Host and port."""


class Watchdog:
    """Calls back once when a server has not answered for some time.

    Args:
        servers: What each server is, and its host and port.
        lost_after_s: How long a server may be silent. A refused connection counts like silence.
        tell: Called with a sentence, in the watchdog's thread.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, Address]],
        lost_after_s: float,
        tell: Callable[[str], None],
    ) -> None:
        self._servers = list(servers)
        self._lost_after_ns = int(lost_after_s * _SECOND)
        self._tell = tell
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="ray-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; may be called from the callback."""
        self._stop.set()

    def _watch(self) -> None:
        heard = dict.fromkeys((name for name, _ in self._servers), steady_ns())
        while not self._stop.wait(PERIOD_S):
            for name, address in self._servers:
                if answers(address):
                    heard[name] = steady_ns()
                elif steady_ns() - heard[name] > self._lost_after_ns and not self._stop.is_set():
                    self._stop.set()
                    self._tell(f"its {name} at {address[0]}:{address[1]} does not answer")
                    return


def answers(address: Address) -> bool:
    """Return whether something takes a connection at the address, within two seconds."""
    try:
        socket.create_connection(address, timeout=2.0).close()
    except OSError:
        return False
    return True
