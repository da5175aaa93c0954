"""A request's way through the faults: what may happen before and after the engine acts.

Both dialects and both transports (REST and WebSocket calls) send their requests through `serve`,
so a fault means the same everywhere. The result is a `Reply` to be written out, or `HANG_UP`.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from simulator.faults import Rule, delay_s
from simulator.venue import Venue


@dataclass(slots=True)
class Reply:
    """An answer before it is bytes. `raw` replaces the payload's JSON when a fault says so."""

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    content_type: str = "application/json"
    is_cut: bool = False


HANG_UP = Reply(0, None)
Errors = Callable[[str, dict[str, int]], Reply]
_BODIES = {
    "malformed_200": ('{"orderId":12', "application/json"),
    "empty_200": ("", "application/json"),
    "html_200": ("<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
}


async def serve(
    venue: Venue, on: str, symbol: str | None, execute: Callable[[], Reply], errors: Errors
) -> Reply:
    """Run one request. `errors` gives the dialect's own words for a fault's name."""
    refused = await _before(venue, on, symbol, errors)
    if refused is not None:
        return refused
    before_ack = venue.faults.take("private_event_before_ack", on, symbol)
    after_ack = venue.faults.take("private_event_after_ack", on, symbol)
    if after_ack is not None:
        venue.hold_events()
    try:
        reply = execute()
    finally:
        if after_ack is not None:
            _tell_later(venue, after_ack)
    if before_ack is not None:
        await asyncio.sleep(delay_s(before_ack, 300))
    return await _after(venue, on, symbol, reply, errors)


def _tell_later(venue: Venue, rule: Rule) -> None:
    events = venue.release_events()
    asyncio.get_running_loop().call_later(delay_s(rule, 300), venue.tell, events)


async def _before(venue: Venue, on: str, symbol: str | None, errors: Errors) -> Reply | None:
    faults = venue.faults
    if faults.take("maintenance", on, symbol) is not None:
        return errors("maintenance", {})
    for kind, default_s in (("ban_418", 5), ("rate_limit_429", 1)):
        rule = faults.take(kind, on, symbol)
        if rule is not None:
            return errors(kind, {"retry_after_s": rule.number("retry_after_s", default_s)})
    if faults.take("auth_revoked", on, symbol) is not None:
        return errors("auth_revoked", {})
    if faults.take("drop_request", on, symbol) is not None:
        return HANG_UP
    rule = _take_when(venue, "error_5xx", on, symbol, "before")
    if rule is not None:
        return errors("error_5xx", {"status": rule.number("status", 503)})
    rule = _take_when(venue, "delay", on, symbol, "before")
    if rule is not None:
        await asyncio.sleep(delay_s(rule, 2000))
    late = faults.take("late_execution", on, symbol)
    if late is not None:
        await asyncio.sleep(delay_s(late, 1500))
    return None


async def _after(venue: Venue, on: str, symbol: str | None, reply: Reply, errors: Errors) -> Reply:
    faults = venue.faults
    if faults.take("lost_reply", on, symbol) is not None:
        return HANG_UP
    rule = _take_when(venue, "error_5xx", on, symbol, "after")
    if rule is not None:
        return errors("error_5xx", {"status": rule.number("status", 503)})
    rule = _take_when(venue, "delay", on, symbol, "after")
    if rule is not None:
        await asyncio.sleep(delay_s(rule, 2000))
    for kind, (body, content_type) in _BODIES.items():
        if faults.take(kind, on, symbol) is not None:
            return Reply(200, None, reply.headers, body, content_type)
    if faults.take("truncated", on, symbol) is not None:
        reply.is_cut = True
    return reply


def _take_when(venue: Venue, kind: str, on: str, symbol: str | None, when: str) -> Rule | None:
    # The rule's own word decides which of its two places it strikes at; "after" unless said.
    return venue.faults.take(kind, on, symbol, lambda r: r.params.get("when", "after") == when)


async def write(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Put a reply on the wire; a hang-up cuts the connection, a cut reply stops half way."""
    if reply is HANG_UP:
        _abort(request)
        return web.Response(status=500)
    text = json.dumps(reply.payload, separators=(",", ":")) if reply.raw is None else reply.raw
    data = text.encode()
    if not reply.is_cut:
        return web.Response(
            status=reply.status, body=data, headers=reply.headers, content_type=reply.content_type
        )
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_type = reply.content_type
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    await asyncio.sleep(0.02)  # let the half arrive before the cut
    _abort(request)
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
