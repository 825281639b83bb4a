"""The HTTP surface over real sockets: routes, errors, streams, and who may call."""

import asyncio
import io
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot.chat import (
    AnswerError,
    BotError,
    CredentialsRejected,
    Event,
    Health,
    Json,
    LeaseLost,
    Message,
    Notice,
    Part,
    RateLimited,
    Receipt,
    Stop,
    StorageDown,
    Text,
    ThreadId,
    ToolStep,
    Turn,
    TypedDecision,
    Unreachable,
)
from bot.commands.approvals import Decided
from bot.commands.commands import Commands
from bot.commands.redis import Operations
from bot.http import chat as conversation_module
from bot.http.chat import AUTHOR, ChatRequest, to_message
from bot.http.errors import Handler
from bot.http.platform import Http, connect
from bot.http.replies import Replies, stored
from bot.inbox import Lookup
from bot.storage.files import FileStore
from bot.storage.key_value import KeyValueStore, Value
from tests.support.agents import Answer
from tests.support.commands import nothing_to_stop
from tests.support.wait import wait_until

TOKEN = "a token with spaces and ümlauts"
JSON = {"Content-Type": "application/json"}
STREAM = {"Accept": "text/event-stream"}
PROXIED = [
    ("Forwarded", "for=192.0.2.1"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("x-forwarded-host", "bot.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "192.0.2.1"),
    ("Via", "1.1 proxy"),
    ("CF-Connecting-IP", "192.0.2.1"),
]
"""What proxies add to a request."""

Frame = tuple[str, dict[str, Json]]


async def echo(turn: Turn) -> AsyncIterator[Part]:
    """Says what was asked, in two pieces."""
    yield Text("You said: ")
    yield Text(" | ".join(message.text for message in turn.messages))


def failing(error: Exception, *before: Part) -> Answer:
    """Says `before`, then breaks off."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in before:
            yield part
        raise error

    return answer


class FailingStore(KeyValueStore):
    """Raises `error` from `get`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Redis(), "kv:")
        self._error = error

    async def get(self, key: str) -> Value | None:
        raise self._error


@dataclass
class Worker:
    """A small inbox and worker: keeps each message once, and answers it unless `holding`."""

    http: Http
    answer: Answer
    tasks: asyncio.TaskGroup
    holding: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    states: dict[str, dict[str, Json]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    async def deliver(self, event: Event) -> None:
        assert isinstance(event, Message)
        if event.id in self.messages:
            return
        self.messages[event.id] = event
        if not self.holding:
            self.tasks.create_task(self.take((event,)))

    async def take(self, messages: Sequence[Message], attempt: int = 1) -> None:
        turn = Turn(id=messages[0].id, thread=messages[0].thread, messages=tuple(messages), attempt=attempt)

        self.attempts[turn.id] = attempt

        async def keep(state: Mapping[str, Json]) -> None:
            if attempt != self.attempts[turn.id]:
                raise LeaseLost
            self.states[turn.id] = dict(state)

        receipt = Receipt(turn, keep, dict(self.states.get(turn.id, {})))
        try:
            await self.http.thread(turn.thread).reply(self.answer(turn), receipt)
        except Exception as error:  # noqa: BLE001 - the tests look at what the worker would have seen
            self.errors.append(error)


@dataclass
class Setup:
    """A server with a client of it."""

    http: Http
    worker: Worker
    client: aiohttp.ClientSession

    async def chat(
        self, message: str, thread_id: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Json]]:
        body = {"message": message} | ({"thread_id": thread_id} if thread_id else {})
        async with self.client.post("/chat", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def stream(self, message: str, thread_id: str = "t", **headers: str) -> list[Frame]:
        return [frame async for frame in self.frames(message, thread_id, **headers)]

    async def frames(self, message: str, thread_id: str = "t", **headers: str) -> AsyncIterator[Frame]:
        body = {"message": message, "thread_id": thread_id}
        async with self.client.post("/chat", json=body, headers=STREAM | headers) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            async for frame in read_frames(response):
                yield frame

    async def direct(self, **body: Json) -> tuple[int, dict[str, Json]]:
        async with self.client.post("/redis/direct", json=body) as response:
            return response.status, await response.json()


async def read_frames(response: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
    """The events of a stream; a comment comes as an event without a name."""
    name = ""
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text.startswith(":"):
            yield "", {}
        elif text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))


NO_FILES = FileStore(Redis())  # no test here shows one
LOOKUPS: list[Lookup] = []
"""What the processes of the bot know together, of the test at hand."""
STORES: list[KeyValueStore] = []


@pytest.fixture(autouse=True)
async def shared(redis: Redis) -> AsyncIterator[Lookup]:
    LOOKUPS.append(Lookup(redis))
    STORES.append(KeyValueStore(redis, "kv:"))
    yield LOOKUPS[0]
    LOOKUPS.clear()
    STORES.clear()


def healthy(*parts: Health) -> Commands:
    async def examine() -> Sequence[Health]:
        return parts or (Health(name="redis", state="ok", evidence={"ping_ms": 0.2}),)

    return Commands(examine, nothing_to_stop)


def operations(store: KeyValueStore | None = None) -> Operations:
    return Operations(store or STORES[0], lambda user: user == AUTHOR)


@asynccontextmanager
async def listening(
    *,
    api_token: str | None = None,
    commands: Commands | None = None,
    store: KeyValueStore | None = None,
    mounts: Mapping[str, Handler] | None = None,
    patience: float = 30,
) -> AsyncIterator[Http]:
    async with connect(
        host="127.0.0.1",
        port=0,
        api_token=api_token,
        commands=commands or healthy(),
        operations=operations(store),
        lookup=LOOKUPS[0],
        files=NO_FILES,
        mounts=mounts or {},
        patience=patience,
    ) as http:
        yield http


@asynccontextmanager
async def serving(
    answer: Answer = echo,
    *,
    commands: Commands | None = None,
    store: KeyValueStore | None = None,
    api_token: str | None = None,
    patience: float = 30,
) -> AsyncIterator[Setup]:
    """A server that takes messages and answers them with `answer`."""
    headers = {"Authorization": f"Bearer {api_token}"} if api_token else {}
    async with (
        listening(commands=commands, store=store, api_token=api_token, patience=patience) as http,
        asyncio.TaskGroup() as tasks,
        aiohttp.ClientSession(
            f"http://127.0.0.1:{http.port}", headers=headers, connector=aiohttp.TCPConnector(limit=0)
        ) as client,
    ):
        worker = Worker(http, answer, tasks)
        receiving = tasks.create_task(http.receive(worker.deliver))
        await wait_until(lambda: is_taking(http), "the server takes messages")
        yield Setup(http, worker, client)
        receiving.cancel()


async def is_taking(http: Http) -> bool:
    return (await http.health()).state == "ok"


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with serving() as it:
        yield it


class Gate:
    """An answer that goes on one part at a time, as the test allows."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self._allowed = asyncio.Semaphore(0)

    async def __call__(self, turn: Turn) -> AsyncIterator[Part]:
        for part in self._parts:
            await self._allowed.acquire()
            yield part

    def open(self, times: int = 1) -> None:
        for _ in range(times):
            self._allowed.release()


# --- chat as JSON ---------------------------------------------------------------------------------------


async def test_chat_answers_with_the_whole_text_and_the_thread(setup: Setup) -> None:
    assert await setup.chat("Hello", "test123") == (
        200,
        {"status": "success", "response": "You said: Hello", "thread_id": "test123"},
    )


async def test_the_message_of_a_request_says_where_it_belongs(setup: Setup) -> None:
    await setup.chat("  Hello\n", "Thread A")
    (message,) = setup.worker.messages.values()
    assert message.thread == ThreadId("http", "api", "Thread A")
    assert message.author == "http:api"
    assert message.text == "Hello"
    assert message.id.startswith("http:")
    assert message.addressed
    assert message.direct


async def test_without_a_thread_each_message_starts_a_new_one(setup: Setup) -> None:
    (_, first), (_, second) = await setup.chat("a"), await setup.chat("b")
    assert len(first["thread_id"]) == 36
    assert first["thread_id"] != second["thread_id"]


async def test_a_notice_is_a_paragraph_of_its_own() -> None:
    async def interrupted(turn: Turn) -> AsyncIterator[Part]:
        yield Text("Half an ans")
        yield Notice("The model stopped answering.")

    async with serving(interrupted) as setup:
        _, body = await setup.chat("x")
    assert body["response"] == "Half an ans\n\nThe model stopped answering."


async def test_a_hundred_callers_at_once_get_their_own_answers(setup: Setup) -> None:
    asked = [(f"question {number}", f"thread-{number}") for number in range(100)]
    answers = await asyncio.gather(*(setup.chat(*each) for each in asked))
    assert answers == [
        (200, {"status": "success", "response": f"You said: {message}", "thread_id": thread})
        for message, thread in asked
    ]


async def test_messages_merged_into_one_turn_get_the_same_answer(setup: Setup) -> None:
    setup.worker.holding = True
    async with asyncio.TaskGroup() as callers:
        one = callers.create_task(setup.chat("one", "t"))
        two = callers.create_task(setup.stream("two", "t"))
        await wait_until(lambda: len(setup.worker.messages) == 2, "both messages arrive")
        await setup.worker.take(list(setup.worker.messages.values()))
    assert sorted((one.result()[1]["response"]).removeprefix("You said: ").split(" | ")) == ["one", "two"]
    assert two.result()[-1] == ("done", one.result()[1])


# --- chat as a stream -----------------------------------------------------------------------------------


async def test_a_stream_brings_each_part_in_order_and_ends_with_the_answer() -> None:
    async def steps(turn: Turn) -> AsyncIterator[Part]:
        yield Text("Let me look.\n")
        yield ToolStep(id="1", name="sql_query", state="started", title="Query")
        yield ToolStep(id="1", name="sql_query", state="finished", title="Query", output="3 rows")
        yield Notice("Cut short.")

    async with serving(steps) as setup:
        frames = await setup.stream("x", "t")
    step = {"id": "1", "name": "sql_query", "title": "Query"}
    assert frames == [
        ("text", {"text": "Let me look.\n"}),
        ("tool", step | {"state": "started", "output": ""}),
        ("tool", step | {"state": "finished", "output": "3 rows"}),
        ("notice", {"text": "Cut short."}),
        ("done", {"status": "success", "response": "Let me look.\n\n\nCut short.", "thread_id": "t"}),
    ]


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream; q=0.5", True),
        ("application/json, text/event-stream", True),
        ("text/html, text/event-stream;q=0.9, */*;q=0.1", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.000, */*", False),
        ("text/event-stream;q=-1", False),
        ("text/event-stream;q=nan", False),
        ("text/event-stream;q=1e9", False),
        ("application/json, text/event-stream;q=0.5", False),
        ("application/text/event-stream", False),
        ("*/*", False),
        ("", False),
    ],
)
async def test_a_stream_is_for_who_accepts_one(setup: Setup, accept: str, is_stream: bool) -> None:
    """As the header weighs it, not wherever the word occurs."""
    headers = {"Accept": accept}
    async with setup.client.post("/chat", json={"message": "x"}, headers=headers) as response:
        assert response.content_type == ("text/event-stream" if is_stream else "application/json")


async def test_parts_reach_the_caller_as_they_come() -> None:
    gate = Gate(Text("first\n\n"), Text("event: done\ndata: {}"))
    async with serving(gate) as setup:
        frames = setup.frames("x")
        gate.open()
        assert await anext(frames) == ("text", {"text": "first\n\n"})
        gate.open()
        assert await anext(frames) == ("text", {"text": "event: done\ndata: {}"})
        assert (await anext(frames))[0] == "done"


async def test_a_silent_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_module, "KEEP_ALIVE", 0.02)
    gate = Gate(Text("late"))
    async with serving(gate) as setup:
        frames = setup.frames("x")
        assert [await anext(frames), await anext(frames)] == [("", {}), ("", {})]
        gate.open()
        spoken = [frame async for frame in frames if frame[0]]
        assert [name for name, _ in spoken] == ["text", "done"]


async def test_who_joins_late_gets_the_earlier_parts_first() -> None:
    gate = Gate(Text("a"), Text("b"), Text("c"))
    async with serving(gate) as setup:
        first = setup.frames("x", **{"Idempotency-Key": "k"})
        gate.open(2)
        assert [await anext(first), await anext(first)] == [("text", {"text": "a"}), ("text", {"text": "b"})]
        late = setup.frames("x", **{"Idempotency-Key": "k"})
        assert [await anext(late), await anext(late)] == [("text", {"text": "a"}), ("text", {"text": "b"})]
        gate.open()
        assert [f async for f in late] == [f async for f in first]
        assert len(setup.worker.messages) == 1


async def test_a_caller_that_hangs_up_does_not_stop_its_turn() -> None:
    gate = Gate(Text("a"), Text("b"))
    async with serving(gate) as setup:
        frames = setup.frames("x", **{"Idempotency-Key": "k"})
        gate.open()
        await anext(frames)
        await frames.aclose()  # type: ignore[attr-defined]  # an async generator behind the iterator
        gate.open()
        (message_id,) = setup.worker.messages
        await wait_until(lambda: message_id in setup.worker.states, "the answer is stored")
        assert setup.worker.states[message_id] == {"answer": "ab", "finished": True}
        assert (await setup.chat("x", "t", **{"Idempotency-Key": "k"}))[1]["response"] == "ab"


# --- repeated requests ----------------------------------------------------------------------------------


async def test_a_repeated_key_gets_the_same_answer_and_asks_only_once(setup: Setup) -> None:
    first = await setup.chat("x", "t", **{"Idempotency-Key": "k"})
    assert await setup.chat("x", "t", **{"Idempotency-Key": "k"}) == first
    assert (await setup.stream("x", "t", **{"Idempotency-Key": "k"}))[-1] == ("done", first[1])
    assert len(setup.worker.messages) == 1


async def test_a_key_belongs_to_its_thread(setup: Setup) -> None:
    await setup.chat("x", "t", **{"Idempotency-Key": "k"})
    await setup.chat("x", "u", **{"Idempotency-Key": "k"})
    assert len(setup.worker.messages) == 2


async def test_a_key_without_a_thread_finds_its_thread_again(setup: Setup) -> None:
    first = await setup.chat("x", **{"Idempotency-Key": "k"})
    assert await setup.chat("x", **{"Idempotency-Key": "k"}) == first


async def test_without_a_key_the_same_words_are_a_new_question(setup: Setup) -> None:
    await setup.chat("x", "t")
    await setup.chat("x", "t")
    assert len(setup.worker.messages) == 2


async def test_a_finished_receipt_is_shown_again_without_asking_the_agent() -> None:
    async with serving(failing(AssertionError("the agent was asked"))) as setup:
        setup.worker.holding = True
        async with asyncio.TaskGroup() as callers:
            caller = callers.create_task(setup.chat("x"))
            await wait_until(lambda: bool(setup.worker.messages), "the message arrives")
            (message,) = setup.worker.messages.values()
            setup.worker.states[message.id] = {"answer": "from before", "finished": True}
            await setup.worker.take([message], attempt=2)
    assert caller.result()[1]["response"] == "from before"
    assert not setup.worker.errors


async def test_an_answer_found_in_the_store_is_not_added_to_by_its_turn() -> None:
    """After a restart the caller may find the answer before the turn comes that has only to end."""
    replies = Replies()
    message = to_message(ChatRequest(message="x"), None)
    reply = replies.join(message.id)
    reply.add(Text("whole"))
    reply.finish()

    async def keep(state: Mapping[str, Json]) -> None: ...

    turn = Turn(id=message.id, thread=message.thread, messages=(message,))
    await replies.show(echo(turn), Receipt(turn, keep, {"answer": "whole", "finished": True}))
    assert reply.markdown == "whole"


async def test_an_attempt_that_follows_a_stuck_one_shows_its_answer_once() -> None:
    gate = Gate(Text("a"), Text("b"))
    async with serving(gate) as setup:
        stuck = setup.frames("x", **{"Idempotency-Key": "k"})
        gate.open()
        await anext(stuck)
        setup.worker.answer = echo
        await setup.worker.take(list(setup.worker.messages.values()), attempt=2)
        assert [(name, data["code"]) async for name, data in stuck] == [("error", 503)]
        gate.open()
        await wait_until(lambda: bool(setup.worker.errors), "the stuck attempt has ended")
        _, body = await setup.chat("x", "t", **{"Idempotency-Key": "k"})
        assert body["response"] == "You said: x"


# --- stopping -------------------------------------------------------------------------------------------


def stopping(*outcomes: int | Exception) -> tuple[Commands, list[Stop]]:
    """Commands whose stops come out like this, one after the other, and what was asked of them."""
    asked: list[Stop] = []
    left = iter(outcomes)

    async def halt(stop: Stop) -> int:
        asked.append(stop)
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return replace(healthy(), halt=halt), asked


async def test_a_typed_stop_is_answered_at_once() -> None:
    """With the sentence of the command, as JSON and as events: no turn takes it, so none would answer it."""
    commands, asked = stopping(1, 0, 1)
    async with serving(commands=commands) as setup:
        assert await setup.chat(" !Stop ", "t") == (
            200,
            {"status": "success", "response": "Stopped.", "thread_id": "t"},
        )
        assert (await setup.chat("!stop", "t"))[1]["response"] == "There is nothing to stop here."
        assert await setup.stream("!stop") == [
            ("notice", {"text": "Stopped."}),
            ("done", {"status": "success", "response": "Stopped.", "thread_id": "t"}),
        ]
    assert [(each.by, each.thread) for each in asked] == [("http:api", ThreadId("http", "api", "t"))] * 3
    assert not setup.worker.messages


async def test_a_stop_that_the_store_did_not_take_may_be_sent_again() -> None:
    """Its words are the caller's, the details the log's."""
    commands, _ = stopping(ConnectionError("redis://secret@host"), 1)
    async with serving(commands=commands) as setup:
        status, body = await setup.chat("!stop", "t")
        assert (status, body["status"]) == (503, "error")
        assert "secret" not in body["message"]
        assert (await setup.chat("!stop", "t"))[0] == 200


async def test_an_answer_that_has_begun_here_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the store is asked for it, once for each caller and pause."""

    def is_looking() -> bool:
        return any(task.get_name() == conversation_module.LOOKING for task in asyncio.all_tasks())

    monkeypatch.setattr(conversation_module, "LOOK_SECONDS", 0.01)
    gate = Gate(Text("a"), Text("b"))
    async with serving(gate) as setup, asyncio.TaskGroup() as callers:
        caller = callers.create_task(setup.chat("x", "t"))
        await wait_until(is_looking, "looked for")
        gate.open()
        await wait_until(lambda: not is_looking(), "not looked for")
        assert not caller.done()
        gate.open()
    assert caller.result()[1]["response"] == "ab"


# --- answers that fail ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (AnswerError("The model is overloaded."), 502, "The model is overloaded."),
        (AnswerError("The model is overloaded.", status=503), 503, "The model is overloaded."),
        (LeaseLost(), 503, "starts again"),
        (StorageDown("redis"), 503, "starts again"),
        (ValueError("secret detail"), 500, "reference http:"),
    ],
)
async def test_an_answer_that_breaks_off_releases_its_callers(
    error: Exception, status: int, sentence: str
) -> None:
    async with serving(failing(error, Text("So far "))) as setup:
        code, body = await setup.chat("x")
        assert (code, body["status"]) == (status, "error")
        assert sentence in body["message"]
        assert "secret" not in body["message"]
        frames = await setup.stream("y")
        assert [name for name, _ in frames] == ["text", "error"]
        assert frames[-1][1]["code"] == status
        assert setup.worker.errors == [error, error]


