"""Promises to people, with the whole bot: nothing missed, stopped at once, corrected, roles split."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support import bot as support
from tests.support.bot import http_port
from tests.support.platforms import platforms_with
from tests.support.settings import needs_sockets, of_discord, of_model, of_slack
from tests.support.wait import wait_until

running = partial(support.run_bot, platforms_with(catch_up_seconds=0.1))


async def has_cursor(redis: Redis, source: str) -> bool:
    return await redis.zscore("{bot}:heard", source) is not None


async def wait_for_cursor(redis: Redis, source: str) -> None:
    await wait_until(lambda: has_cursor(redis, source), f"{source} is heard")


SLACK = "slack:T0TEAM00001"
DISCORD = "discord:0/1"


async def test_slack_messages_of_an_outage_are_answered(
    storage: dict[str, Any], redis: Redis, model: ModelServer
) -> None:
    """A mention, a reply in a thread that the bot is in, a direct message: each is answered later."""
    async with Slack(ack_timeout=0.1, redelivery_delays=()) as slack:
        settings = {**storage, **of_model(model), **of_slack(slack)}
        async with running(**settings):
            await slack.wait_for_connections()
            known = await slack.say(ALICE, GENERAL, f"{slack.mention} known")
            await slack.answer(GENERAL, known)
            await wait_for_cursor(redis, SLACK)
        mention = await slack.say(ALICE, GENERAL, f"{slack.mention} are you there?")
        await slack.say(ALICE, GENERAL, "gossip")
        await slack.say(ALICE, GENERAL, "and you?", thread_ts=known)
        direct = await slack.say(ALICE, slack.dm(ALICE), "psst")
        async with running(**settings):
            assert "are you there?" in await slack.answer(GENERAL, mention)
            assert "psst" in await slack.answer(slack.dm(ALICE), direct)
            await wait_until(lambda: "and you? (message 2" in slack.transcript(GENERAL, known), "answered")
            await slack.answer(GENERAL, known)
        assert not slack.violations
    assert len(model.requests) == 4


async def test_slack_edits_of_an_outage_are_answered_once(
    storage: dict[str, Any], redis: Redis, model: ModelServer
) -> None:
    """Of a question that was answered, and of one that nobody had heard: each in its last form."""
    async with Slack(ack_timeout=0.1, redelivery_delays=()) as slack:
        settings = {**storage, **of_model(model), **of_slack(slack)}
        async with running(**settings):
            await slack.wait_for_connections()
            answered = await slack.say(ALICE, GENERAL, f"{slack.mention} five")
            await slack.answer(GENERAL, answered)
            await wait_for_cursor(redis, SLACK)
        slack.edit(GENERAL, answered, f"{slack.mention} six")
        unheard = await slack.say(ALICE, GENERAL, f"{slack.mention} seven")
        slack.edit(GENERAL, unheard, f"{slack.mention} eight")
        for _ in range(2):
            async with running(**settings):
                await wait_until(lambda: "six" in slack.transcript(GENERAL, answered), "the edit is answered")
                assert "eight" in await slack.answer(GENERAL, unheard)
                last = await slack.say(ALICE, slack.dm(ALICE), "and now?")
                await slack.answer(slack.dm(ALICE), last)
        assert not slack.violations
    asked = [each["messages"][-1]["content"] for each in model.requests]
    words = [word for text in asked for word in ("five", "six", "seven", "eight") if word in text]
    assert sorted(words) == ["eight", "five", "six"]


async def test_discord_edits_of_an_outage_are_answered_once(
    storage: dict[str, Any], redis: Redis, model: ModelServer, discord: Discord
) -> None:
    """As on Slack."""
    settings = {**storage, **of_model(model), **of_discord(discord)}
    async with running(**settings):
        await discord.wait_for_connections()
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} five")
        thread = await discord.thread_of(question)
        await discord.answer(thread, lambda messages: "five" in messages[-1].content)
        await wait_for_cursor(redis, DISCORD)
    discord.edit(question, f"{discord.mention} six")
    for _ in range(2):
        async with running(**settings):
            await discord.answer(thread, lambda messages: any("six" in each.content for each in messages))
            await discord.wait_for_connections()
            last = await discord.say(discord.alice, discord.dm(discord.alice), "and now?")
            await discord.answer(
                last.channel, lambda messages: "and now?" in messages[-1].content, after=last
            )
    asked = [each["messages"][-1]["content"] for each in model.requests]
    assert [word for text in asked for word in ("five", "six") if word in text] == ["five", "six"]


async def test_a_bot_that_was_never_there_does_not_answer_its_past(
    storage: dict[str, Any], redis: Redis, model: ModelServer
) -> None:
    """The very first start begins with what people write from then on."""
    async with Slack(ack_timeout=0.1, redelivery_delays=()) as slack:
        old = await slack.say(ALICE, GENERAL, f"{slack.mention} years ago")
        async with running(**storage, **of_model(model), **of_slack(slack)):
            await slack.wait_for_connections()
            await wait_for_cursor(redis, SLACK)
            new = await slack.say(ALICE, GENERAL, f"{slack.mention} now")
            assert "now" in await slack.answer(GENERAL, new)
        assert not slack.bot_replies(GENERAL, old)


async def test_discord_messages_of_an_outage_are_answered(
    storage: dict[str, Any], redis: Redis, model: ModelServer, discord: Discord
) -> None:
    """In a channel, in a thread and in direct messages, which nothing lists."""
    settings = {**storage, **of_model(model), **of_discord(discord)}
    alice, direct = discord.alice, discord.dm(discord.alice)
    async with running(**settings):
        await discord.wait_for_connections()
        known = await discord.say(alice, discord.general, f"{discord.mention} known")
        thread = await discord.thread_of(known)
        await discord.answer(thread, lambda shown: "known" in shown[-1].content)
        await discord.say(alice, direct, "hello")
        await discord.answer(direct, lambda shown: "hello" in shown[-1].content)
        await wait_for_cursor(redis, DISCORD)
    mention = await discord.say(alice, discord.general, f"{discord.mention} are you there?")
    await discord.say(alice, discord.general, "gossip")
    await discord.say(alice, thread, "and you?")
    await discord.say(alice, direct, "psst")
    async with running(**settings):
        await discord.answer(thread, lambda shown: "and you?" in shown[-1].content)
        await discord.answer(direct, lambda shown: "psst" in shown[-1].content)
        await discord.answer(
            await discord.thread_of(mention), lambda shown: "are you there?" in shown[-1].content
        )
    assert len(model.requests) == 5


async def test_a_direct_message_after_a_long_silence_is_found(
    storage: dict[str, Any], redis: Redis, model: ModelServer, discord: Discord
) -> None:
    """Discord lists no direct messages: the bot knows them for as long as it remembers the thread."""
    settings = {**storage, **of_model(model), **of_discord(discord)}
    direct = discord.dm(discord.alice)
    async with running(**settings):
        await discord.wait_for_connections()
        await discord.say(discord.alice, direct, "hello")
        await discord.answer(direct, lambda shown: "hello" in shown[-1].content)
        await wait_for_cursor(redis, DISCORD)
    threads: Any = await redis.zrange("{bot}:threads:discord", 0, -1)
    await redis.zadd("{bot}:threads:discord", dict.fromkeys(threads, time.time() - 7 * 86_400))
    await discord.say(discord.alice, direct, "it has been a week")
    async with running(**settings):
        await discord.answer(direct, lambda shown: "it has been a week" in shown[-1].content)


async def a_slow_answer(slack: Slack, model: ModelServer) -> str:
    """Ask something whose answer has begun, and does not end."""
    model.script(Script(text="One two " + "three " * 400, pace=0.05))
    ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
    await wait_until(lambda: bool(slack.bot_replies(GENERAL, ts)), "the answer has begun")
    return ts


@pytest.mark.parametrize("how", ["typed", "button", "reaction", "deleted", "command"])
async def test_an_answer_is_stopped_at_once(
    storage: dict[str, Any], model: ModelServer, slack: Slack, how: str
) -> None:
    """However people stop it: the model's stream is closed, the reply ends, and the thread stays usable."""
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await a_slow_answer(slack, model)
        match how:
            case "typed":
                await slack.say(ALICE, GENERAL, "!stop", thread_ts=ts)
            case "button":
                slack.stop(ALICE, GENERAL, ts)
            case "reaction":
                item = {"type": "message", "channel": GENERAL, "ts": ts}
                slack.send_event({"type": "reaction_added", "user": ALICE, "reaction": "x", "item": item})
            case "deleted":
                slack.remove(GENERAL, ts)
            case "command":
                assert await slack.command_text("/agent-stop", "", ALICE, GENERAL) == "Stopped."
        await wait_until(lambda: model.cancelled == 1, "the model's stream is closed")
        await wait_until(lambda: not slack.unfinished(), "the reply has ended")
        if how != "deleted":  # Slack itself has ended the stream of a pressed button
            await wait_until(lambda: "Stopped." in slack.transcript(GENERAL, ts), "told")
        if how != "deleted":
            await slack.say(ALICE, GENERAL, "go on", thread_ts=ts)
            await wait_until(lambda: "go on (message 2" in slack.transcript(GENERAL, ts), "answered")
    assert not model.violations


