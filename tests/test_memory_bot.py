"""Memory across threads in the whole bot, with a model that does whatever anybody tells it to."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Bot
from bot.slack.api import open_api
from bot.slack.audience import Audiences
from bot.slack.timing import Timing
from tests.servers.discord.records import Channel, Message, User
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.bot import http_port, run_bot
from tests.support.memory import wait_until_filed
from tests.support.obedient_model import obey, order
from tests.support.settings import needs_sockets, of_discord, of_model, of_slack
from tests.support.turns import slack_message
from tests.support.wait import wait_until

SEARCH = order("memory_search", query="zeppelin budget")


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the obedient model; Redis is empty."""
    model.respond = obey
    return {**storage, **of_model(model)}


async def ask_slack(slack: Slack, user: str, channel: str, text: str) -> str:
    """The answer to a message in a thread of its own."""
    mention = "" if slack.workspace.channels[channel].kind == "im" else f"{slack.mention} "
    ts = await slack.say(user, channel, mention + text)
    return await slack.answer(channel, ts)


async def ask_discord(discord: Discord, user: User, channel: Channel, text: str) -> str:
    """The answer to a direct message, or to a mention in a channel, which is in its thread."""
    is_direct = channel.recipient is not None
    message = await discord.say(user, channel, text if is_direct else f"{discord.mention} {text}")
    place = channel if is_direct else await discord.thread_of(message)
    after = message if is_direct else None
    written = await discord.answer(
        place,
        _is_answered,
        after=after,
    )
    return written[-1].content


def _is_answered(messages: Sequence[Message]) -> bool:
    return any(word in messages[-1].content for word in ("RESULT", "HEARD"))


async def chat(bot: Bot, message: str, thread: str) -> str:
    async with aiohttp.ClientSession() as session:
        body = {"message": message, "thread_id": thread}
        async with session.post(f"http://127.0.0.1:{http_port(bot)}/chat", json=body) as response:
            return str((await response.json())["response"])


async def test_private_fact_is_found_in_other_direct_threads_and_nowhere_else(
    storage: dict[str, Any], slack: Slack
) -> None:
    """The model asks for everything everywhere; only the person's own direct messages hold the fact."""
    save = order("memory_save", text="Alice's zeppelin budget is 4711", scope="private")
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        assert "Saved for this user only" in await ask_slack(slack, ALICE, slack.dm(ALICE), save)
        assert "4711" in await ask_slack(slack, ALICE, slack.dm(ALICE), SEARCH)
        assert "4711" not in await ask_slack(slack, BOB, slack.dm(BOB), SEARCH)
        assert "4711" not in await ask_slack(slack, ALICE, GENERAL, SEARCH)
        assert "nothing private was saved" in await ask_slack(slack, ALICE, GENERAL, save)


async def test_public_channel_is_known_to_its_workspace_and_a_private_one_to_itself(
    storage: dict[str, Any], redis: Redis, slack: Slack
) -> None:
    """A mention does not tell what kind of channel it is in: Slack is asked, once for each channel."""
    secret = slack.add_channel("G0SECRET", "group")
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask_slack(slack, ALICE, GENERAL, "the zeppelin budget is 5000")
        await ask_slack(slack, ALICE, secret, "the zeppelin budget is 4711")
        await wait_until_filed(redis, 2)
        found = await ask_slack(slack, BOB, slack.dm(BOB), SEARCH)
        assert "5000" in found
        assert "4711" not in found
        assert "4711" not in await ask_slack(slack, BOB, GENERAL, SEARCH)
        assert "4711" in await ask_slack(slack, BOB, secret, SEARCH)
        plant = order("memory_save", text="zeppelin 4711", scope="workspace")
        assert "Not everybody in the workspace" in await ask_slack(slack, BOB, secret, plant)
        assert "the whole workspace" in await ask_slack(slack, BOB, GENERAL, plant)
    asked = [call.args["channel"] for call in slack.calls if call.method == "conversations.info"]
    assert len(asked) == len(set(asked))


