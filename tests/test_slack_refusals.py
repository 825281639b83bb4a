"""Refusals and rate limits of Slack: the answer is shown otherwise, or the error has its exact kind."""

import contextlib
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.chat import (
    AnswerButtons,
    CredentialsRejected,
    PlatformError,
    RateLimited,
    Text,
    ToolStep,
    Undeliverable,
    Unreachable,
)
from bot.slack.errors import translate_errors
from bot.slack.rate_limits import PER_MINUTE, RateLimits
from bot.slack.stream import StreamBudget
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.service import ALICE, GENERAL, TEAM, Slack
from tests.support import slack_platform
from tests.support.slack_platform import LONG, Serve, a_message, gated_answer, own
from tests.support.wait import wait_until

hostile_environment = slack_platform.hostile_environment
coordination = slack_platform.coordination
serving = slack_platform.serve
server = slack_platform.server


# --- refusals while answering


REFUSALS = ["msg_too_long", "message_not_found", "invalid_chunks", "restricted_action"]


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
async def test_a_stream_that_is_refused_midway_is_shown_in_full_otherwise(
    server: Slack, method: str, error: str, serving: Serve
) -> None:
    refusals = 2 if method == "chat.stopStream" else 1  # the second does not end the session as well
    server.fail(method, error=error, times=refusals)
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(
            message,
            gated_answer(
                ToolStep(id="1", name="sql", state="started", title="Count"),
                lambda: wait_until(lambda: server.count("chat.startStream") == 1, "a stream"),
                Text("One " * 100),
                lambda: wait_until(
                    lambda: method == "chat.stopStream" or server.count(method) == 1, "the refusal"
                ),
                ToolStep(id="1", name="sql", state="finished", title="Count"),
                Text("two."),
            ),
        )
        [reply] = own(server, message)
        assert (reply.text, reply.streaming_state) == ("One " * 100 + "two.", "completed")
        assert bot.receipts[message.id]["finished"] is True


async def test_a_correction_that_is_refused_is_shown_otherwise(server: Slack, serving: Serve) -> None:
    server.fail("chat.update", error="msg_too_long", times=2)
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def ended() -> None:
            await wait_until(lambda: bool(own(server, message)), "a stream")
            server.end_stream(GENERAL, own(server, message)[0].ts)

        await bot.reply(message, gated_answer(Text("One two "), ended, Text("three.")))
        assert [reply.text for reply in own(server, message)] == ["One two three."]


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
async def test_an_edit_whose_buttons_are_refused_comes_without_them(
    server: Slack, serving: Serve, code: str
) -> None:
    """In its message: the answer is not posted again."""
    server.fail("chat.update", error=code)
    async with serving(server) as bot:
        message = await a_message(bot, server)

        async def ended() -> None:
            await wait_until(lambda: bool(own(server, message)), "a stream")
            server.end_stream(GENERAL, own(server, message)[0].ts)

        buttons = AnswerButtons("0" * 20)
        await bot.reply(message, gated_answer(buttons, Text("One two "), ended, Text("three.")))
        [reply] = own(server, message)
        assert (reply.visible_text, reply.blocks) == ("One two three.", [])
    assert server.count("chat.postMessage") == server.count("chat.delete") == 0


async def test_where_slack_limits_streams_the_answer_is_posted_without_waiting(
    server: Slack, serving: Serve
) -> None:
    server.fail("chat.startStream", status=429, retry_after=600)
    async with serving(server):
        ts = await server.say(ALICE, GENERAL, f"{server.mention} hello")
        assert await server.answer(GENERAL, ts) == "You said: hello "
    assert server.count("chat.startStream") == 1


async def test_a_long_answer_takes_no_more_streams_than_there_are(
    server: Slack, redis: Redis, serving: Serve
) -> None:
    limits = RateLimits(RedisCoordination(redis, "other"))
    for _ in range(PER_MINUTE["chat.startStream"] - 2):
        assert not await limits.delay(TEAM, "chat.startStream")
    async with serving(server) as bot:
        message = await a_message(bot, server)
        await bot.reply(message, gated_answer(Text(LONG)))
        assert "".join(reply.text for reply in own(server, message)) == LONG
        assert server.count("chat.startStream") == 2


