"""Halves of surrogate pairs, which JSON can hold and UTF-8 cannot: they end no turn, event or command."""

from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.chat import Correction, Message, Quote, ThreadId, well_formed, well_formed_json
from bot.inbox import Inbox
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import http_port, run_bot
from tests.support.wait import wait_until

HIGH, LOW = "\ud83d", "\ude00"


@pytest.fixture
def storage(redis: Redis, redis_url: str, database_url: str, model: ModelServer) -> dict[str, Any]:
    model.respond = lambda _: f"I have read it {HIGH}."
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
    }


def newest_request(model: ModelServer) -> str:
    """All that the model was given last."""
    return str([each["content"] for each in model.requests[-1]["messages"]])


def test_halves_are_joined_or_replaced_wherever_they_stand() -> None:
    assert well_formed(f"a{HIGH}b{HIGH}{LOW}{LOW}") == "a\ufffdb\U0001f600\ufffd"
    assert well_formed_json({f"k{LOW}": [HIGH, {"x": f"{HIGH}{LOW}"}, 1, None]}) == {
        "k\ufffd": ["\ufffd", {"x": "\U0001f600"}, 1, None]
    }
    quote = Quote(source=f"by {HIGH}", text=LOW)
    thread = ThreadId("discord", "1", "2")
    message = Message(
        id="1", thread=thread, author="a", text=HIGH, sent_at=1, addressed=True, quotes=(quote,)
    )
    sound = replace(message, quotes=(quote,)).well_formed()
    assert (sound.text, sound.quotes) == ("\ufffd", (Quote(source="by \ufffd", text="\ufffd"),))
    assert sound.well_formed() is sound


async def test_what_the_inbox_has_taken_holds_none(redis: Redis) -> None:
    """Of whichever platform: also a new wording, which takes the place of the old one."""
    inbox = Inbox(redis, name="one", follow_days=1)
    await inbox.enter()
    thread = ThreadId("discord", "1", "2")
    message = Message(id="m", thread=thread, author="discord:7", text=HIGH, sent_at=1, addressed=True)
    assert await inbox.put(message) == "kept"
    edit = replace(message, text=f"better {HIGH}", author_name=f"Ann {LOW}")
    assert await inbox.put(Correction(message=edit, edited_at=2)) == "replaced"
    (lease,) = await inbox.lease(1, 1_000)
    begun = await inbox.begin(lease)
    assert begun is not None
    assert [(each.text, each.author_name) for each in begun.turn.messages] == [
        ("better \ufffd", "Ann \ufffd")
    ]


async def test_on_slack_they_end_neither_a_turn_nor_a_command(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """In the words, names of people and files, and forwards; and in what is typed behind a command."""
    slack.describe(ALICE, real_name=f"Alice {HIGH}", team_id="T0TEAM00001")
    share = {"is_share": True, "author_name": f"Bob {HIGH}", "text": f"news {LOW}"}
    event: dict[str, Any] = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": ALICE}
    event |= {"text": f"<@U0AGENT0001> hello {HIGH}", "attachments": [share]}
    names = {"slack_bot_token": slack.bot_token, "slack_app_token": slack.app_token}
    admins = {"admin_users": f"slack:{ALICE}"}
    async with run_bot(**storage, **names, **admins, slack_api_url=slack.api_url):
        await slack.wait_for_connections(2)
        ts = slack.send_message(event)
        await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
        assert "I have read it \ufffd." in slack.transcript(GENERAL, ts)
        for text in ("hello \ufffd", "the message by Bob \ufffd that is forwarded here", "> news \ufffd"):
            assert text in newest_request(model)
        for name, text, answer in (
            ("/agent-redis", f"get {HIGH}", "not valid text"),
            ("/agent-redis", f"set key {HIGH}", "not valid text"),
            ("/agent-redis", f"{HIGH}", "get"),
            ("/agent-memory", f"link {HIGH}", "code"),
            ("/agent-memory", f"{HIGH}", "show"),
            ("/agent-usage", f"{HIGH}", "today"),
        ):
            answers = len(slack.ephemerals) + 1
            command = await slack.command(name, text, ALICE, GENERAL)
            assert command.acked
            await wait_until(partial(is_answered, slack, answers), f"{name} is answered")
            assert answer in slack.ephemerals[-1].text.lower(), (name, text)
    assert not slack.violations


def is_answered(slack: Slack, answers: int) -> bool:
    return len(slack.ephemerals) >= answers


async def test_on_discord_they_do_not_end_the_connection(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    """orjson, with which discord.py reads where it is installed, refuses the whole event."""
    async with run_bot(**storage, discord_token=discord.token, discord_api_url=discord.url):
        await discord.wait_for_connections()
        sessions = len(discord.sessions)
        direct = discord.dm(discord.alice)
        message = await discord.say(discord.alice, direct, f"hello {HIGH}")
        written = await discord.answer(direct, lambda each: "read it" in each[-1].content, after=message)
        assert written[-1].content == "I have read it \ufffd."
        assert "hello \ufffd" in newest_request(model)
        assert len(discord.sessions) == sessions


async def test_over_http_they_are_refused_in_words(storage: dict[str, Any]) -> None:
    """A program can be told that what it sends is no text; a person could do nothing about it."""
    async with run_bot(**storage) as bot, aiohttp.ClientSession() as session:
        for path, body in (
            ("/chat", {"message": f"hello {HIGH}"}),
            ("/chat", {"message": "hello", "thread_id": HIGH}),
            ("/redis/direct", {"operation": "get", "key": HIGH}),
        ):
            async with session.post(f"http://127.0.0.1:{http_port(bot)}{path}", json=body) as response:
                assert response.status == 400, path
                assert "Invalid JSON" in (await response.json())["message"]