def failed(status: int | None = 503, *before: Part) -> Answer:
    """Answers as a turn does whose model has failed: with a notice that knows the status."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in before:
            yield part
        yield Notice("The model is overloaded.", status)

    return answer


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_failed_answer_is_no_success(status: int) -> None:
    """In JSON by its status; in a stream by the event at its end, which says it once."""
    error = {"status": "error", "message": "The model is overloaded.", "final": True}
    async with serving(failed(status)) as setup:
        assert await setup.chat("x", "t") == (status, error)
        assert await setup.stream("x") == [("error", error | {"code": status})]


async def test_what_was_said_before_an_answer_failed_is_told_with_the_error() -> None:
    """Something may have been done already, which nobody may miss."""
    before = (Text("I changed it. "), Notice("One row was changed."))
    async with serving(failed(502, *before)) as setup:
        _, body = await setup.chat("x")
        assert body["message"] == "One row was changed.\n\nThe model is overloaded."
        assert body["response"] == "I changed it. \n\nOne row was changed."
        frames = await setup.stream("x")
    assert [name for name, _ in frames] == ["text", "notice", "error"]
    assert frames[-1][1]["response"] == body["response"]


async def test_a_failure_is_told_again_to_who_repeats_the_request(setup: Setup) -> None:
    """With its status: from memory, from the receipt after a restart, and by another process."""
    setup.worker.answer = failed(429, Text("So far"))
    first = await setup.chat("x", "t", **{"Idempotency-Key": "k"})
    assert first[0] == 429
    assert await setup.chat("x", "t", **{"Idempotency-Key": "k"}) == first
    assert (await setup.stream("x", "t", **{"Idempotency-Key": "k"}))[-1][1]["code"] == 429
    (state,) = setup.worker.states.values()
    assert state["finished"]
    async with serving(failing(AssertionError("the agent was asked"))) as again:
        again.worker.holding = True
        async with asyncio.TaskGroup() as callers:
            caller = callers.create_task(again.chat("x", "t", **{"Idempotency-Key": "k"}))
            await wait_until(lambda: bool(again.worker.messages), "the message arrives")
            (message,) = again.worker.messages.values()
            again.worker.states[message.id] = json.loads(json.dumps(state))
            await again.worker.take([message], attempt=2)
    assert caller.result() == first
    assert list(stored(state)) == [Text("So far"), Notice("The model is overloaded.")]


async def test_a_stopped_answer_is_no_failure() -> None:
    async with serving(failed(None)) as setup:
        assert (await setup.chat("x"))[0] == 200


async def test_after_a_broken_attempt_the_same_key_waits_for_the_next() -> None:
    async with serving(failing(StorageDown("gone"))) as setup:
        assert (await setup.chat("x", "t", **{"Idempotency-Key": "k"}))[0] == 503
        async with asyncio.TaskGroup() as callers:
            again = callers.create_task(setup.chat("x", "t", **{"Idempotency-Key": "k"}))
            setup.worker.answer = echo
            await setup.worker.take(list(setup.worker.messages.values()), attempt=2)
    assert again.result() == (
        200,
        {"status": "success", "response": "You said: x", "thread_id": "t"},
    )


async def test_a_caller_is_told_when_no_answer_comes_in_time() -> None:
    async with serving(patience=0.02) as setup:
        setup.worker.holding = True
        code, body = await setup.chat("x")
        assert code == 504
        assert "Idempotency-Key" in body["message"]
        frames = [frame for frame in await setup.stream("x") if frame[0]]
        assert [(name, data["code"]) for name, data in frames] == [("error", 504)]


async def test_a_message_that_could_not_be_stored_is_not_taken(setup: Setup) -> None:
    async def lost(event: Event) -> None:
        raise ConnectionError("redis://secret@host")

    setup.worker.deliver = lost  # type: ignore[method-assign]  # the server was given the method before
    async with listening() as http, asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(http.receive(lost))
        await wait_until(lambda: is_taking(http), "the server takes messages")
        async with setup.client.post(f"http://127.0.0.1:{http.port}/chat", json={"message": "x"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert "secret" not in await response.text()
        receiving.cancel()


# --- life cycle -----------------------------------------------------------------------------------------


async def test_chat_is_refused_politely_before_and_after_receive(setup: Setup) -> None:
    async with listening() as http:
        url = f"http://127.0.0.1:{http.port}"

        async def status(path: str) -> int:
            async with setup.client.get(url + path) as response:
                return response.status

        async def refused() -> bool:
            async with setup.client.post(url + "/chat", json={"message": "x"}) as response:
                return response.status == 503 and int(response.headers["Retry-After"]) > 0

        assert await refused()
        assert (await status("/livez"), await status("/readyz")) == (200, 503)
        worker = Worker(http, echo, asyncio.TaskGroup())
        async with worker.tasks:
            receiving = worker.tasks.create_task(http.receive(worker.deliver))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            assert await status("/readyz") == 200
            receiving.cancel()
            await asyncio.wait([receiving])
            assert await refused()
            assert (await status("/livez"), await status("/readyz")) == (200, 503)


async def test_leaving_lets_a_running_request_finish_and_then_refuses_connections() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response(text="finished")

    async def post(client: aiohttp.ClientSession, port: int) -> str:
        async with client.post(f"http://127.0.0.1:{port}/slow") as response:
            return await response.text()

    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
        async with listening(mounts={"/slow": slow}) as http:
            request = tasks.create_task(post(client, http.port))
            await entered.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert await request == "finished"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", http.port)


async def test_leaving_releases_callers_that_still_wait() -> None:
    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as tasks:
        async with listening() as http, asyncio.TaskGroup() as receivers:
            worker = Worker(http, echo, receivers, holding=True)
            receiving = receivers.create_task(http.receive(worker.deliver))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            caller = tasks.create_task(status_of_chat(client, http.port))
            await wait_until(lambda: bool(worker.messages), "the message arrives")
            receiving.cancel()
        assert await caller == 503


async def status_of_chat(client: aiohttp.ClientSession, port: int) -> int:
    async with client.post(f"http://127.0.0.1:{port}/chat", json={"message": "x"}) as response:
        return response.status


async def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CredentialsRejected, match=f"HTTP_PORT={port} is in use"):
            await open_and_close("127.0.0.1", port, None)


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(CredentialsRejected, match=r"HTTP_HOST=192\.0\.2\.1 is not an address to listen on"):
        await open_and_close("192.0.2.1", 0, TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
async def test_without_a_token_only_loopback_is_served(host: str) -> None:
    with pytest.raises(CredentialsRejected, match="API_TOKEN"):
        await open_and_close(host, 0, None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
async def test_loopback_needs_no_token(host: str) -> None:
    await open_and_close(host, 0, None)


async def open_and_close(host: str, port: int, api_token: str | None) -> None:
    async with connect(
        host=host,
        port=port,
        api_token=api_token,
        commands=healthy(),
        operations=operations(),
        lookup=LOOKUPS[0],
        files=NO_FILES,
        mounts={},
    ):
        pass


# --- health ---------------------------------------------------------------------------------------------


async def get(http: Http, path: str, **headers: str) -> tuple[int, Json]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{http.port}{path}", headers=headers) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


async def test_health_tells_each_part_with_its_evidence() -> None:
    parts = Health(name="redis", state="ok", evidence={"ping_ms": 0.2}), Health(name="slack", state="off")
    async with listening(commands=healthy(*parts)) as http:
        assert await get(http, "/health") == (
            200,
            {
                "status": "healthy",
                "agent_status": {"redis": {"state": "ok", "ping_ms": 0.2}, "slack": {"state": "off"}},
            },
        )


async def test_one_part_that_is_down_makes_the_whole_unhealthy() -> None:
    parts = Health(name="redis", state="ok"), Health(name="postgres", state="down")
    async with listening(commands=healthy(*parts)) as http:
        status, body = await get(http, "/health")
    assert (status, body["status"]) == (503, "unhealthy")
    assert body["error"] == "postgres is down"
    assert body["agent_status"]["redis"]["state"] == "ok"


async def test_one_part_that_is_degraded_makes_the_whole_degraded() -> None:
    parts = Health(name="redis", state="ok"), Health(name="model", state="degraded")
    async with listening(commands=healthy(*parts)) as http:
        status, body = await get(http, "/health")
    assert (status, body["status"]) == (200, "degraded")
    assert "error" not in body


async def test_many_who_ask_whether_it_is_ready_have_it_examined_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody may ask; an examination costs, so its outcome is used again for a second."""
    monkeypatch.setattr("bot.http.health.READY_SECONDS", 3_600)  # a busy machine may take longer for all
    examined = 0

    async def examine() -> Sequence[Health]:
        nonlocal examined
        examined += 1
        await asyncio.sleep(0)
        return [Health(name="redis", state="ok")]

    async with listening(commands=replace(healthy(), examine=examine)) as http:
        await asyncio.gather(*(get(http, "/readyz") for _ in range(20)))
        assert examined == 1
        await get(http, "/health")
        assert examined == 2
        monkeypatch.setattr("bot.http.health.READY_SECONDS", 0)
        await get(http, "/readyz")
        assert examined == 3