async def test_a_channel_that_the_bot_was_taken_out_of_is_undeliverable(
    server: Slack, serving: Serve
) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.remove_bot(GENERAL)
        with pytest.raises(Undeliverable, match=r"chat\.postMessage: not_in_channel"):
            await bot.reply(message, gated_answer(Text("hello ")))


async def test_a_revoked_token_is_told_as_such(server: Slack, serving: Serve) -> None:
    async with serving(server) as bot:
        message = await a_message(bot, server)
        server.revoke(server.bot_token)
        with pytest.raises(CredentialsRejected, match="SLACK_BOT_TOKEN"):
            await bot.reply(message, gated_answer(Text("hello ")))


# --- errors and budgets


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (429, {"error": "ratelimited"}, RateLimited, "wait 7 s"),
        (200, {"error": "missing_scope", "needed": "chat:write"}, CredentialsRejected, "chat:write"),
        (200, {"error": "account_inactive"}, CredentialsRejected, "SLACK_BOT_TOKEN"),
        (200, {"error": "fatal_error"}, Unreachable, "fatal_error"),
        (503, {}, Unreachable, "status 503"),
        (200, b"<html>", Unreachable, "chat.x"),
        (200, {"error": "is_archived"}, Undeliverable, "chat.x: is_archived"),
    ],
)
def test_slacks_errors_are_translated(
    status: int, body: Any, kind: type[PlatformError], sentence: str
) -> None:
    response = AsyncSlackResponse(
        client=AsyncWebClient(),
        http_verb="POST",
        api_url="",
        req_args={},
        data=body,
        headers={"Retry-After": "7"},
        status_code=status,
    )
    error = SlackApiError("it failed", "")  # type: ignore[no-untyped-call]  # slack-sdk leaves it untyped
    error.response = response
    with pytest.raises(kind, match=sentence) as caught, translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error
    assert caught.value.__cause__ is error
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 2.5 ", 2.5),
        ("9" * 12, 3600),
        *((each, 30) for each in ("1e999", "nan", "inf", "-1", "", None, "9" * 5_000, "\u0667")),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 30),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_wait_that_is_no_number_of_seconds_is_a_usual_one(header: str | None, seconds: float) -> None:
    """Fault: a date, as proxies write it, was no error of Slack's any more; `nan` was waited for for ever."""
    response = AsyncSlackResponse(
        client=AsyncWebClient(),
        http_verb="POST",
        api_url="",
        req_args={},
        data={"error": "ratelimited"},
        headers={} if header is None else {"Retry-After": header},
        status_code=429,
    )
    error = SlackApiError("it failed", "")  # type: ignore[no-untyped-call]  # slack-sdk leaves it untyped
    error.response = response
    with pytest.raises(RateLimited) as caught, translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("error", [TimeoutError(), aiohttp.ServerDisconnectedError(), ConnectionResetError()])
def test_a_connection_that_fails_is_unreachable(error: Exception) -> None:
    with pytest.raises(Unreachable), translate_errors("chat.x", "SLACK_BOT_TOKEN"):
        raise error


async def test_streams_stay_below_what_a_workspace_is_allowed(
    coordination: RedisCoordination, redis: Redis
) -> None:
    """All processes together: what one has used up is not there for another."""
    processes = (coordination, RedisCoordination(redis, "two"))
    budget, other = (StreamBudget(RateLimits(each), flush_interval=1) for each in processes)
    for _ in range(9):
        assert await budget.may_start("T1")
        assert await other.may_start("T1")
    assert not await budget.may_start("T1")
    assert await other.may_start("T2")
    assert budget.interval() == 1.0
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(budget.share())
        assert 10 * 60 / budget.interval() <= 100
    assert budget.interval() == 1.0
