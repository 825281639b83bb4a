"""HTTP platform with a worker behind it that answers each message once."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.chat import (
    ConversationTitle,
    Event,
    Health,
    Json,
    LeaseLost,
    Message,
    Part,
    Receipt,
    StoredEntry,
    Text,
    ThreadId,
    Turn,
)
from bot.commands.commands import Commands
from bot.commands.redis import Operations
from bot.http.platform import Http
from bot.http.timing import Timing
from bot.platforms.receiver import Webhook
from bot.storage.files import FileStore
from bot.storage.key_value import KeyValueStore
from tests.support.agents import Answer
from tests.support.commands import nothing_to_stop
from tests.support.http_server import credentials
from tests.support.replies import run_reply
from tests.support.wait import wait_until

TOKEN = "a token with spaces and ümlauts"
JSON = {"Content-Type": "application/json"}
STREAM = {"Accept": "text/event-stream"}

Frame = tuple[str, dict[str, Json]]


async def echo(turn: Turn) -> AsyncIterator[Part]:
    """Answer with the question, in two pieces."""
    yield Text("You said: ")
    yield Text(" | ".join(message.text for message in turn.messages))


def failing_answer(error: Exception, *before: Part) -> Answer:
    """Return an answer that says `before`, then breaks off."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in before:
            yield part
        raise error

    return answer


@dataclass
class Worker:
    """Small inbox and worker: keeps each message once, and answers it unless `holding`."""

    http: Http
    answer: Answer
    tasks: asyncio.TaskGroup
    holding: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    states: dict[str, dict[str, Json]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    async def deliver(self, event: Event) -> None:
        """Keep a message, and answer it if it is new."""
        assert isinstance(event, Message)
        if event.id in self.messages:
            return
        self.messages[event.id] = event
        if not self.holding:
            self.tasks.create_task(self.take((event,)))

    async def take(self, messages: Sequence[Message], attempt: int = 1) -> None:
        """Answer messages in one turn."""
        turn = Turn(id=messages[0].id, thread=messages[0].thread, messages=tuple(messages), attempt=attempt)

        self.attempts[turn.id] = attempt

        async def check_lease() -> None:
            if attempt != self.attempts[turn.id]:
                raise LeaseLost

        async def keep(state: Mapping[str, Json]) -> None:
            await check_lease()
            self.states[turn.id] = dict(state)

        receipt = Receipt(turn, keep, dict(self.states.get(turn.id, {})), check_lease)
        try:
            await run_reply(self.http.thread(turn.thread), self.answer(turn), receipt)
        except Exception as error:  # noqa: BLE001 - the tests look at what the worker would have seen
            self.errors.append(error)


@dataclass
class Setup:
    """Server with a client of it."""

    http: Http
    worker: Worker
    client: aiohttp.ClientSession

    async def chat(
        self, message: str, thread_id: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Json]]:
        """Send a message, and return the status and the body of the response."""
        body = {"message": message} | ({"thread_id": thread_id} if thread_id else {})
        async with self.client.post("/chat", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def stream(self, message: str, thread_id: str = "t", **headers: str) -> list[Frame]:
        """Send a message, and return all frames of its stream."""
        return [frame async for frame in self.frames(message, thread_id, **headers)]

    async def frames(self, message: str, thread_id: str = "t", **headers: str) -> AsyncIterator[Frame]:
        """Send a message, and yield the frames of its stream."""
        body = {"message": message, "thread_id": thread_id}
        async with self.client.post("/chat", json=body, headers=STREAM | headers) as response:
            assert response.status == 200, response.status
            assert response.content_type == "text/event-stream", response.content_type
            async for frame in read_frames(response):
                yield frame

    async def direct(self, **body: Json) -> tuple[int, dict[str, Json]]:
        """Send a Redis operation, and return the status and the body of the response."""
        async with self.client.post("/redis/direct", json=body) as response:
            return response.status, await response.json()


async def read_frames(response: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
    """Yield the events of a stream; a comment comes as an event without a name."""
    name = ""
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text.startswith(":"):
            yield "", {}
        elif text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))


TIMING = Timing(answer_timeout=30)
"""Durations of the server under test: a caller without an answer fails the test before pytest does."""

NO_FILES = FileStore(Redis())  # no test here shows one
NO_STORE = KeyValueStore(Redis(), "kv:")  # tests of operations pass another