async def test_only_a_critical_part_makes_it_unready() -> None:
    async def readiness(*parts: Health) -> tuple[int, str]:
        async with listening(commands=healthy(*parts)) as http, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(http.receive(Worker(http, echo, tasks).deliver))
            await wait_until(lambda: is_taking(http), "the server takes messages")
            status, body = await get(http, "/readyz")
            receiving.cancel()
        return status, body.get("message", "")

    assert await readiness(Health(name="model", state="down")) == (200, "")
    assert await readiness(Health(name="redis", state="degraded")) == (200, "")
    assert await readiness(Health(name="redis", state="down")) == (503, "Not ready: redis is down.")


@pytest.mark.parametrize("headers", [{}, STREAM])
async def test_a_decision_of_days_ago_is_told_at_once(headers: dict[str, str]) -> None:
    """Its answer is no longer kept, so nothing would ever come."""

    class Late:
        async def decide(
            self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
        ) -> Decided:
            return Decided("This request was already approved by you.", ThreadId("http", "api", "t"))

        async def decide_in_words(self, order: TypedDecision, message: Message) -> str:
            raise AssertionError(order)

    commands = replace(healthy(), approvals=Late())
    async with (
        serving(commands=commands, patience=0.05) as setup,
        setup.client.post("/approvals/7f3a9c21", json={"approve": True}, headers=headers) as response,
    ):
        told = await response.text()
    assert response.status == 200
    assert "This request was already approved by you." in told
    assert "success" in told


