"""Gateway: https://discord.com/developers/docs/events/gateway, version 10 with JSON."""

import asyncio
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol
from uuid import uuid4

import zstandard
from aiohttp import WSMsgType, web

from tests.servers.discord import payloads as payloads
from tests.servers.discord.records import Event, Intent, Json
from tests.servers.discord.session_starts import SessionStarts, Verdict
from tests.servers.discord.world import World

PRIVILEGED = {
    "members": Intent.GUILD_MEMBERS,
    "presences": Intent.GUILD_PRESENCES,
    "message_content": Intent.MESSAGE_CONTENT,
}
KNOWN_INTENTS = (1 << 26) - 1
FRAMES_PER_MINUTE = 120
FRAME_LIMIT = 4096
PRESENCES_PER_20_SECONDS = 5
STATUSES = frozenset({"online", "dnd", "idle", "invisible", "offline"})

CLOSE_REASONS = {
    4001: "Unknown opcode.",
    4002: "Error while decoding payload.",
    4003: "Not authenticated.",
    4004: "Authentication failed.",
    4005: "Already authenticated.",
    4007: "Invalid seq.",
    4008: "You are being rate limited.",
    4010: "Invalid shard.",
    4011: "Sharding required.",
    4012: "Invalid API version.",
    4013: "Invalid intent(s).",
    4014: "Disallowed intent(s).",
}