class EmptyInbox:
    """Implements `bot.chat.InboxLookup`: no process has taken a message, since `Worker` is the inbox."""

    async def active_threads(self, platform: str, since: float) -> Sequence[ThreadId]:
        return ()

    async def is_known(self, message_id: str) -> bool:
        return False

    def has_hung(self, event_id: str) -> bool:
        return False

    async def receipt_of(self, message_id: str) -> Mapping[str, Json] | None:
        return None

    async def active(self, threads: Sequence[ThreadId]) -> frozenset[ThreadId]:
        return frozenset()

    async def is_taken_back(self, thread: ThreadId, message_id: str) -> bool:
        return False


class NoConversations:
    """Implements `bot.chat.ConversationStore`: no conversation is listed, since there is no store."""

    async def add(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        pass

    async def replace(self, thread: ThreadId, message: str, words: str, entry: str) -> None:
        pass

    def ending(self, thread: ThreadId, turn: str, entry: str) -> StoredEntry:
        return StoredEntry("", "", entry, 0)

    async def find(self, thread: ThreadId) -> None:
        return None

    async def revision(self, thread: ThreadId) -> None:
        return None

    async def titles(
        self, owner: ThreadId, words: str, before: float | None, limit: int
    ) -> Sequence[ConversationTitle]:
        return ()

    async def rename(self, thread: ThreadId, title: str) -> bool:
        return False

    async def delete(self, thread: ThreadId, *, restores: bool = False) -> bool:
        return False

    async def expired(self) -> Sequence[ThreadId]:
        return ()

    async def remove(self, thread: ThreadId) -> None:
        pass


def healthy(*parts: Health) -> Commands:
    """Return commands whose health report has these parts."""

    async def check_health() -> Sequence[Health]:
        return parts or (Health(name="redis", state="ok", evidence={"ping_ms": 0.2}),)

    return Commands(check_health, nothing_to_stop)


def operations(store: KeyValueStore = NO_STORE) -> Operations:
    """Return the Redis operations on a store."""
    return Operations(store, lambda user: False)


@asynccontextmanager
async def open_server(
    *,
    api_token: str | None = None,
    commands: Commands | None = None,
    store: KeyValueStore = NO_STORE,
    webhooks: Mapping[str, Webhook] | None = None,
    timing: Timing = TIMING,
) -> AsyncIterator[Http]:
    """Yield a server that does not receive yet."""
    http = Http(
        host="127.0.0.1",
        port=0,
        credentials=credentials(api_token),
        lookup=EmptyInbox(),
        files=NO_FILES,
        conversations=NoConversations(),
        timing=timing,
    )
    async with http.serve(replace(commands or healthy(), operations=operations(store)), webhooks or {}):
        yield http


@asynccontextmanager
async def serve_chat(
    answer: Answer = echo,
    *,
    commands: Commands | None = None,
    store: KeyValueStore = NO_STORE,
    api_token: str | None = None,
    timing: Timing = TIMING,
) -> AsyncIterator[Setup]:
    """Yield a server that takes messages and answers them with `answer`."""
    headers = {"Authorization": f"Bearer {api_token}"} if api_token else {}
    commands = commands or healthy()
    async with (
        open_server(commands=commands, store=store, api_token=api_token, timing=timing) as http,
        asyncio.TaskGroup() as tasks,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{http.port}", headers=headers, connector=aiohttp.TCPConnector(limit=0)
        ) as client,
    ):
        worker = Worker(http, answer, tasks)
        receiving = tasks.create_task(http.receive(worker.deliver, commands))
        await wait_until(lambda: is_taking(http), "the server takes messages")
        yield Setup(http, worker, client)
        receiving.cancel()


async def is_taking(http: Http) -> bool:
    """Return whether the server takes messages."""
    return (await http.health()).state == "ok"


@pytest.fixture
async def setup(redis: Redis) -> AsyncIterator[Setup]:
    """Yield a server that echoes."""
    async with serve_chat(store=KeyValueStore(redis, "kv:")) as it:
        yield it


class Gate:
    """Answer that goes on one part at a time, as the test allows."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self._allowed = asyncio.Semaphore(0)

    async def __call__(self, turn: Turn) -> AsyncIterator[Part]:
        for part in self._parts:
            await self._allowed.acquire()
            yield part

    def open(self, times: int = 1) -> None:
        """Let some parts through."""
        for _ in range(times):
            self._allowed.release()


async def get(http: Http, path: str, **headers: str) -> tuple[int, Json]:
    """Return the status and the body of a GET request."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{http.port}{path}", headers=headers) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()
