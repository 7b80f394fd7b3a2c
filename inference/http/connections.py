"""The guard of connections: how many there are, how slowly a request may come or an answer go.

The server's own protocol has no deadline for the head of a request, so that a client that sends a
byte now and then would hold its connection for good. What is refused here never reaches the gate.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from clock.wall import host_ns
from inference.http.errors import RefusedError, error_response
from inference.http.settings import Settings

if TYPE_CHECKING:
    from inference.http.metrics import Recorder

__all__ = ["guarded_protocol"]

_SECOND = 1_000_000_000
_names = itertools.count()


def guarded_protocol(settings: Settings, recorder: Recorder | None = None) -> type[H11Protocol]:
    """Return the protocol of a server's connections.

    Args:
        settings: Its limits.
        recorder: Where refusals are counted, under the route `unread`.
    """
    limits = settings

    class Guarded(_Guarded):
        settings = limits
        seen = recorder

    return Guarded


class _Guarded(H11Protocol):
    """A connection that is given up when its client is too slow."""

    settings: Settings
    seen: Recorder | None
    _due: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _has_come = False

    # --- what the server calls -------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self._began = host_ns()
        if len(self.connections) > self.settings.max_connections:
            self._refuse(
                503,
                "too_many_connections",
                f"the service keeps at most {self.settings.max_connections} connections. Ask again "
                "later, and close those that rest.",
                {"Retry-After": str(self.settings.retry_after_s)},
            )
        else:
            self._watch_the_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come of a request."""
        self._has_come = True
        super().data_received(data)
        self._watch_the_head()

    def on_response_complete(self) -> None:
        """Rest, or wait for what the client has begun to send already."""
        super().on_response_complete()
        if self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY:
            self._unset_keepalive_if_required()
            self._watch_the_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._forget_the_head()
        self._forget_the_answer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer, for so long."""
        super().pause_writing()
        if self._unread is None:
            wait_s = self.settings.body_timeout_ns / _SECOND
            self._unread = self.loop.call_later(wait_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with an answer."""
        self._forget_the_answer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as any other request is refused."""
        told = "what is sent must be a request of HTTP/1.1: it is none, or its head is too long."
        self._refuse(400, "no_http", told)

    # --- the deadline of a head ------------------------------------------------------------------

    def _watch_the_head(self) -> None:
        """Begin to wait for the rest of a head, or have done so."""
        if not self._is_awaited() or self.transport.is_closing():
            self._forget_the_head()
        elif self._due is None:
            # from its first byte, or from that of the connection; what follows does not prolong it
            self._began = host_ns()
            wait_s = self.settings.head_timeout_ns / _SECOND
            self._due = self.loop.call_later(wait_s, self._too_slow)

    def _forget_the_head(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _forget_the_answer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _is_awaited(self) -> bool:
        """Whether a head is under way, or the rest of a request that was answered already."""
        if self.conn.their_state is h11.IDLE:
            return True
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.conn.their_state is h11.SEND_BODY

    def _too_slow(self) -> None:
        self._due = None
        if self.transport.is_closing() or not self._is_awaited():
            return
        if self._has_come and self.conn.their_state is h11.IDLE:
            wait_s = self.settings.head_timeout_ns / _SECOND
            told = f"the head of a request must arrive within {wait_s:g} s."
            self._refuse(408, "slow_head", told)
        else:  # it has said nothing that could be answered
            self._count(408)
            self.transport.close()

    def _refuse(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        """Answer without the application, and close."""
        name = f"{self._began:x}-{os.getpid():x}-{next(_names):x}"
        error = RefusedError(status, code, message, headers={**(headers or {}), **_CLOSE})
        answer = error_response(error, name)
        head = h11.Response(status_code=status, headers=[*answer.raw_headers, _named(name)])
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self._count(status)
        self.transport.close()

    def _count(self, status: int) -> None:
        if self.seen is not None:
            self.seen.http("unread", "OTHER", status, host_ns() - self._began)


_CLOSE = {"Connection": "close"}


def _named(name: str) -> tuple[bytes, bytes]:
    return b"x-request-id", name.encode("ascii")
