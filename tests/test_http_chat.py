"""Chat over HTTP: whole answers, streams, and repeated requests that ask only once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from bot.chat import Json, Notice, Part, Receipt, Text, ThreadId, ToolStep, Turn
from bot.http.callers import ApiCaller
from bot.http.chat import ChatRequest, to_message
from bot.http.replies import Replies
from tests.support import http_worker
from tests.support.http_worker import TIMING, Gate, Setup, echo, failing_answer, serve_chat
from tests.support.wait import wait_until

setup = http_worker.setup


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

    async with serve_chat(interrupted) as setup:
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
        query = ToolStep(id="1", name="sql_query", state="started", title="Query", activity="Running a query")
        yield query
        yield replace(query, state="finished", output="3 rows, 2 columns", rows=3, seconds=0.412)
        yield ToolStep(id="2", name="made_up", state="failed", title="Made up", output="No such tool.")
        yield Notice("Cut short.")

    async with serve_chat(steps) as setup:
        frames = await setup.stream("x", "t")
    step = {"id": "1", "name": "sql_query", "title": "Query", "activity": "Running a query"}
    failed = {"id": "2", "name": "made_up", "title": "Made up", "state": "failed"}
    ended = {"state": "finished", "output": "3 rows, 2 columns", "rows": 3, "seconds": 0.412}
    assert frames == [
        ("text", {"text": "Let me look.\n"}),
        ("tool", step | {"state": "started", "output": ""}),
        ("tool", step | ended),
        ("tool", failed | {"output": "No such tool."}),
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
    async with serve_chat(gate) as setup:
        frames = setup.frames("x")
        gate.open()
        assert await anext(frames) == ("text", {"text": "first\n\n"})
        gate.open()
        assert await anext(frames) == ("text", {"text": "event: done\ndata: {}"})
        assert (await anext(frames))[0] == "done"


async def test_a_silent_stream_is_kept_alive_by_comments() -> None:
    gate = Gate(Text("late"))
    async with serve_chat(gate, timing=replace(TIMING, keep_alive_interval=0.02)) as setup:
        frames = setup.frames("x")
        assert [await anext(frames), await anext(frames)] == [("", {}), ("", {})]
        gate.open()
        spoken = [frame async for frame in frames if frame[0]]
        assert [name for name, _ in spoken] == ["text", "done"]


async def test_who_joins_late_gets_the_earlier_parts_first() -> None:
    gate = Gate(Text("a"), Text("b"), Text("c"))
    async with serve_chat(gate) as setup:
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
    async with serve_chat(gate) as setup:
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
    async with serve_chat(failing_answer(AssertionError("the agent was asked"))) as setup:
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
    message = to_message(ChatRequest(message="x"), ApiCaller(), None)
    reply = replies.join(message.id)
    reply.add(Text("whole"))
    reply.finish()

    async def keep(state: Mapping[str, Json]) -> None: ...

    turn = Turn(id=message.id, thread=message.thread, messages=(message,))
    await replies.show(echo(turn), Receipt(turn, keep, {"answer": "whole", "finished": True}))
    assert reply.markdown("http:api") == "whole"


async def test_an_attempt_that_follows_a_stuck_one_shows_its_answer_once() -> None:
    gate = Gate(Text("a"), Text("b"))
    async with serve_chat(gate) as setup:
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
