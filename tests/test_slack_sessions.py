"""Sessions and status of a Slack thread: however an answer ends, the thread does not look busy."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.chat import (
    Json,
    LeaseLost,
    Message,
    Part,
    Receipt,
    Stop,
    StorageDown,
    Text,
    ToolStep,
    Turn,
    Undeliverable,
    Unreachable,
)
from bot.slack.rate_limits import CLOSE_SESSION, PER_MINUTE, RateLimits
from bot.slack.texts import THINKING
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support import slack_platform
from tests.support.slack_platform import LONG, TIMING, Answer, Bot, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
coordination = slack_platform.coordination
serving = slack_platform.serve
server = slack_platform.server


@pytest.mark.parametrize("at", ["append", "end"])
async def test_an_answer_whose_stop_is_refused_is_shown_whole_in_the_message_that_slack_has_ended(
    server: Slack, at: str, serving: Serve
) -> None:
    """Its session goes on until then: the press alone ends nothing."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread

        async def pressed() -> None:
            await wait_until(lambda: bool(own(server, message)), "a stream")
            bot.refuses_stops = True
            delivery = server.stop(BOB, *place)
            await delivery.ended.wait()
            assert server.workspace.session_status(*place) == "processing"

        more = "three " * 60 if at == "append" else "three "
        await bot.reply(message, gated_answer(Text("One two "), pressed, Text(more), Text("four ")))
        assert [reply.text for reply in own(server, message)] == [f"One two {more}four "]
        assert server.workspace.session_status(*place) == "active"
        assert [each.user for each in server.ephemerals] == [BOB]


