"""`/agent-memory` in the whole bot: what is kept about a person is shown, given and removed, and no more."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.inbox.keys import text as keys_text
from tests.servers.discord.interactions import Interaction
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Command, Slack
from tests.support.bot import http_port, run_bot
from tests.support.obedient_model import obey, order
from tests.support.settings import needs_sockets, of_model, of_slack
from tests.support.wait import wait_until

MARK, BOBS = "alicemarker", "bobmarker"


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the obedient model; Redis is empty."""
    model.respond = obey
    return {**storage, **of_model(model)}


async def everything(redis: Redis) -> AsyncIterator[tuple[str, str]]:
    """Every key of Redis with all that it holds, as text."""
    async for key in redis.scan_iter(count=1000):
        yield key.decode(), repr(await _content(redis, key))


async def _content(redis: Redis, key: bytes) -> Any:
    kind = keys_text(await redis.type(key))
    match kind:
        case "string":
            return await redis.get(key)
        case "hash":
            return await redis.hgetall(key)
        case "set":
            return await redis.smembers(key)
        case "zset":
            return await redis.zrange(key, 0, -1)
        case "stream":
            return await redis.xrange(key)
        case "list":
            return await redis.lrange(key, 0, -1)
        case "ReJSON-RL":
            return await redis.execute_command("JSON.GET", key)  # type: ignore[no-untyped-call]  # as redis-py has it
    raise AssertionError(f"{key!r} is a {kind}, which this scan cannot read")


async def holding(redis: Redis, *words: str) -> list[str]:
    """The keys that hold one of these words, in their names or in their values, whatever the case."""
    return [
        f"{key}: {content[:300]}"
        async for key, content in everything(redis)
        if any(word in (key + content).lower() for word in words)
    ]


async def command(slack: Slack, text: str, user: str = ALICE) -> str:
    """Return the answer of `/agent-memory`."""
    done: Command = await slack.command("/agent-memory", text, user, slack.dm(user))
    await wait_until(lambda: bool(done.response_url.uses), "the command is answered", timeout=40)
    return str(done.response_url.uses[-1]["text"])


def wish(fact: str, scope: str) -> str:
    """Return a message that asks to remember a fact, and that makes the model do so."""
    return f"{fact}\n{order('memory_save', text=fact, scope=scope)}"


async def ask(slack: Slack, user: str, channel: str, text: str, thread: str | None = None) -> str:
    """Say something and wait for the answer's end; returns the thread."""
    mention = "" if slack.workspace.channels[channel].kind == "im" else f"{slack.mention} "
    ts = await slack.say(user, channel, mention + text, thread_ts=thread)
    await slack.answer(channel, thread or ts)
    await slack.wait_until_settled()
    return thread or ts


async def leave_traces(slack: Slack, redis: Redis, model: ModelServer) -> str:
    """Alice says her word in many places; returns a thread that Bob writes in, too."""
    dm = slack.dm(ALICE)
    await ask(slack, ALICE, dm, f"a direct {MARK}")
    await ask(slack, ALICE, dm, wish(f"a private {MARK}", "private"))
    await ask(slack, ALICE, GENERAL, wish(f"a workspace {MARK}", "workspace"))
    shared = await ask(slack, ALICE, GENERAL, f"a shared {MARK}")
    await ask(slack, BOB, GENERAL, f"a shared {BOBS}", shared)
    answer = slack.bot_replies(GENERAL, shared)[-1].ts
    await slack.press(ALICE, GENERAL, answer, "rate", "negative_button")
    await wait_until(lambda: slack.modals != [], "a form for the reason")
    await slack.submit(slack.modals[-1], {"reason": f"a wrong {MARK}"})
    await slack.press(BOB, GENERAL, answer, "rate", "positive_button")
    await ask(slack, BOB, slack.dm(BOB), wish(f"a private {BOBS}", "private"))
    edited = await slack.say(ALICE, dm, "before")
    await slack.answer(dm, edited)
    answered = len(model.requests)
    slack.edit(dm, edited, f"an edited {MARK}")
    # another thread's turn would else take the script that is meant for the next one
    await wait_until(lambda: len(model.requests) > answered, "the edit is answered")
    await slack.wait_until_settled()
    hanging = asyncio.Event()
    model.script(Script(text=f"about {MARK}", gate=hanging))
    stopped = await slack.say(ALICE, dm, f"a stopped {MARK}")
    await wait_until(lambda: not model.unused, "the model is asked")
    await slack.say(ALICE, dm, "!stop", thread_ts=stopped)
    await wait_until(lambda: "Stopped" in slack.transcript(dm, stopped), "stopped")
    hanging.set()
    closed = slack.add_channel("C0CLOSED")
    slack.tolerate("not_in_channel", "channel_not_found")
    gate = asyncio.Event()
    model.script(Script(text=f"about {MARK}", gate=gate))
    await slack.say(ALICE, closed, f"{slack.mention} a dead {MARK}")
    await wait_until(lambda: not model.unused, "the model is asked")
    slack.remove_bot(closed)
    gate.set()
    await wait_until(lambda: _length(redis, "{bot}:dead"), "given up")
    await slack.say(ALICE, GENERAL, f"an early {MARK}", thread_ts=await slack.say(BOB, GENERAL, "root"))
    await wait_until(lambda: _any(redis, "{bot}:early:*"), "kept for a mention that may come")
    return shared