async def test_somebody_elses_reaction_stops_nothing(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Only who asked may take the question back like this."""
    gate = asyncio.Event()
    model.script(Script(text="Done.", gate=gate))
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} count")
        await wait_until(lambda: len(model.requests) == 1, "asked")
        item = {"type": "message", "channel": GENERAL, "ts": ts}
        slack.send_event({"type": "reaction_added", "user": BOB, "reaction": "x", "item": item})
        await slack.wait_until_settled()
        gate.set()
        assert await slack.answer(GENERAL, ts) == "Done."


async def test_discord_answers_are_stopped_by_a_command(
    storage: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """`/agent-stop` in the thread of the answer."""
    async with running(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(Script(text="One two " + "three " * 200, pace=0.05))
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} count")
        thread = await discord.thread_of(question)
        await discord.answer(thread, lambda shown: "One two" in shown[-1].content)
        await discord.command("agent-stop", discord.alice, thread)
        await discord.answer(thread, lambda shown: "Stopped." in shown[-1].content)
        await wait_until(lambda: model.cancelled == 1, "the model's stream is closed")


async def test_an_edit_of_the_answered_message_is_answered_again(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The model is told that it is a correction."""
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} five apples")
        await slack.answer(GENERAL, ts)
        slack.edit(GENERAL, ts, f"{slack.mention} six apples")
        await wait_until(lambda: len(model.requests) == 2, "asked again")
    assert "edited" in model.requests[-1]["messages"][-1]["content"]