async def test_its_own_health_counts_answers_under_way_and_the_silence(setup: Setup) -> None:
    assert (await setup.http.health()).evidence == {"port": setup.http.port, "answers_under_way": 0}
    setup.worker.holding = True
    async with asyncio.TaskGroup() as callers:
        callers.create_task(setup.chat("x"))
        await wait_until(lambda: bool(setup.worker.messages), "the message arrives")
        assert (await setup.http.health()).evidence["answers_under_way"] == 1
        await setup.worker.take(list(setup.worker.messages.values()))
    health = await setup.http.health()
    assert health.evidence["answers_under_way"] == 0
    assert 0 <= health.evidence["seconds_since_last_message"] < 60


# --- Redis operations -----------------------------------------------------------------------------------


async def test_each_operation_answers_with_its_result(setup: Setup, redis: Redis) -> None:
    async def result(operation: str, **fields: Json) -> Json:
        status, body = await setup.direct(operation=operation, **fields)
        assert (status, body["status"], body["operation"]) == (200, "success", operation)
        return body["result"]

    assert await result("set", key="test", value="hello") is True
    assert await result("get", key="test") == "hello"
    assert await result("get", key="nothing") is None
    assert await result("set", key="brief", value="", ttl=60) is True
    assert await result("mset", data={"a": "1", "b": "2"}, ttl=5) == 2
    assert await result("keys") == ["a", "b", "brief", "test"]
    assert await result("keys", pattern="t*") == ["test"]
    assert await result("all") == {"test": "hello", "brief": "", "a": "1", "b": "2"}
    assert await result("delete", key="test") is True
    assert await result("delete", key="test") is False
    assert (await result("info"))["prefix"] == "kv:"
    assert await redis.keys("*test*") == []
    assert 58 <= await redis.ttl("kv:brief") <= 60