async def _nothing_waits(redis: Redis) -> bool:
    return not await redis.scard("{bot}:active") and not await redis.xlen("{bot}:filing")


async def _length(redis: Redis, key: str) -> bool:
    return bool(await redis.xlen(key))


async def _any(redis: Redis, pattern: str) -> bool:
    return bool(await redis.keys(pattern))


async def test_forgetting_leaves_no_word_and_no_name(
    storage: dict[str, Any], redis: Redis, slack: Slack, model: ModelServer
) -> None:
    """Every key and value of Redis is searched: of the person nothing is left, of the others everything."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        shared = await leave_traces(slack, redis, model)
        await wait_until(lambda: _nothing_waits(redis), "filed")
        places = {key.split(":")[0] + ":" + key.split(":")[1] for key in await holding(redis, MARK)}
        assert {"{bot}:dead", "{bot}:early", "recall:record", "checkpoint:slack"} <= places
        assert "a private" in await command(slack, "show")
        assert "forget everything" in await command(slack, "forget")
        assert await holding(redis, MARK)  # explained, not done
        assert "I have forgotten everything about you" in await command(slack, "forget everything")
        assert await holding(redis, MARK, ALICE.lower(), "alice") == []
        assert "I remember 0 facts about you, 0 of your questions" in await command(slack, "show")
        kept = {key.split(":")[0] for key in await holding(redis, BOBS)}
        assert kept == {"recall", "checkpoint"}
        await ask(slack, BOB, GENERAL, "what did I say?", shared)
        sent = json.dumps(model.requests[-1]["messages"])
        assert f"a shared {BOBS}" in sent
        assert MARK not in sent
        assert not model.violations
        found = await slack.say(BOB, slack.dm(BOB), order("memory_search", query=f"private {BOBS}"))
        assert f"a private {BOBS}" in await slack.answer(slack.dm(BOB), found)


async def test_forgetting_covers_what_was_said_a_moment_ago(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """A finished turn waits to be filed for a second: it is not filed afterwards."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        shared = await ask(slack, BOB, GENERAL, f"a shared {BOBS}")
        await wait_until(lambda: _nothing_waits(redis), "filed")
        await ask(slack, ALICE, GENERAL, f"a shared {MARK}", shared)
        await ask(slack, ALICE, slack.dm(ALICE), f"a direct {MARK}")
        assert "I have forgotten everything about you" in await command(slack, "forget everything")
        assert await holding(redis, MARK, ALICE.lower(), "alice") == []
        await ask(slack, BOB, slack.dm(BOB), f"a direct {BOBS}")
        await wait_until(lambda: _nothing_waits(redis), "the next batch is filed")
        assert await holding(redis, MARK, ALICE.lower(), "alice") == []
        assert len([each for each in await holding(redis, BOBS) if each.startswith("recall:record")]) == 2