@pytest.mark.parametrize("failure", [Unreachable("x"), StorageDown("x"), RuntimeError("x")])
async def test_whatever_ends_an_attempt_its_stream_and_cards_are_ended(
    server: Slack, failure: Exception, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        saves = 0

        async def keep(state: Mapping[str, Json]) -> None:
            nonlocal saves
            saves += 1
            if saves == 2:  # after that of the stream's opening
                raise failure

        answer = gated_answer(
            ToolStep(id="1", name="sql", state="started", title="Count"),
            lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
            Text("two " * 100),
            asyncio.Event().wait,
        )
        turn = Turn(id="t", thread=message.thread, messages=(message,))
        with pytest.raises(type(failure)):
            await bot.platform.thread(message.thread).reply(answer(message), Receipt(turn, keep))
        [reply] = own(server, message)
        assert reply.streaming_state == "completed"
        assert reply.tasks["1"]["status"] == "error"
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_a_reply_that_cannot_be_shown_does_not_look_as_if_it_came(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.startStream", error="restricted_action")
        server.fail("chat.postMessage", error="restricted_action", times=9)
        with pytest.raises(Undeliverable):
            await bot.reply(message, gated_answer(Text("hello ")))
        assert server.status(GENERAL, message.thread.thread) == ""


async def test_where_there_are_no_sessions_a_line_says_that_the_bot_is_at_work(
    server: Slack, serving: Serve
) -> None:
    """Slack is asked for a session only once."""
    server.disable("agents.sessions.setStatus")
    async with serving(server) as bot:
        for _ in range(2):
            await server.answer(GENERAL, await server.say(ALICE, GENERAL, f"{server.mention} hello"))
            await wait_until(lambda: not server.unfinished(), "finished")
    assert server.statuses[0].status == THINKING
    assert server.count("agents.sessions.setStatus") == 1
    assert len(bot.messages) == 2 * 2  # as app_mention and as message


async def test_a_status_that_slack_does_not_take_fails_no_turn(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.disable("agents.sessions.setStatus")
        server.disable("assistant.threads.setStatus")
        await bot.reply(message, gated_answer(Text("hello ")))
        assert own(server, message)[0].text == "hello "


async def test_a_session_that_a_crash_left_busy_is_ended_with_its_answer(
    server: Slack, serving: Serve
) -> None:
    """The answer was complete, and its receipt says so: all that is missing is the session's end."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated_answer(Text("hello ")))
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        await bot.reply(message, gated_answer(Text("never asked for ")))
        assert server.workspace.session_status(*place) == "active"
    assert own(server, message)[0].text == "hello "


async def test_a_session_of_an_attempt_that_died_is_ended_by_the_next(
    server: Slack, coordination: RedisCoordination, serving: Serve
) -> None:
    """Also when that one begins none, since the workspace's calls are used up."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        while not await RateLimits(coordination).delay(message.thread.space, "agents.sessions.setStatus"):
            pass
        await bot.reply(message, gated_answer(Text("hello ")), attempt=2)
        assert server.workspace.session_status(*place) == "active"


STREAMED = ["agents.sessions.setStatus processing", "chat.startStream", "chat.stopStream active"]
"""Calls of an answer whose session ends with its stream."""

APART = [*STREAMED[:2], "chat.stopStream", "agents.sessions.setStatus active"]
"""Calls of an answer whose session does not."""

REFUSED = [*STREAMED, *APART[2:]]
"""Calls of an answer whose session does not, and Slack says so first."""


async def calls_of(server: Slack, bot: Bot, message: Message, answer: Answer) -> list[str]:
    """Answer anew; return what Slack was asked for, with the status of the session."""
    before = len(server.calls)
    bot.receipts.clear()
    await bot.reply(message, answer)
    return [
        f"{each.method} {each.args.get('session_status') or each.args.get('status') or ''}".strip()
        for each in server.calls[before:]
    ]


def is_busy(server: Slack, message: Message) -> bool:
    return server.workspace.session_status(message.thread.channel, message.thread.thread) == "processing"


async def test_a_session_ends_with_the_stream_of_its_answer(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == STREAMED
        assert not is_busy(server, message)


async def test_a_session_lasts_until_the_last_message_of_a_long_answer(server: Slack, serving: Serve) -> None:
    """Until then the thread looks busy, and has its stop button."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        calls = await calls_of(server, bot, message, gated_answer(Text(LONG)))
        assert len(own(server, message)) > 2
        assert calls == [STREAMED[0], *APART[1:3] * (len(own(server, message)) - 1), *STREAMED[1:]]


@pytest.mark.parametrize("error", ["invalid_arguments", "invalid_arg_name", "not_in_the_documentation"])
async def test_where_sessions_do_not_end_with_a_stream_they_end_by_themselves(
    server: Slack, error: str, serving: Serve
) -> None:
    """Slack is asked only once, until it is tried again; the answer is shown in its stream."""
    server.fail("chat.stopStream", error=error)
    async with serving(server) as bot:
        message = await a_message(bot, server)
        for calls in (REFUSED, APART, APART):
            assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == calls
            assert not is_busy(server, message)
        assert [reply.text for reply in own(server, message)] == ["hello "] * 3


async def test_a_stream_is_tried_again_after_a_time(server: Slack, serving: Serve) -> None:
    server.fail("chat.stopStream", error="invalid_arguments")
    async with serving(server, timing=replace(TIMING, session_retry_interval=0)) as bot:
        message = await a_message(bot, server)
        for calls in (REFUSED, STREAMED):
            assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == calls


async def test_a_refusal_for_one_thread_changes_nothing_in_others(server: Slack, serving: Serve) -> None:
    """Its question has been deleted, so the end of the session is refused as well."""
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def deleted() -> None:
            await wait_until(lambda: is_busy(server, message), "the session has begun")
            for method in ("chat.stopStream", "agents.sessions.setStatus"):
                server.fail(method, error="invalid_thread_ts")

        assert await calls_of(server, bot, message, gated_answer(deleted, Text("hello "))) == REFUSED
        assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == STREAMED
        assert [reply.text for reply in own(server, message)] == ["hello "] * 2


async def test_a_stream_that_is_refused_in_any_case_says_nothing_about_sessions(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("chat.stopStream", error="invalid_chunks", times=2)
        calls = await calls_of(server, bot, message, gated_answer(Text("hello ")))
        assert calls[:4] == [*STREAMED, APART[2]]
        assert calls[-1] == APART[3]
        assert not is_busy(server, message)
        assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == STREAMED


@pytest.mark.parametrize("failure", [LeaseLost(), StorageDown("x")], ids=repr)
async def test_after_a_crash_between_the_end_of_the_stream_and_that_of_the_turn_no_session_stays_busy(
    server: Slack, failure: Exception, serving: Serve
) -> None:
    """The next attempt begins one, finds the stream ended, and shows nothing twice."""
    server.tolerate("message_not_in_streaming_state")
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def keep(state: Mapping[str, Json]) -> None:
            if server.count("chat.stopStream"):
                raise failure
            bot.receipts[message.id] = dict(state)

        turn = Turn(id=f"turn-{message.id}", thread=message.thread, messages=(message,))
        with contextlib.suppress(type(failure)):  # nothing is stored after the stream's end, tried or not
            await bot.platform.thread(message.thread).reply(
                gated_answer(Text("hello "))(message), Receipt(turn, keep)
            )
        assert "finished" not in bot.receipts[message.id]
        assert not is_busy(server, message)
        await bot.reply(message, gated_answer(Text("hello again ")), attempt=2)
        assert not is_busy(server, message)
    assert [reply.text for reply in own(server, message)] == ["hello again "]
    assert [each.status for each in server.workspace.session_statuses][-2:] == ["processing", "active"]


async def test_the_stop_button_ends_a_session_in_which_nothing_is_under_way(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        server.stop(ALICE, *place)
        await wait_until(lambda: server.workspace.session_status(*place) == "active", "the session waits")
    (stop,) = bot.events
    assert isinstance(stop, Stop)
    assert (stop.by, stop.thread) == (f"slack:{ALICE}", message.thread)
    assert stop.at > message.sent_at, "what is asked after it is not meant"


async def test_sessions_leave_room_for_their_ends(
    server: Slack, coordination: RedisCoordination, serving: Serve
) -> None:
    """Beyond what a workspace is allowed a line of text does, so that no session stays busy."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        while not await RateLimits(coordination).delay(message.thread.space, "agents.sessions.setStatus"):
            pass
        before = server.count("agents.sessions.setStatus")
        await bot.reply(message, gated_answer(Text("hello ")))
        assert server.count("agents.sessions.setStatus") == before
    assert server.statuses[0].status == THINKING


QUICK = replace(TIMING, status_delay=60)
"""Durations with which an answer is complete before its status is due."""


@pytest.mark.parametrize("part", [Text("hello "), None])
async def test_an_answer_that_is_complete_at_once_needs_no_session(
    server: Slack, part: Part | None, serving: Serve
) -> None:
    """Its first text waits for no call that shows a status."""
    async with serving(server, timing=QUICK) as bot:
        message = await a_message(bot, server)
        parts = [part] if part else []
        assert await calls_of(server, bot, message, gated_answer(*parts)) == APART[1:3][: 2 * len(parts)]
        assert not is_busy(server, message)


async def test_an_answer_that_takes_longer_has_a_session_beside_its_first_text(
    server: Slack, serving: Serve
) -> None:
    async with serving(server, timing=replace(TIMING, status_delay=0.01)) as bot:
        message = await a_message(bot, server)

        async def begun() -> None:
            await wait_until(lambda: is_busy(server, message), "the session has begun")

        calls = await calls_of(server, bot, message, gated_answer(Text("hello "), begun, Text("again ")))
        assert sorted(calls) == sorted(STREAMED)
        assert not is_busy(server, message)


async def test_a_quick_answer_ends_the_session_of_an_attempt_that_died(server: Slack, serving: Serve) -> None:
    async with serving(server, timing=QUICK) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "processing")
        await bot.reply(message, gated_answer(Text("hello ")), attempt=2)
        assert server.workspace.session_status(*place) == "active"


async def test_a_session_that_is_begun_while_the_answer_ends_ends_with_it(
    server: Slack, serving: Serve
) -> None:
    """The end waits for the answer of Slack: a session that nobody ends would look busy."""
    async with serving(server, timing=replace(TIMING, status_delay=0.01)) as bot:
        message = await a_message(bot, server)
        server.slow("agents.sessions.setStatus", 0.2)
        before = server.count("agents.sessions.setStatus")

        async def asked() -> None:
            await wait_until(
                lambda: server.count("agents.sessions.setStatus") > before, "Slack is asked for a session"
            )

        assert sorted(await calls_of(server, bot, message, gated_answer(Text("hello "), asked))) == sorted(
            STREAMED
        )
        assert not is_busy(server, message)


async def test_the_end_of_an_answer_is_stored_before_its_line_is_cleared(
    server: Slack, serving: Serve
) -> None:
    """Slack's limits may take time, and a crash meanwhile must not repeat the answer."""
    server.disable("agents.sessions.setStatus")
    asked: list[int] = []
    async with serving(server) as bot:
        message = await a_message(bot, server)
        before = server.count("assistant.threads.setStatus")

        async def keep(state: Mapping[str, Json]) -> None:
            if "finished" in state:
                asked.append(server.count("assistant.threads.setStatus") - before)

        turn = Turn(id=f"turn-{message.id}", thread=message.thread, messages=(message,))
        answer = gated_answer(Text("hello "))(message)
        await bot.platform.thread(message.thread).reply(answer, Receipt(turn, keep))
        assert server.count("assistant.threads.setStatus") == before + 2
    assert asked[0] == 1


async def test_a_lost_lease_waits_for_no_session(server: Slack, serving: Serve) -> None:
    """Another process answers by now, and ends the stream."""
    server.tolerate("unfinished")
    timing = replace(TIMING, status_delay=0.01, status_timeout=60)
    async with serving(server, timing=timing) as bot:
        message = await a_message(bot, server)
        server.slow("agents.sessions.setStatus", 60)
        before = server.count("agents.sessions.setStatus")

        async def lost() -> None:
            await wait_until(
                lambda: server.count("agents.sessions.setStatus") > before, "Slack is asked for a session"
            )
            raise LeaseLost

        turn = Turn(id=f"turn-{message.id}", thread=message.thread, messages=(message,))
        answer = gated_answer(Text("hello "), lost)(message)
        with pytest.raises(LeaseLost):
            async with asyncio.timeout(20):
                await bot.platform.thread(message.thread).reply(answer, Receipt(turn, None))


@pytest.mark.parametrize("error", ["user_not_found", "invalid_arguments"])
async def test_a_session_whose_details_slack_refuses_is_begun_without_them(
    server: Slack, error: str, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.fail("agents.sessions.setStatus", error=error, having="initiator_user_id")
        calls = await calls_of(server, bot, message, gated_answer(Text("hello ")))
        assert calls == [STREAMED[0], *STREAMED]


async def test_an_app_that_is_no_agent_is_asked_once_for_a_session(server: Slack, serving: Serve) -> None:
    server.workspace.is_agent = False
    server.tolerate("not_agent_app")
    async with serving(server):
        for _ in range(2):
            await server.answer(GENERAL, await server.say(ALICE, GENERAL, f"{server.mention} hello"))
            await wait_until(lambda: not server.unfinished(), "finished")
    assert server.count("agents.sessions.setStatus") == 1
    assert server.statuses[0].status == THINKING


async def test_a_missing_stop_button_is_logged_once(
    server: Slack, serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server.workspace.has_stop_button = False
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await calls_of(server, bot, message, gated_answer(Text("hello ")))
    (line,) = [each for each in caplog.records if each.message == "stop button missing"]
    assert "manifest.yml" in line.__dict__["advice"]


async def test_a_turn_that_the_agent_does_not_answer_leaves_its_session_alone(
    server: Slack, serving: Serve
) -> None:
    """Such as a typed command, also if it is repeated after a crash."""
    async with serving(server) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        server.workspace.set_session_status(*place, "suspended")
        for attempt in (1, 2):
            bot.receipts[message.id] = {**bot.receipts.get(message.id, {}), "received": {message.id: "ok"}}
            await bot.reply(message, gated_answer(Text("ok ")), attempt=attempt)
        assert server.workspace.session_status(*place) == "suspended"


async def test_the_sessions_of_many_forgotten_threads_take_no_calls_from_others(
    server: Slack, serving: Serve
) -> None:
    """They are closed one after the other, unless somebody writes there again."""
    per_minute = {**PER_MINUTE, CLOSE_SESSION: 1}
    async with serving(server, per_minute=per_minute) as bot:
        message = await a_message(bot, server)
        place = message.thread.channel, message.thread.thread
        others = [replace(message.thread, thread=await server.say(BOB, GENERAL, "hi")) for _ in range(3)]
        for each in (*others, message.thread):
            bot.platform.forget_thread(each)
        await wait_until(
            lambda: server.workspace.session_status(GENERAL, others[0].thread) == "closed", "closed"
        )
        assert await calls_of(server, bot, message, gated_answer(Text("hello "))) == STREAMED
        assert server.workspace.session_status(*place) == "active"
    closed = [each.thread_ts for each in server.workspace.session_statuses if each.status == "closed"]
    assert closed == [others[0].thread]