async def test_what_is_no_plain_text_is_told_with_its_type(setup: Setup, redis: Redis) -> None:
    """A value that ends tells how many seconds it has left; plain ones tell nothing but their text."""
    await redis.json().set("kv:document", "$", {"a": 1})
    await redis.hset("kv:hash", "field", "x")
    await setup.direct(operation="set", key="text", value="x")
    await setup.direct(operation="set", key="brief", value="x", ttl=60)

    async def get(key: str) -> dict[str, Json]:
        return (await setup.direct(operation="get", key=key))[1]

    common = {"status": "success", "operation": "get"}
    assert await get("text") == common | {"result": "x", "value": "x"}
    assert await get("document") == common | {"result": '{"a":1}', "value": {"a": 1}, "type": "json"}
    assert await get("hash") == common | {"result": None, "value": None, "type": "hash"}
    assert await get("brief") == common | {"result": "x", "value": "x", "ttl": 60}


@pytest.mark.parametrize(
    "value",
    ["hello", "5", '{"a": 1}', "", 5, 2**53 + 1, -0.5, True, None, [], {}, {"a": [1, {"ü": None}]}, "\x00"],
    ids=repr,
)
async def test_any_json_value_comes_back_as_it_was(setup: Setup, value: Json) -> None:
    """Alone and in a listing; a text that looks like JSON stays a text. It can be replaced by any other."""
    for other in ("text", [1]):
        await setup.direct(operation="set", key="k", value=other)
        await setup.direct(operation="set", key="k", value=value, ttl=60)
        _, body = await setup.direct(operation="get", key="k")
        assert body["value"] == value
        assert type(body["value"]) is type(value)
        assert 58 <= body["ttl"] <= 60
    await setup.direct(operation="mset", data={"k": value, "l": value})
    _, body = await setup.direct(operation="all")
    assert body["result"] == {"k": value, "l": value}
    assert "ttl" not in (await setup.direct(operation="get", key="k"))[1]