async def test_a_turn_that_takes_too_long_says_so(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """A model that never comes to an end does not leave a person waiting."""
    model.script(Script(text="word " * 500, pace=0.05))
    async with running(**storage, **of_model(model), **of_slack(slack), turn_timeout=1):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} talk")
        await wait_until(lambda: "took longer than" in slack.transcript(GENERAL, ts), "ended")
        await wait_until(lambda: not slack.unfinished(), "the reply has ended")


@pytest.mark.parametrize("method", ["chat.startStream", "chat.postMessage"])
async def test_a_message_whose_making_was_not_heard_of_is_found_again(
    storage: dict[str, Any], model: ModelServer, slack: Slack, method: str
) -> None:
    """Slack has made it, and its answer was lost: the reply goes on in it, and no second one is shown."""
    if method == "chat.postMessage":
        slack.disable("chat.startStream")
    slack.fail(method, status=500, after_applying=True)
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} once")
        await wait_until(lambda: "You wrote: once" in slack.transcript(GENERAL, ts), "answered")
        await wait_until(lambda: not slack.unfinished(), "finished")
    assert len(slack.bot_replies(GENERAL, ts)) == 1
    assert len(model.requests) == 1


async def ask(bot: Bot, key: str, message: str = "once") -> tuple[int, Mapping[str, Any]]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
        body, headers = {"message": message, "thread_id": "t1"}, {"Idempotency-Key": key}
        url = f"http://127.0.0.1:{http_port(bot)}/chat"
        async with session.post(url, json=body, headers=headers) as response:
            return response.status, await response.json()