async def test_forgetting_while_a_turn_runs_is_complete_and_breaks_nothing(
    storage: dict[str, Any], redis: Redis, slack: Slack, model: ModelServer
) -> None:
    """Her own turn is stopped, another's in the same thread ends first, and both threads go on after it."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        shared = await ask(slack, ALICE, GENERAL, f"a shared {MARK}")
        gate = asyncio.Event()
        model.script(Script(text=f"for Bob {BOBS}", gate=gate), Script(text="never", gate=gate))
        await slack.say(BOB, GENERAL, f"{slack.mention} and {BOBS}?", thread_ts=shared)
        await wait_until(lambda: model.unused == 1, "Bob's turn runs")
        own = await slack.say(ALICE, slack.dm(ALICE), f"a running {MARK}")
        await wait_until(lambda: model.unused == 0, "Alice's turn runs")
        forgetting = asyncio.create_task(command(slack, "forget everything"))
        await wait_until(lambda: "Stopped" in slack.transcript(slack.dm(ALICE), own), "hers is stopped")
        gate.set()
        assert "I have forgotten everything about you" in await forgetting
        await slack.wait_until_settled()
        assert await holding(redis, MARK, ALICE.lower()) == []
        assert f"for Bob {BOBS}" in slack.transcript(GENERAL, shared)
        await ask(slack, BOB, GENERAL, "again", shared)
        assert f"for Bob {BOBS}" in json.dumps(model.requests[-1]["messages"])
        again = await ask(slack, ALICE, slack.dm(ALICE), "hello again")
        assert "HEARD hello again" in slack.transcript(slack.dm(ALICE), again)


async def test_export_is_a_file_with_everything_of_the_person_and_nothing_of_others(
    storage: dict[str, Any], redis: Redis, slack: Slack, model: ModelServer
) -> None:
    """It comes in the direct messages."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await leave_traces(slack, redis, model)
        share = {"is_share": True, "author_name": "Bob", "text": "words that Bob wrote"}
        forward = {"type": "message", "channel": slack.dm(ALICE), "channel_type": "im", "user": ALICE}
        ts = slack.send_message(forward | {"text": f"a forward {MARK}", "attachments": [share]})
        await slack.answer(slack.dm(ALICE), ts)
        await slack.wait_until_settled()
        assert "words that Bob wrote" in json.dumps(model.requests[-1]["messages"])
        assert "a file" in await command(slack, "export")
    (file,) = [
        each for message in slack.messages(slack.dm(ALICE)) for each in message.files if message.from_bot
    ]
    assert file.data
    exported = json.loads(file.data)
    assert {each["text"] for each in exported["facts"]} == {f"a private {MARK}", f"a workspace {MARK}"}
    assert exported["accounts"] == [{"platform": "slack", "space": "T0TEAM00001", "user": ALICE}]
    asked = [text for each in exported["conversations"] for text in each["you_wrote"]]
    assert f"a shared {MARK}" in asked
    said = [text for each in exported["threads"] for text in each["your_messages"]]
    assert {f"a direct {MARK}", f"a shared {MARK}", f"a forward {MARK}"} <= set(said)
    assert f"a forward {MARK}" in asked
    assert exported["usage"][f"slack:{ALICE}"]
    assert exported["requests"] == []
    assert BOBS not in file.data.decode()


async def chat(port: int, message: str, thread: str) -> str:
    async with aiohttp.ClientSession() as session:
        body = {"message": message, "thread_id": thread}
        async with session.post(f"http://127.0.0.1:{port}/chat", json=body) as response:
            return str((await response.json())["response"])


