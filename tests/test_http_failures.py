"""Answers over HTTP that are stopped or fail: callers are released, and told what happened."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.chat import AnswerError, Event, LeaseLost, Notice, Part, Stop, StorageDown, Text, ThreadId, Turn
from bot.commands.commands import Commands
from bot.http.chat import LOOKING
from bot.http.replies import stored_parts
from bot.http.timing import Timing
from tests.support import http_worker
from tests.support.agents import Answer
from tests.support.http_worker import (
    TIMING,
    Gate,
    Setup,
    echo,
    failing_answer,
    healthy,
    is_taking,
    open_server,
    serve_chat,
)
from tests.support.wait import wait_until

setup = http_worker.setup


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
    async with serve_chat(commands=commands) as setup:
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
    async with serve_chat(commands=commands) as setup:
        status, body = await setup.chat("!stop", "t")
        assert (status, body["status"]) == (503, "error")
        assert "secret" not in body["message"]
        assert (await setup.chat("!stop", "t"))[0] == 200


async def test_an_answer_that_has_begun_here_is_not_looked_for() -> None:
    """Until then the store is asked for it, once for each caller and pause."""

    def is_looking() -> bool:
        return any(task.get_name() == LOOKING for task in asyncio.all_tasks())

    gate = Gate(Text("a"), Text("b"))
    async with (
        serve_chat(gate, timing=replace(TIMING, answer_poll=0.01)) as setup,
        asyncio.TaskGroup() as callers,
    ):
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
        (ValueError("secret detail"), 500, "operator: `http:"),
    ],
)
async def test_an_answer_that_breaks_off_releases_its_callers(
    error: Exception, status: int, sentence: str
) -> None:
    async with serve_chat(failing_answer(error, Text("So far "))) as setup:
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
    async with serve_chat(failed(status)) as setup:
        assert await setup.chat("x", "t") == (status, error)
        assert await setup.stream("x") == [("error", error | {"code": status})]


async def test_what_was_said_before_an_answer_failed_is_told_with_the_error() -> None:
    """Something may have been done already, which nobody may miss."""
    before = (Text("I changed it. "), Notice("One row was changed."))
    async with serve_chat(failed(502, *before)) as setup:
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
    async with serve_chat(failing_answer(AssertionError("the agent was asked"))) as again:
        again.worker.holding = True
        async with asyncio.TaskGroup() as callers:
            caller = callers.create_task(again.chat("x", "t", **{"Idempotency-Key": "k"}))
            await wait_until(lambda: bool(again.worker.messages), "the message arrives")
            (message,) = again.worker.messages.values()
            again.worker.states[message.id] = json.loads(json.dumps(state))
            await again.worker.take([message], attempt=2)
    assert caller.result() == first
    assert list(stored_parts(state)) == [Text("So far"), Notice("The model is overloaded.")]


async def test_a_stopped_answer_is_no_failure() -> None:
    async with serve_chat(failed(None)) as setup:
        assert (await setup.chat("x"))[0] == 200


async def test_after_a_broken_attempt_the_same_key_waits_for_the_next() -> None:
    async with serve_chat(failing_answer(StorageDown("gone"))) as setup:
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
    async with serve_chat(timing=Timing(answer_timeout=0.02)) as setup:
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
    async with open_server() as http, asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(http.receive(lost, healthy()))
        await wait_until(lambda: is_taking(http), "the server takes messages")
        async with setup.client.post(f"http://127.0.0.1:{http.port}/chat", json={"message": "x"}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert "secret" not in await response.text()
        receiving.cancel()