async def test_an_operation_says_what_it_did(setup: Setup) -> None:
    """In a sentence beside the result."""
    body = {"key": "test", "value": "hello"}
    assert (await setup.direct(operation="set", **body))[1]["message"] == "Stored `test`."
    assert (await setup.direct(operation="delete", key="test"))[1]["message"] == "Deleted `test`."
    assert (await setup.direct(operation="delete", key="test"))[1]["message"] == "There is no `test`."


async def test_all_may_be_asked_for_by_a_pattern(setup: Setup) -> None:
    await setup.direct(operation="mset", data={"user:1": "a", "user:2": "b", "order:1": "c"})
    assert (await setup.direct(operation="all", pattern="user:*"))[1]["result"] == {
        "user:1": "a",
        "user:2": "b",
    }


@pytest.mark.parametrize("operation", ["flushall", "SET", "", 5, None, ["get"], {"get": 1}])
async def test_an_unknown_operation_is_invalid(setup: Setup, operation: Json) -> None:
    status, body = await setup.direct(operation=operation, key="k")
    assert (status, body["status"], body["message"]) == (400, "error", "Invalid operation")
    assert body["operations"] == ["set", "get", "delete", "keys", "all", "mset", "info"]


async def test_every_operation_leaves_a_line_in_the_log(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """Who, from where, what and with what outcome; never the value."""
    caplog.set_level(logging.INFO, "bot")
    await setup.direct(operation="set", key="k", value="hunter2", ttl=60)
    await setup.direct(operation="set", key="k", value="hunter2", ttl=10**12)
    lines = [each.__dict__ for each in caplog.records if each.message == "redis operation"]
    names = ("by", "platform", "where", "operation", "keys", "ttl", "outcome")
    common = ("http:api", "http", "127.0.0.1", "set", ["k"])
    assert [tuple(line[name] for name in names) for line in lines] == [
        (*common, 60, "done"),
        (*common, 10**12, "invalid"),
    ]
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize("operation", ["keys", "all"])
async def test_a_listing_that_was_cut_says_so(setup: Setup, operation: str) -> None:
    assert (await setup.direct(operation=operation))[1]["truncated"] is False
    for number in range(2):
        await setup.direct(operation="mset", data={f"key {number} {each}": "" for each in range(600)})
    _, body = await setup.direct(operation=operation)
    assert (len(body["result"]), body["truncated"]) == (1_000, True)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "operation"),
        ({"operation": "get"}, "key"),
        ({"operation": "get", "key": ""}, "key"),
        ({"operation": "get", "key": 5}, "key"),
        ({"operation": "set", "key": "k"}, "value"),
        ({"operation": "set", "key": "k", "value": 10**30}, "64 bits"),
        ({"operation": "set", "key": "k", "value": [{"a": [float("inf")]}]}, "finite"),
        ({"operation": "all", "pattern": 5}, "pattern"),
        ({"operation": "set", "key": "k", "value": "v", "ttl": 0}, "ttl"),
        ({"operation": "set", "key": "k", "value": "v", "ttl": "soon"}, "ttl"),
        ({"operation": "mset", "data": {}}, "data"),
        ({"operation": "mset", "data": {"k": float("nan")}}, "finite"),
    ],
)
async def test_a_wrong_operation_is_told_which_field_to_mend(
    setup: Setup, redis: Redis, body: dict[str, Json], named: str
) -> None:
    status, answer = await setup.direct(**body)
    assert (status, answer["status"]) == (400, "error")
    assert named in answer["message"]
    assert await redis.keys("kv:*") == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BotError("That key is not yours."), 400, None),
        (Unreachable("Redis does not answer."), 503, "5"),
        (StorageDown("Redis does not answer."), 503, "5"),
        (RateLimited("Slower, please.", 1.2), 429, "2"),
    ],
)
async def test_an_operations_trouble_is_told_in_its_own_words(
    error: BotError, status: int, retry_after: str | None
) -> None:
    async with (
        serving(store=FailingStore(error)) as setup,
        setup.client.post("/redis/direct", json={"operation": "get", "key": "k"}) as response,
    ):
        assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
        assert await response.json() == {"status": "error", "message": str(error)}