async def test_channel_of_unknown_kind_is_asked_for_once_and_counts_as_closed_meanwhile(slack: Slack) -> None:
    """Until Slack says who reads it, what is said there stays there, and nothing of others is told."""
    slack.add_channel("G0SECRET", "group")
    unknown = slack_message(channel=GENERAL, kind="")
    async with open_api(slack.bot_token, slack.api_url, Timing()) as api:
        slack.fail("conversations.info", error="internal_error")
        assert await Audiences(api, Timing()).of(unknown) == "outsiders"
        audiences = Audiences(api, Timing())
        assert [await audiences.of(unknown) for _ in range(3)] == ["everyone"] * 3
        assert await audiences.of(slack_message(channel="G0SECRET", kind="")) == "members"
        assert await audiences.of(slack_message(channel="C0NONE", place={"shared": "yes"})) == "outsiders"
        assert await audiences.of(slack_message(place={"user_team": "T0OTHER"})) == "outsiders"
    assert slack.count("conversations.info") == 3


async def test_discord_keeps_closed_channels_and_direct_messages_apart(
    storage: dict[str, Any], redis: Redis, discord: Discord
) -> None:
    """An open channel is found in its guild, a closed one in itself, and a person's own by that person."""
    closed = discord.add_channel("closed", only_for=(discord.alice,))
    other = discord.add_channel("other")
    dm, bobs = discord.dm(discord.alice), discord.dm(discord.bob)
    async with run_bot(**storage, **of_discord(discord)):
        await discord.wait_for_connections()
        await ask_discord(discord, discord.alice, discord.general, "the zeppelin budget is 5000")
        await ask_discord(discord, discord.alice, closed, "the zeppelin budget is 4711")
        await ask_discord(discord, discord.alice, dm, "the zeppelin budget is 1234")
        await wait_until_filed(redis, 3)
        found = await ask_discord(discord, discord.bob, other, SEARCH)
        assert "5000" in found
        assert "4711" not in found
        assert "1234" not in found
        assert "4711" in await ask_discord(discord, discord.alice, closed, SEARCH)
        assert "1234" in await ask_discord(discord, discord.alice, dm, SEARCH)
        mine = await ask_discord(discord, discord.bob, bobs, SEARCH)
        assert not {"5000", "4711", "1234"} & set(mine.split())


@needs_sockets
async def test_platforms_do_not_see_each_other(
    storage: dict[str, Any], redis: Redis, slack: Slack, discord: Discord
) -> None:
    """Slack, Discord and HTTP each know their own."""
    async with run_bot(**storage, **of_slack(slack), **of_discord(discord)) as bot:
        await asyncio.gather(slack.wait_for_connections(), discord.wait_for_connections())
        await ask_slack(slack, ALICE, GENERAL, "the zeppelin budget is 5000")
        await ask_discord(discord, discord.alice, discord.general, "the zeppelin budget is 4711")
        await chat(bot, "the zeppelin budget is 1234", "t1")
        await wait_until_filed(redis, 3)
        assert "1234" in await chat(bot, SEARCH, "t2")
        for found in (
            await chat(bot, SEARCH, "t2"),
            await ask_slack(slack, ALICE, slack.dm(ALICE), SEARCH),
            await ask_discord(discord, discord.alice, discord.general, SEARCH),
        ):
            assert sum(secret in found for secret in ("5000", "4711", "1234")) == 1


async def test_without_memory_nothing_is_kept_or_found(
    storage: dict[str, Any], redis: Redis, model: ModelServer
) -> None:
    """ENABLE_MEMORY=false: there are no such tools, and no records."""
    async with run_bot(**storage, enable_memory=False) as bot:
        await chat(bot, "the zeppelin budget is 5000", "t1")
        assert "There is no tool 'memory_search'" in await chat(bot, SEARCH, "t1")
    assert await redis.keys("recall:record:*") == []
    names = {tool["function"]["name"] for tool in model.requests[0]["tools"]}
    assert not names & {"memory_save", "memory_search"}


async def test_service_makes_the_vectors_and_may_fail(
    storage: dict[str, Any], redis: Redis, model: ModelServer
) -> None:
    """OPENAI_EMBEDDING_MODEL: what is said is embedded there; while it fails, turns go on by words."""
    async with run_bot(**storage, openai_embedding_model="embed-1") as bot:
        await chat(bot, "the zeppelin budget is 5000", "t1")
        await wait_until(lambda: any("5000" in text for text in model.embedded), "embedded")
        await wait_until_filed(redis, 1)
        model.embeddings_status = 500
        assert "5000" in await chat(bot, SEARCH, "t2")
        save = order("memory_save", text="zeppelins are green", scope="private")
        assert "Saved" in await chat(bot, save, "t2")
        assert "green" in await chat(bot, order("memory_search", query="green"), "t3")