@needs_sockets
async def test_http_shows_and_removes_what_was_said_over_http(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """The receipts too, which hold the answers there; of Slack nothing is touched."""
    async with run_bot(**storage, **of_slack(slack)) as bot, aiohttp.ClientSession() as session:
        await slack.wait_for_connections()
        await ask(slack, BOB, slack.dm(BOB), f"a direct {BOBS}")
        port = http_port(bot)
        await chat(port, wish(f"a private {MARK}", "private"), "t1")
        await chat(port, f"a question {MARK}", "t2")
        assert any(key.startswith("{bot}:turn") for key in await holding(redis, MARK))
        url = f"http://127.0.0.1:{port}/memory"
        async with session.get(url) as response:
            exported = await response.json()
        assert [each["text"] for each in exported["facts"]] == [f"a private {MARK}"]
        assert BOBS not in json.dumps(exported)
        async with session.delete(url) as response:
            assert response.status == 400
            assert "confirm=everything" in (await response.json())["message"]
        assert await holding(redis, MARK)
        async with session.delete(url, params={"confirm": "everything"}) as response:
            assert "I have forgotten everything about you" in (await response.json())["message"]
        left = await holding(redis, MARK, "http:api")
        # the space has that name, too, and what it has used stays
        assert [each for each in left if not each.startswith("{bot}:spent:")] == []
        assert await holding(redis, BOBS)


async def test_discord_has_the_same_as_subcommands(
    storage: dict[str, Any], redis: Redis, discord: Discord
) -> None:
    """Shown, given as a file and removed, for the caller's eyes only."""
    of_discord = {"discord_token": discord.token, "discord_api_url": discord.url}
    async with run_bot(**storage, **of_discord):
        await discord.wait_for_connections()
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, wish(f"a private {MARK}", "private"))
        await discord.answer(dm, lambda messages: "RESULT" in messages[-1].content)
        message = await discord.say(discord.alice, discord.general, f"{discord.mention} open {MARK}")
        thread = await discord.thread_of(message)
        await discord.answer(thread, lambda messages: "HEARD" in messages[-1].content)
        await wait_until(lambda: _is_settled(redis), "the turns are over")

        async def run(name: str, **options: str) -> Interaction:
            done = await discord.command(f"agent-memory {name}", options=options)
            assert done.ephemeral
            return done

        assert MARK in (await run("show")).content
        exported = await run("export")
        (file,) = [each for message in exported.messages for each in message.attachments]
        assert MARK in file.data.decode()
        assert "forget everything" in (await run("forget")).content
        assert await holding(redis, MARK)
        assert "I have forgotten everything about you" in (await run("forget", confirm="everything")).content
    assert await holding(redis, MARK, str(discord.alice.id)) == []


async def _is_settled(redis: Redis) -> bool:
    return not await redis.scard("{bot}:active")


async def test_linked_accounts_are_forgotten_together(
    storage: dict[str, Any], redis: Redis, slack: Slack, discord: Discord
) -> None:
    """A code from Slack, typed on Discord: both are shown on either side, and go together."""
    of_discord = {"discord_token": discord.token, "discord_api_url": discord.url}
    async with run_bot(**storage, **of_slack(slack), **of_discord):
        await asyncio.gather(slack.wait_for_connections(), discord.wait_for_connections())
        dm = discord.dm(discord.alice)
        await ask(slack, ALICE, slack.dm(ALICE), f"on Slack {MARK}")
        await discord.say(discord.alice, dm, f"on Discord {MARK}")
        await discord.answer(dm, lambda messages: "HEARD" in messages[-1].content)
        await wait_until(lambda: _is_settled(redis), "the turns are over")
        made = await command(slack, "link")
        code = made.split("link ")[1].split("`")[0]
        linked = await discord.command("agent-memory link", channel=dm, options={"code": code})
        assert "Linked with your account on Slack with the name `alice`." in linked.content
        assert ALICE not in linked.content
        shown = await command(slack, "show")
        assert f"on Discord {MARK}" in shown
        assert "Discord, Slack are linked" in shown
        assert "I have forgotten everything about you" in await command(slack, "forget everything")
    assert await holding(redis, MARK, ALICE.lower(), str(discord.alice.id)) == []


async def test_memory_is_summed_up_in_a_thread(storage: dict[str, Any], redis: Redis, slack: Slack) -> None:
    """`!memory` says how much there is, not what, since others read it."""
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        thread = await ask(slack, ALICE, GENERAL, f"a shared {MARK}")
        ts = await slack.say(ALICE, GENERAL, "!memory", thread_ts=thread)
        await wait_until(lambda: "1 fact or question" in slack.transcript(GENERAL, thread), ts)
        assert await command(slack, "nonsense") != await command(slack, "show")
