"""The columns of what a ledger takes down, each a frame of the result or a part of one."""

from __future__ import annotations

from typing import Final

ORDERS: Final[dict[str, type]] = {
    "order": int,
    "decided_at": int,
    "sent_at": int,
    "instrument": str,
    "side": int,
    "type": str,
    "time_in_force": str,
    "quantity": float,
    "limit_price": float,
    "stop_price": float,
    "decision_mid": float,
    "staleness_ns": int,
}
ARRIVALS: Final[dict[str, type]] = {"order": int, "arrived_at": int}
ENDS: Final[dict[str, type]] = {"order": int, "status": str, "reason": str}
ORDER_CHANGES: Final[dict[str, type]] = {
    "kind": str,
    "order": int,
    "instrument": str,
    "decided_at": int,
    "sent_at": int,
    "arrived_at": int,
    "quantity": float,
    "limit_price": float,
    "decision_mid": float,
}
FILLS: Final[dict[str, type]] = {
    "report": int,
    "order": int,
    "venue_time": int,
    "instrument": str,
    "side": int,
    "quantity": float,
    "price": float,
    "liquidity": str,
    "currency": str,
    "fee": float,
    "realised": float,
    "net": float,
    "position": float,
}
PAYMENTS: Final[dict[str, type]] = {
    "report": int,
    "venue_time": int,
    "kind": str,
    "instrument": str,
    "currency": str,
    "amount": float,
}
REPORTS: Final[dict[str, type]] = {
    "report": int,
    "order": int,
    "kind": str,
    "reason": str,
    "quantity": float,
    "venue_time": int,
    "visible_at": int,
}
RECORDS: Final[dict[str, type]] = {"time": int, "name": str, "value": float}
