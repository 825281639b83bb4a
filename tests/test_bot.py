"""The whole bot, end to end: real platforms, agent, Redis and Postgres, over real sockets."""

import asyncio
import logging
import re
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import http_port, run_bot
from tests.support.http_caller import chat, post_chat
from tests.support.memory import wait_until_filed
from tests.support.settings import needs_sockets, of_discord, of_model, of_slack
from tests.support.wait import wait_until


async def test_slack_mention_is_answered_in_its_thread_and_followed_up(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """A mention is answered in its thread; the next message there needs no mention and is remembered."""
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} my name is Ada")
        assert "my name is Ada (message 1 of" in await slack.answer(GENERAL, ts)
        await slack.say(ALICE, GENERAL, "and who am I?", thread_ts=ts)
        assert "and who am I? (message 2 of" in await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
        await slack.say(ALICE, GENERAL, "this is not for the bot")
        await slack.wait_until_settled()
    assert len([each for each in slack.messages(GENERAL) if each.from_bot]) == 2
    assert len(model.requests) == 2


async def test_slack_redelivery_is_answered_once(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """A mention that comes as two kinds of event, three times each, is one message."""
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} once", copies=3)
        await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
    assert len(slack.bot_replies(GENERAL, ts)) == 1
    assert len(model.requests) == 1


async def test_slack_reply_that_fails_at_first_shows_the_answer_once(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The turn is tried again with the answer that the model gave: no second call, no doubled text."""
    slack.fail("chat.startStream", status=500)
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        answer = await slack.answer(GENERAL, ts)
    assert answer == "You wrote: hello (message 1 of this conversation)."
    assert len(model.requests) == 1


async def test_slack_shows_tools_at_work_on_the_real_database(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The query runs in Postgres, a task card shows it, and the model sees the rows."""
    query = Script(
        text="Let me count.", tool_calls=[("sql_query", {"query": "select count(*) as n from customers"})]
    )
    model.script(query, "There are some.")
    async with run_bot(**storage, **of_model(model), **of_slack(slack)):
        await slack.wait_for_connections()
        dm = slack.dm(ALICE)
        ts = await slack.say(ALICE, dm, "how many customers do we have?")
        answer = await slack.answer(dm, ts)
        (reply,) = slack.bot_replies(dm, ts)
    assert "Let me count.\n\nThere are some." in answer
    assert [task["status"] for task in reply.tasks.values()] == ["complete"]
    (output,) = [task["output"] for task in reply.tasks.values()]
    assert re.fullmatch(r"1 row, 1 column, [0-9.]+ s", output)
    (result,) = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert "| n |" in result


async def test_slack_health_command(storage: dict[str, Any], slack: Slack) -> None:
    """`/agent-health` tells an administrator the state of every part."""
    async with run_bot(**storage, **of_slack(slack), admin_users=f"slack:{ALICE}"):
        await slack.wait_for_connections()
        command = await slack.command("/agent-health", "", ALICE, GENERAL)
        await wait_until(lambda: "postgres" in str((command.response, slack.ephemerals)), "answered")
    shown = str((command.response, slack.ephemerals))
    for part in ("redis", "postgres", "model", "slack", "inbox", "turns"):
        assert part in shown


async def test_slack_over_http_without_an_app_token(
    storage: dict[str, Any], slack: Slack, caplog: pytest.LogCaptureFixture
) -> None:
    """With a signing secret alone, Slack's signed requests come to the bot's own server.

    The log says when it is connected, as `ready` promises of each service.
    """
    caplog.set_level(logging.INFO, "bot.slack")
    settings = of_slack(slack) | {"slack_app_token": None, "slack_signing_secret": slack.signing_secret}
    async with run_bot(**storage, **settings) as bot:
        slack.request_url = f"http://127.0.0.1:{http_port(bot)}/slack/events"
        await wait_until(lambda: _answers(bot, "slack"), "slack receiving")
        assert [each.getMessage() for each in caplog.records].count("Slack connected") == 1
        await slack.verify_url()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)


async def _answers(bot: Bot, part: str) -> bool:
    return any(health.name == part and health.state == "ok" for health in await bot.check_health())


async def test_discord_mention_is_answered_in_a_new_thread_and_followed_up(
    storage: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """A mention opens a thread with the answer; what follows there needs no mention and is remembered."""
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} my name is Ada")
        thread = await discord.thread_of(question)
        await discord.answer(
            thread, lambda messages: "message 1 of this conversation)." in messages[-1].content
        )
        await discord.say(discord.alice, thread, "and who am I?")
        await discord.answer(
            thread, lambda messages: "message 2 of this conversation)." in messages[-1].content
        )
        await discord.say(discord.alice, discord.general, "not for the bot")
        await discord.say(discord.alice, discord.dm(discord.alice), "hello")
        await discord.answer(discord.dm(discord.alice), lambda messages: "hello" in messages[-1].content)
    assert len(model.requests) == 3
    assert discord.rate_limited == 0