async def test_an_unexpected_error_shows_only_a_reference_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(store=FailingStore(ValueError("password is hunter2"))) as setup:
        status, body = await setup.direct(operation="get", key="k")
    assert status == 500
    assert "hunter2" not in body["message"]
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.__dict__["reference"] in body["message"]
    assert record.exc_info
    assert "hunter2" in str(record.exc_info[1])


# --- requests that are refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'"Hello"', "object"),
        (b"{}", "message: Field required"),
        (b'{"message": 5}', "message"),
        (b'{"message": null}', "message"),
        (b'{"message": " \\n "}', "message: String should have at least 1 character"),
        (b'{"message": "\\ud800"}', "Invalid JSON"),
        (json.dumps({"message": "x" * 32_001}).encode(), "at most 32000"),
        (b'{"message": "x", "thread_id": ""}', "thread_id"),
        (b'{"message": "x", "thread_id": 7}', "thread_id"),
        (json.dumps({"message": "x", "thread_id": "x" * 201}).encode(), "at most 200"),
    ],
)
async def test_a_malformed_chat_is_told_what_is_wrong(setup: Setup, body: bytes, sentence: str) -> None:
    async with setup.client.post("/chat", data=body, headers=JSON) as response:
        answer = await response.json()
    assert (response.status, answer["status"]) == (400, "error")
    assert sentence in answer["message"]
    assert not setup.worker.messages


async def test_the_longest_message_is_taken(setup: Setup) -> None:
    status, body = await setup.chat("🎈" * 32_000, "x" * 200)
    assert status == 200
    assert body["response"].endswith("🎈" * 32_000)


async def test_an_overlong_key_is_refused(setup: Setup) -> None:
    assert (await setup.chat("x", **{"Idempotency-Key": "k" * 256}))[0] == 400


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_is_taken(setup: Setup, content_type: str) -> None:
    for path in ("/chat", "/redis/direct"):
        headers = {"Content-Type": content_type}
        async with setup.client.post(path, data=b'{"message": "x"}', headers=headers) as response:
            assert response.status == 415
            assert "application/json" in (await response.json())["message"]


@pytest.mark.parametrize(("path", "mebibytes"), [("/chat", 25), ("/redis/direct", 2)])
async def test_a_huge_body_is_refused(setup: Setup, path: str, mebibytes: int) -> None:
    body = io.BytesIO(b" " * (mebibytes << 20))
    async with setup.client.post(path, data=body, headers=JSON) as response:
        assert response.status == 413
        assert (await response.json())["status"] == "error"