async def test_a_caller_who_asks_again_after_a_restart_gets_the_same_answer(
    storage: dict[str, Any], model: ModelServer
) -> None:
    """The answer is in the receipt, whichever process gave it."""
    async with running(**storage, **of_model(model)) as bot:
        first = await ask(bot, "key")
    async with running(**storage, **of_model(model)) as bot:
        assert await ask(bot, "key") == first
    assert len(model.requests) == 1


async def test_http_answers_are_stopped_by_a_message(storage: dict[str, Any], model: ModelServer) -> None:
    """A message `!stop` is answered at once, and the answer that is stopped ends with a word."""
    model.script(Script(text="One two " + "three " * 400, pace=0.05))
    async with running(**storage, **of_model(model)) as bot, asyncio.TaskGroup() as callers:
        asking = callers.create_task(ask(bot, "key"))
        await wait_until(lambda: len(model.requests) == 1, "asked")
        status, answer = await ask(bot, "stop", "!stop")
        assert (status, answer["response"]) == (200, "Stopped.")
        status, answer = await asking
        assert (status, answer["response"][-8:]) == (200, "Stopped.")


@pytest.mark.parametrize("roles", [[{"http", "worker"}], [{"http"}, {"worker"}]], ids=["one", "split"])
async def test_http_callers_behind_a_stopped_answer_are_told_so(
    storage: dict[str, Any], model: ModelServer, redis: Redis, roles: list[set[str]]
) -> None:
    """The stop takes their messages back: who waits gets a word, and the same one with the same key."""
    model.script(Script(text="One two " + "three " * 400, pace=0.05))
    waiting = "{bot}:messages:http:api:t1"

    async def wait(messages: int) -> bool:
        return int(await redis.hlen(waiting)) == messages

    async with AsyncExitStack() as stack:
        door, *_ = [
            await stack.enter_async_context(
                running(**storage, **of_model(model), bot_roles=each, bot_name=name)
            )
            for name, each in zip("ab", roles, strict=False)
        ]
        callers = await stack.enter_async_context(asyncio.TaskGroup())
        under_way = callers.create_task(ask(door, "key"))
        await wait_until(lambda: len(model.requests) == 1, "asked")
        behind = [callers.create_task(ask(door, f"key {number}")) for number in range(2)]
        await wait_until(lambda: wait(3), "two wait")
        assert (await ask(door, "stop", "!stop"))[1]["response"] == "Stopped."
        assert (await under_way)[1]["response"].endswith("Stopped.")
        stopped = {"status": "success", "response": "Stopped.", "thread_id": "t1"}
        for caller in behind:
            assert await caller == (200, stopped)
        assert await ask(door, "key 0") == (200, stopped)
    assert len(model.requests) == 1


@needs_sockets
async def test_roles_split_over_processes(storage: dict[str, Any], model: ModelServer, slack: Slack) -> None:
    """One hears Slack, one takes HTTP, one answers both: as if it were one."""
    settings = {**storage, **of_model(model), **of_slack(slack)}
    async with (
        running(**settings, bot_roles={"slack"}, bot_name="ears"),
        running(**settings, bot_roles={"http"}, bot_name="door") as door,
        running(**settings, bot_roles={"worker"}, bot_name="hands"),
    ):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "hello" in await slack.answer(GENERAL, ts)
        status, answer = await ask(door, "key")
        assert (status, answer["status"]) == (200, "success")
        assert "once" in answer["response"]


async def test_slack_is_told_within_a_tenth_of_a_second(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """At the median, with the put in Redis before it."""
    async with running(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        for number in range(20):
            await slack.say(ALICE, slack.dm(ALICE), f"message {number}")
            await slack.wait_until_settled()
        times = [each.elapsed_ms for each in slack.deliveries]
        assert statistics.median(each for each in times if each is not None) < 100
        assert None not in times