class _Compressor(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def flush(self, mode: int) -> bytes: ...


class Op(IntEnum):
    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE = 3
    VOICE_STATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


@dataclass(frozen=True)
class _Close:
    code: int


@dataclass(eq=False)
class Session:
    """Identified session of the bot, which can resume after its socket is lost.

    `log` holds all sent events by sequence number; `heartbeats` are times (monotonic), `presences` are all
    that the bot has set, with their times.
    """

    id: str
    intents: Intent
    shard: tuple[int, int]
    log: list[str] = field(default_factory=list)
    connection: "Connection | None" = None
    resumable: bool = True
    resumes: int = 0
    heartbeats: list[float] = field(default_factory=list)
    presences: list[tuple[float, Json]] = field(default_factory=list)

    @property
    def presence(self) -> str:
        """Return the text of the bot's current presence."""
        activities = self.presences[-1][1]["activities"] if self.presences else []
        return "".join(each.get("state") or each["name"] for each in activities)

    @property
    def connected(self) -> bool:
        """Return True if there is a socket and all events have been sent."""
        return self.connection is not None and self.connection.flushed

    def dispatch(self, name: str, data: Json) -> None:
        frame = {"op": Op.DISPATCH, "t": name, "s": len(self.log) + 1, "d": data}
        self.log.append(json.dumps(frame))
        if self.connection:
            self.connection.send(self.log[-1])

    def hears(self, event: Event) -> bool:
        """Return True if the event belongs to this shard and its intent is subscribed."""
        number, count = self.shard
        mine = (event.guild.id >> 22) % count == number if event.guild else number == 0
        return mine and (not event.intent or bool(event.intent & self.intents))


class Connection:
    """One socket. It sends in order; once `deaf`, it sends nothing any more."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket
        self._request = request
        self._outgoing: asyncio.Queue[str | _Close] = asyncio.Queue()
        self.compression = request.query.get("compress", "")
        self._compress = _encoder(self.compression)
        self.session: Session | None = None
        self.deaf = False
        self.is_closed_by_us = False
        self.flushed = True
        self.frames: list[float] = []

    def send(self, frame: Json) -> None:
        self.flushed = False
        self._outgoing.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    def close(self, code: int) -> None:
        self.is_closed_by_us = True
        self._outgoing.put_nowait(_Close(code))

    def drop(self) -> None:
        """Cut the connection without notice."""
        if self._request.transport:
            self._request.transport.abort()

    @property
    def is_open(self) -> bool:
        """Return False once either side has gone."""
        transport = self._request.transport
        return not self._socket.closed and transport is not None and not transport.is_closing()

    async def write(self) -> None:
        """Send queued data until the socket is gone."""
        while not self._socket.closed:
            item = await self._outgoing.get()
            try:
                await self._put(item)
            except ConnectionError:
                return
            self.flushed = self._outgoing.empty()

    async def _put(self, item: str | _Close) -> None:
        if isinstance(item, _Close):
            reason = CLOSE_REASONS.get(item.code, "")
            await self._socket.close(code=item.code, message=reason.encode())
        elif self.deaf:
            return
        elif self._compress:
            await self._socket.send_bytes(self._compress(item.encode()))
        else:
            await self._socket.send_str(item)


def _encoder(compression: str) -> Callable[[bytes], bytes] | None:
    """Return a function that compresses one frame within the connection's stream, or None for plain text."""
    compressor: _Compressor
    match compression:
        case "zlib-stream":
            compressor, mode = zlib.compressobj(), zlib.Z_SYNC_FLUSH
        case "zstd-stream":
            compressor = zstandard.ZstdCompressor().compressobj()
            mode = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        case _:
            return None
    return lambda data: compressor.compress(data) + compressor.flush(mode)


class Gateway:
    """Sessions, and delivery of the world's events to them."""

    def __init__(self, world: World, token: str, violate: Callable[[str], None]) -> None:
        self._world = world
        self._token = token
        self._violate = violate
        self._connections: set[Connection] = set()
        self.url = ""
        self.heartbeat_interval = 41.25
        self.acks = True
        self.refusals = 0
        self.privileged: set[str] = {"message_content"}
        self.sessions: list[Session] = []
        self.starts = SessionStarts()
        world.listener = self.tell

    @property
    def connections(self) -> list[Connection]:
        return list(self._connections)

    def tell(self, event: Event) -> list[Connection]:
        """Send an event to all subscribed sessions; return their connections."""
        hearing = [session for session in self.sessions if session.resumable and session.hears(event)]
        for session in hearing:
            session.dispatch(event.name, self._seen_by(session.intents, event))
        return [session.connection for session in hearing if session.connection]

    def _seen_by(self, intents: Intent, event: Event) -> Json:
        if event.author is None or event.guild is None or event.author is self._world.bot:
            return event.data
        mentioned = any(user["id"] == str(self._world.bot.id) for user in event.data["mentions"])
        if mentioned or intents & Intent.MESSAGE_CONTENT:
            return event.data
        return payloads.without_content(event.data)

    # --- one connection

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            self.refusals -= 1
            # not a cut connection: aiohttp's client repeats a GET by itself when it loses one
            return web.Response(status=503)
        socket = web.WebSocketResponse(timeout=1)
        await socket.prepare(request)
        connection = Connection(socket, request)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            await self._converse(connection, socket, request)
        finally:
            self._leave(connection, socket.close_code)
            writer.cancel()
            await asyncio.wait([writer])
            if not writer.cancelled():
                writer.result()
        return socket

    async def _converse(
        self, connection: Connection, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        if request.query.get("v") != "10" or request.query.get("encoding") != "json":
            self._refuse(connection, 4012)
        connection.send({"op": Op.HELLO, "d": {"heartbeat_interval": int(self.heartbeat_interval * 1000)}})
        async for message in socket:
            if message.type is WSMsgType.TEXT and not connection.deaf:
                self._receive(connection, message.data)

    def _leave(self, connection: Connection, code: int | None) -> None:
        self._connections.discard(connection)
        if connection.session and connection.session.connection is connection:
            connection.session.connection = None
            # A client that says goodbye gives its session up; when we began the close, it is 1000 too.
            if code in (1000, 1001) and not connection.is_closed_by_us:
                connection.session.resumable = False

    def _refuse(self, connection: Connection, code: int) -> None:
        self._violate(f"gateway: closed with {code} {CLOSE_REASONS[code]}")
        connection.close(code)

    def _receive(self, connection: Connection, text: str) -> None:
        now = time.monotonic()
        connection.frames = [at for at in connection.frames if now - at < 60] + [now]
        try:
            frame = json.loads(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            return self._refuse(connection, 4002)
        if len(text) > FRAME_LIMIT:
            return self._refuse(connection, 4002)
        if len(connection.frames) > FRAMES_PER_MINUTE:
            return self._refuse(connection, 4008)
        return self._obey(connection, op, data)

    def _obey(self, connection: Connection, op: int, data: Json) -> None:
        match op:
            case Op.HEARTBEAT:
                self._heartbeat(connection)
            case Op.IDENTIFY | Op.RESUME if connection.session:
                self._refuse(connection, 4005)
            case Op.IDENTIFY:
                self._identify(connection, data)
            case Op.RESUME:
                self._resume(connection, data)
            case Op.PRESENCE | Op.VOICE_STATE | Op.REQUEST_MEMBERS if not connection.session:
                self._refuse(connection, 4003)
            case Op.PRESENCE:
                self._show_presence(connection, data)
            case Op.VOICE_STATE:
                pass
            case Op.REQUEST_MEMBERS if connection.session:
                connection.session.dispatch("GUILD_MEMBERS_CHUNK", self._members(data))
            case _:
                self._refuse(connection, 4001)

    def _show_presence(self, connection: Connection, data: Json) -> None:
        assert connection.session
        activities = data.get("activities")
        is_list = isinstance(activities, list) and all(each.get("name") for each in activities)
        if data.get("status") not in STATUSES or not is_list or not isinstance(data.get("afk"), bool):
            return self._refuse(connection, 4002)
        now = time.monotonic()
        changes = connection.session.presences
        if sum(now - at < 20 for at, _ in changes) >= PRESENCES_PER_20_SECONDS:
            self._violate("gateway: more than 5 presence updates in 20 s")
        changes.append((now, data))
        return None

    def _heartbeat(self, connection: Connection) -> None:
        if connection.session:
            connection.session.heartbeats.append(time.monotonic())
        if self.acks:
            connection.send({"op": Op.HEARTBEAT_ACK})

    def _identify(self, connection: Connection, data: Json) -> None:
        code = self._fault_of(data)
        if code:
            return self._refuse(connection, code)
        number, count = data.get("shard") or (0, 1)
        if not self._may_start(connection, number, count):
            return None
        session = Session(uuid4().hex, Intent(data["intents"]), (number, count), connection=connection)
        connection.session = session
        self.sessions.append(session)
        session.dispatch("READY", self._ready(session))
        for event in self._guilds():
            if session.hears(event):
                session.dispatch(event.name, event.data)
        return None

    def _may_start(self, connection: Connection, number: int, count: int) -> bool:
        verdict = self.starts.take(number, count)
        match verdict:
            case Verdict.FINE:
                return True
            case Verdict.TOO_FEW_SHARDS:  # the client could not know
                connection.close(4011)
                return False
        self._violate(f"gateway: IDENTIFY of shard {number} of {count}: {verdict.value}")
        if verdict is Verdict.TOO_SOON:
            connection.send({"op": Op.INVALID_SESSION, "d": False})
        else:  # Discord ends all sessions and resets the token
            self._token = uuid4().hex
            self.close(4004)
        return False

    def _fault_of(self, data: Json) -> int | None:
        """Return the close code for an IDENTIFY that Discord refuses, or None."""
        if data.get("token") != self._token:
            return 4004
        if not isinstance(data.get("properties"), dict):
            return 4002
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~KNOWN_INTENTS:
            return 4013
        match data.get("shard", [0, 1]):
            case [int(number), int(count)] if 0 <= number < count:
                pass
            case _:
                return 4010
        disallowed = any(bit & intents for name, bit in PRIVILEGED.items() if name not in self.privileged)
        return 4014 if disallowed else None

    def _ready(self, session: Session) -> Json:
        mine = [event.guild for event in self._guilds() if session.hears(event) and event.guild]
        return {
            "v": 10,
            "user": payloads.user(self._world.bot) | {"verified": True, "email": None, "mfa_enabled": False},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in mine],
            "session_id": session.id,
            "resume_gateway_url": f"{self.url}resume/",
            "application": {"id": str(self._world.bot.id), "flags": 0},
            "shard": list(session.shard),
            "private_channels": [],
            "relationships": [],
        }

    def _guilds(self) -> Iterator[Event]:
        for guild in self._world.guilds.values():
            data = payloads.guild(guild, self._world.channels.values(), self._world.bot)
            yield Event("GUILD_CREATE", data, Intent.GUILDS, guild)

    def _resume(self, connection: Connection, data: Json) -> None:
        if data.get("token") != self._token:
            return self._refuse(connection, 4004)
        known = {session.id: session for session in self.sessions if session.resumable}
        session = known.get(data.get("session_id"))
        if session is None:
            # what follows from a session that was ended is no violation: the client cannot know
            connection.send({"op": Op.INVALID_SESSION, "d": False})
            return None
        if not 0 <= (data.get("seq") or 0) <= len(session.log):
            return self._refuse(connection, 4007)
        if session.connection:
            session.connection.close(4000)
        session.connection = connection
        connection.session = session
        session.resumes += 1
        for frame in session.log[data["seq"] :]:
            connection.send(frame)
        session.dispatch("RESUMED", {"_trace": []})
        return None

    def _members(self, data: Json) -> Json:
        wanted = {int(id) for id in data.get("user_ids") or ()} or set(self._world.users)
        return {
            "guild_id": str(data["guild_id"]),
            "members": [payloads.member(user) for user in self._world.users.values() if user.id in wanted],
            "chunk_index": 0,
            "chunk_count": 1,
            "nonce": data.get("nonce"),
        }

    # --- trouble

    def drop(self, shard: int | None = None) -> None:
        for connection in self.connections:
            if shard is None or (connection.session and connection.session.shard[0] == shard):
                connection.drop()

    def close(self, code: int) -> None:
        for connection in self.connections:
            connection.close(code)

    def reconnect(self) -> None:
        for connection in self.connections:
            connection.send({"op": Op.RECONNECT, "d": None})

    def invalidate(self, *, resumable: bool) -> None:
        for session in self.sessions:
            session.resumable = session.resumable and resumable
        for connection in self.connections:
            connection.send({"op": Op.INVALID_SESSION, "d": resumable})

    def deafen(self) -> None:
        for connection in self.connections:
            connection.deaf = True