async def test_a_body_that_ends_early_is_no_error_of_ours(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.http.port)
    writer.write(
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"message": '
    )
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert (await setup.chat("still here"))[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_unknown_paths_and_methods_are_told_so(setup: Setup) -> None:
    async with setup.client.get("/nothing") as response:
        assert response.status == 404
        assert await response.json() == {"status": "error", "message": "There is nothing at /nothing."}
    async with setup.client.get("/chat") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert await response.json() == {"status": "error", "message": "/chat accepts POST, not GET."}
    async with setup.client.put("/health") as response:
        assert response.status == 405


# --- who may call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "8.8.8.8",
        "[",
        "",
        "127.0.0.1#.evil.example",
        "127.0.0.1/evil",
        "127.0.0.1:80@evil.example",
        "evil@127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:999999",
        "127.1",
        "0x7f.0.0.1",
        "localhost.",
        "::1",
        "127.0.0.1, evil.example",
        "①②⑦.0.0.1",
    ],
)
async def test_without_a_token_a_foreign_host_header_is_refused(setup: Setup, host: str) -> None:
    for path in ("/", "/health", "/livez", "/nothing"):
        status, body = await get(setup.http, path, Host=host)
        assert (status, body["status"]) == (403, "error")
        assert "API_TOKEN" in body["message"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:8080", "[::1]:8080"])
async def test_without_a_token_this_machines_names_are_served(setup: Setup, host: str) -> None:
    assert (await get(setup.http, "/health", Host=host))[0] == 200


@pytest.mark.parametrize("header", PROXIED, ids=lambda header: header[0])
async def test_without_a_token_no_proxy_is_served(setup: Setup, header: tuple[str, str]) -> None:
    """Whoever is behind it looks like this machine; the sentence says what to set."""
    for path in ("/", "/health", "/livez"):
        status, body = await get(setup.http, path, **dict([header]))
        assert (status, body["status"]) == (403, "error")
        assert header[0].lower() in body["message"].lower()
        assert "API_TOKEN" in body["message"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:1",
        "null",
        "http://127.0.0.1",
        "chrome-extension://127.0.0.1:PORT",
        "127.0.0.1:PORT",
        "http://127.0.0.1:PORT/",
        "http://127.0.0.1:PORT http://evil.example",
        "",
    ],
)
async def test_without_a_token_another_sites_page_is_refused(setup: Setup, origin: str) -> None:
    origin = origin.replace("PORT", str(setup.http.port))
    status, body = await setup.chat("x", Origin=origin)
    assert (status, body["status"]) == (403, "error")
    assert "Origin" in body["message"]
    assert not setup.worker.messages


async def test_without_a_token_the_own_page_is_served(setup: Setup) -> None:
    for scheme in ("http", "HTTP", "https"):
        origin = f"{scheme}://127.0.0.1:{setup.http.port}"
        assert (await setup.chat("x", Origin=origin))[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"],
)
async def test_with_a_token_everything_but_page_and_probes_asks_for_it(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with listening(api_token=TOKEN) as http, aiohttp.ClientSession(headers=headers) as client:
        url = f"http://127.0.0.1:{http.port}"
        for method, path in (
            ("POST", "/chat"),
            ("POST", "/redis/direct"),
            ("GET", "/health"),
            ("GET", "/nothing"),
            ("GET", "/%68ealth"),
            ("GET", "/page/../health"),
        ):
            async with client.request(method, f"{url}{path}", json={}) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert (await response.json())["status"] == "error"
        for path, status in (("/", 200), ("/page/app.js", 200), ("/livez", 200), ("/readyz", 503)):
            async with client.get(url + path) as response:
                assert response.status == status, path


async def test_with_the_token_one_may_call_from_anywhere() -> None:
    async with serving(api_token=TOKEN) as setup:
        status, _ = await setup.chat("x", Host="bot.example", Origin="https://bot.example")
        assert status == 200
        status, _ = await setup.chat("x", Authorization=f"bearer {TOKEN}")
        assert status == 200


# --- what others mount ----------------------------------------------------------------------------------


async def test_beside_a_mount_and_without_a_token_only_the_probes_are_served() -> None:
    """A proxy makes the mount reachable; its requests may look exactly like those of this machine."""

    async def events(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    paths = ("/", "/page/app.js", "/health", "/chat", "/redis/direct", "/memory", "/usage", "/nothing")
    async with listening(mounts={"/slack/events": events}) as http, aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{http.port}"
        for method in ("GET", "POST", "DELETE"):
            for path in paths:
                async with client.request(method, url + path, json={}) as response:
                    assert response.status == 403, path
                    assert "API_TOKEN" in (await response.json())["message"]
        for path, status in (("/livez", 200), ("/readyz", 503)):
            assert (await get(http, path))[0] == status
        for header in PROXIED:
            async with client.post(url + "/slack/events", headers=dict([header])) as response:
                assert response.status == 200
            assert (await get(http, "/livez", **dict([header])))[0] == 403


async def test_a_mounted_handler_gets_every_post_to_its_path_as_it_came() -> None:
    bodies: list[bytes] = []

    async def events(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(text="ok")

    for api_token in (None, TOKEN):
        async with listening(api_token=api_token, mounts={"/slack/events": events}) as http:
            headers = {"Host": "bot.example", "Content-Type": "application/x-www-form-urlencoded"}
            async with (
                aiohttp.ClientSession() as client,
                client.post(
                    f"http://127.0.0.1:{http.port}/slack/events", data=b"payload=1", headers=headers
                ) as response,
            ):
                assert (response.status, await response.text()) == (200, "ok")
    assert bodies == [b"payload=1", b"payload=1"]


# --- the page -------------------------------------------------------------------------------------------


async def test_the_page_and_all_it_loads_come_from_here(setup: Setup) -> None:
    async with setup.client.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        page = await response.text()
    assets = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/page/")
        async with setup.client.get(asset) as response:
            assert response.status == 200, asset


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/health", "/nothing"])
async def test_every_response_forbids_foreign_scripts_and_frames(setup: Setup, path: str) -> None:
    async with setup.client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Server"] == "bot"  # and no versions
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path", ["/page/", "/page/../platform.py", "/page/%2e%2e/platform.py", "/page/nothing"]
)
async def test_only_the_pages_own_files_are_served(setup: Setup, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.http.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"403", b"404")
    assert b'"status": "error"' in answer
