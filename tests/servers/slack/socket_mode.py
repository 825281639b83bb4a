"""Socket Mode: WebSockets that carry envelopes to an app, and acknowledgements back."""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import WSMsgType, web

from tests.servers.slack.delivery import Attempt, Delivery
from tests.servers.slack.workspace import APP
from tests.servers.steps import Steps, unobserved

Json = Any

MAX_SOCKETS = 10
DisconnectReason = Literal["warning", "refresh_requested", "link_disabled", "too_many_websockets"]


@dataclass(slots=True, eq=False)
class Socket:
    """One connection. `retiring`: it was asked to disconnect; `deaf`: no data passes in either direction."""

    request: web.Request
    ws: web.WebSocketResponse
    retiring: bool = False
    deaf: bool = False
    carried: dict[str, Attempt] = field(default_factory=dict)
    pings: int = 0

    def drop(self) -> None:
        """Break the TCP connection."""
        if self.request.transport is not None:
            self.request.transport.abort()


class SocketMode:
    """Open sockets of the app; payloads go to them in turns."""

    def __init__(self, violate: Callable[[str], None]) -> None:
        self.sockets: list[Socket] = []
        self.opened = 0
        self.refused_handshakes = 0
        self.ticket_lifetime = 30.0
        self.closed_to_all = False
        self.steps: Steps = unobserved
        self._violate = violate
        self._tickets: dict[str, float] = {}
        self._envelopes: set[str] = set()
        self._turn = itertools.count()

    def issue_url(self, base: str) -> str:
        """Return an address for one connection, valid for `ticket_lifetime` seconds."""
        ticket = secrets.token_hex(8)
        self._tickets[ticket] = time.monotonic() + self.ticket_lifetime
        return f"{base.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={APP}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Handle one connection, from its handshake to its end."""
        expiry = self._tickets.pop(request.query.get("ticket", ""), 0.0)
        if self.closed_to_all or time.monotonic() > expiry:
            self.refused_handshakes += 1
            return web.Response(status=408, text="used or expired ticket")
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        socket = Socket(request, ws)
        self.opened += 1
        self.sockets.append(socket)
        try:
            await self._serve(socket)
        finally:
            self.sockets.remove(socket)
        return ws

    async def _serve(self, socket: Socket) -> None:
        if len(self.sockets) > MAX_SOCKETS:
            self._violate(f"socket mode: more than {MAX_SOCKETS} connections")
            await self.disconnect(socket, "too_many_websockets")
            return
        await socket.ws.send_json(self._hello())
        async for frame in socket.ws:
            if socket.deaf:
                continue
            if frame.type is WSMsgType.PING:
                socket.pings += 1
                await socket.ws.pong(frame.data)
            elif frame.type is WSMsgType.TEXT:
                async with self.steps("acknowledgement"):
                    self._take(socket, frame.data)

    def _hello(self) -> dict[str, Json]:
        return {
            "type": "hello",
            "num_connections": len(self.sockets),
            "connection_info": {"app_id": APP},
            "debug_info": {
                "host": "applink-1",
                "build_number": 1,
                "approximate_connection_time": 18060,
            },
        }

    def _take(self, socket: Socket, data: str) -> None:
        """Take an acknowledgement: `{"envelope_id": …}`, with a payload only if one is requested."""
        try:
            frame = json.loads(data)
            envelope_id = frame["envelope_id"]
        except (ValueError, KeyError, TypeError):
            self._violate(f"socket mode: not an acknowledgement: {data[:200]}")
            return
        if envelope_id not in self._envelopes:
            self._violate(f"socket mode: acknowledged an unknown envelope {envelope_id}")
        elif envelope_id in socket.carried:
            socket.carried.pop(envelope_id).acknowledge(frame.get("payload"))

    async def send(self, delivery: Delivery, attempt: Attempt, timeout: float) -> bool:
        """Send one attempt over a socket and wait for its acknowledgement."""
        socket = self._pick()
        if socket is None:
            attempt.failure = "connection_failed"
            return True
        self._envelopes.add(attempt.envelope_id)
        socket.carried[attempt.envelope_id] = attempt
        if not socket.deaf:
            await _write(socket, _envelope(delivery, attempt))
        try:
            async with asyncio.timeout(timeout):
                await attempt.acked.wait()
        except TimeoutError:
            attempt.failure = "timeout"
        if attempt.response is not None and delivery.kind == "events_api":
            self._violate(f"socket mode: a payload with the acknowledgement of {attempt.envelope_id}")
        return True

    def _pick(self) -> Socket | None:
        usable = [each for each in self.sockets if not each.retiring]
        return usable[next(self._turn) % len(usable)] if usable else None

    async def disconnect(self, socket: Socket, reason: DisconnectReason) -> None:
        """Ask the app to leave this connection, which gets no further payloads."""
        socket.retiring = True
        frame = {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}
        await _write(socket, frame)

    async def close(self) -> None:
        """Drop every connection and accept no more."""
        self.closed_to_all = True
        for socket in self.sockets:
            socket.drop()


def _envelope(delivery: Delivery, attempt: Attempt) -> dict[str, Json]:
    envelope = {
        "type": delivery.kind,
        "envelope_id": attempt.envelope_id,
        "payload": delivery.payload,
        "accepts_response_payload": delivery.kind != "events_api",
    }
    if delivery.kind == "events_api":
        envelope |= {"retry_attempt": attempt.number, "retry_reason": attempt.reason or ""}
    return envelope


async def _write(socket: Socket, frame: dict[str, Json]) -> None:
    try:
        await socket.ws.send_json(frame)
    except ConnectionError:  # lost while writing: to Slack that is an envelope without an answer
        socket.drop()