async def test_discord_long_answer_continues_in_further_messages(
    storage: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """More than 2,000 characters come whole, in several messages, with no request refused."""
    words = " ".join(f"word{number}" for number in range(900))
    model.script(f"{words} END")
    async with run_bot(**storage, **of_model(model), **of_discord(discord)):
        await discord.wait_for_connections()
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "talk")
        await discord.answer(dm, lambda messages: messages[-1].content.endswith("END"))
        shown = [each.content for each in discord.messages(dm) if each.author.id == discord.bot.id]
    assert len(shown) > 3
    assert " ".join(shown).split() == [*words.split(), "END"]


async def test_discord_health_command(storage: dict[str, Any], discord: Discord) -> None:
    """`/agent-health` works in a guild and in a direct message, for the caller's eyes only."""
    async with run_bot(**storage, **of_discord(discord), admin_users=f"discord:{discord.alice.id}"):
        await discord.wait_for_connections()
        for channel in (discord.general, discord.dm(discord.alice)):
            shown = await discord.command("agent-health", discord.alice, channel)
            assert "postgres" in shown.content
            assert shown.ephemeral


async def test_http_hundred_concurrent_threads_each_with_its_own_memory(storage: dict[str, Any]) -> None:
    """A hundred threads at once, twice: all 200, and each remembers its own first message only."""
    async with run_bot(**storage) as bot, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{http_port(bot)}/chat"

        async def ask(number: int, message: str) -> str:
            body = {"message": message, "thread_id": f"thread-{number}"}
            async with session.post(url, json=body) as response:
                assert response.status == 200
                return str((await response.json())["response"])

        await asyncio.gather(*(ask(number, f"secret of {number}.") for number in range(100)))
        answers = await asyncio.gather(*(ask(number, "what did I say?") for number in range(100)))
    for number, answer in enumerate(answers):
        assert f"secret of {number}." in answer
        assert answer.count("secret of") == 1


@needs_sockets
async def test_one_process_serves_all_platforms_with_separate_memory(
    storage: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """Slack, Discord and HTTP answer at the same time from one loop; their threads do not mix."""
    async with run_bot(**storage, **of_model(model), **of_slack(slack), **of_discord(discord)) as bot:
        await asyncio.gather(slack.wait_for_connections(), discord.wait_for_connections())
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} from Slack")
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "from Discord")
        by_http, by_slack, _ = await asyncio.gather(
            chat(bot, "from HTTP"),
            slack.answer(GENERAL, ts),
            discord.answer(dm, lambda messages: "conversation)." in messages[-1].content),
        )
        by_discord = discord.messages(dm)[-1].content
    for name, answer in (("HTTP", by_http), ("Slack", by_slack), ("Discord", by_discord)):
        assert f"You wrote: from {name} (message 1 of" in answer


async def test_memory_survives_a_restart_of_the_bot(storage: dict[str, Any], model: ModelServer) -> None:
    """The second run of the bot knows what the first was told."""
    async with run_bot(**storage, **of_model(model)) as bot:
        assert "message 1 of" in await chat(bot, "remember me")
    async with run_bot(**storage, **of_model(model)) as bot:
        assert "message 2 of" in await chat(bot, "do you?")


@needs_sockets
async def test_model_that_fails_is_told_in_words_everywhere(
    storage: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """A dead model is a sentence on each platform, never silence, and it is said once."""
    model.respond = lambda request: Script(status=401)
    async with run_bot(**storage, **of_model(model), **of_slack(slack), **of_discord(discord)) as bot:
        await asyncio.gather(slack.wait_for_connections(), discord.wait_for_connections())
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "hello")
        status, answer = await post_chat(bot, message="hello")
        assert (status, answer["status"]) == (503, "error")
        assert "OPENAI_API_KEY" in answer["message"]
        assert "OPENAI_API_KEY" in await slack.answer(GENERAL, ts)
        await discord.answer(dm, lambda messages: "OPENAI_API_KEY" in messages[-1].content)
    assert KEY not in str(slack.messages(GENERAL))


async def test_person_who_is_not_allowed_is_told_so(storage: dict[str, Any], slack: Slack) -> None:
    """ALLOWED_USERS: others get a sentence that says whom to ask, and the model is not asked."""
    async with run_bot(**storage, **of_slack(slack), allowed_users=frozenset({"slack:U0BOB"})):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "ALLOWED_USERS" in await slack.answer(GENERAL, ts)
        ts = await slack.say(BOB, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)


async def test_offline_model_asks_the_sample_database(storage: dict[str, Any], redis: Redis) -> None:
    """With nothing configured one can still ask the sample data, and gets the rows."""
    async with run_bot(**storage) as bot:
        answer = await chat(bot, "SQL: select count(*) > 100 as many from orders")
        assert "true" in answer
        assert "DELETE is not allowed" in await chat(bot, "SQL: delete from orders")
        await wait_until_filed(redis, 2)
        assert "count(*) > 100" in await chat(bot, "SEARCH: orders")


async def test_platform_that_dies_is_restarted_while_the_rest_serves(
    storage: dict[str, Any], slack: Slack, discord: Discord
) -> None:
    """Discord's gateway is away at start: Slack answers meanwhile, and Discord serves once it is back."""
    discord.refuse_gateway(2)
    async with run_bot(**storage, **of_slack(slack), **of_discord(discord)):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)
        await discord.wait_for_connections()
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "back?")
        await discord.answer(dm, lambda messages: "back?" in messages[-1].content)
