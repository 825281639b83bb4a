"""Follow-ups in a thread, with the whole bot: `FOLLOW_UP`, `!quiet`, and silence."""

import asyncio
import re
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.commands.texts import NEVER_QUIET, QUIET
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.talks import DiscordTalk, Name, SlackTalk, Talk, ask, wait_until_passed_over
from tests.support.wait import wait_until


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """A bot whose answers are numbered."""
    model.respond = lambda _: f"Answer{len(model.requests)}."
    return {**storage, **of_model(model)}


@pytest.fixture(params=["slack", "discord"])
def talk(request: pytest.FixtureRequest, slack: Slack, discord: Discord) -> Talk:
    return SlackTalk(slack) if request.param == "slack" else DiscordTalk(discord)


async def pass_over(talk: Talk, redis: Redis, who: Name, text: str) -> None:
    """Write a message that is not answered."""
    await wait_until_passed_over(redis, await talk.say(who, text))


async def test_one_single_partner_is_followed_until_a_second_user_writes(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    """Then the bot is silent until the next mention, and follows its author. Silence costs no model call."""
    async with run_bot(**settings, **talk.settings):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        assert await ask(talk, "alice", "and now?") == "Answer2."
        await pass_over(talk, redis, "bob", "I think so, too")
        await pass_over(talk, redis, "alice", "really?")
        assert await ask(talk, "bob", f"{talk.mention} what do you think?") == "Answer3."
        assert await ask(talk, "bob", "and why?") == "Answer4."
        await pass_over(talk, redis, "alice", "thanks")
    assert len(model.requests) == 4


async def test_at_the_next_mention_the_agent_knows_what_was_written_meanwhile(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    """Also what was written while an answer was under way; and once, as data."""
    async with run_bot(**settings, **talk.settings):
        await talk.is_connected()
        gate = asyncio.Event()
        model.script(Script(text="Answer1.", gate=gate))
        await talk.say("alice", f"{talk.mention} hello")
        await wait_until(lambda: bool(model.requests), "the answer is under way")
        if isinstance(talk, SlackTalk):  # on Discord there may be no thread yet
            await pass_over(talk, redis, "bob", "the printer is on fire")
        gate.set()
        assert await talk.answer() == "Answer1."
        await pass_over(talk, redis, "bob", "and it smells")
        assert await ask(talk, "alice", f"{talk.mention} what now?") == "Answer2."
        assert await ask(talk, "alice", "and then?") == "Answer3."
    told = "\n".join(each["content"] for each in model.requests[-1]["messages"])
    assert len(re.findall("> .* bob: and it smells", told, re.IGNORECASE)) == 1
    assert told.count(": the printer is on fire") == isinstance(talk, SlackTalk)


async def test_what_the_partner_writes_to_others_is_not_answered(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    """It ends nothing; a message that mentions both is answered."""
    async with run_bot(**settings, **talk.settings):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        await pass_over(talk, redis, "alice", f"{talk.names['bob']} did you see this?")
        assert await ask(talk, "alice", "and now?") == "Answer2."
        assert await ask(talk, "alice", f"{talk.mention} tell {talk.names['bob']}") == "Answer3."
    assert len(model.requests) == 3


async def test_with_always_everything_is_answered(
    settings: dict[str, Any], model: ModelServer, talk: Talk
) -> None:
    """Also what mentions somebody else."""
    async with run_bot(**settings, **talk.settings, follow_up="always"):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        assert await ask(talk, "bob", f"{talk.names['alice']} hello") == "Answer2."
        assert await ask(talk, "alice", "hello") == "Answer3."
    assert len(model.requests) == 3


async def test_with_mention_only_mentions_are_answered(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    async with run_bot(**settings, **talk.settings, follow_up="mention"):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        await pass_over(talk, redis, "alice", "and now?")
        assert "0 of" not in await ask(talk, "alice", "!usage")
        assert await ask(talk, "alice", f"{talk.mention} and now?") == "Answer2."
    assert len(model.requests) == 2


@pytest.mark.parametrize("policy", ["partner", "always"])
async def test_a_user_asks_for_silence_until_the_next_mention(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk, policy: str
) -> None:
    """Anybody in the thread; the answer says how to wake the bot."""
    async with run_bot(**settings, **talk.settings, follow_up=policy):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        assert await ask(talk, "bob", "!quiet") == QUIET
        await pass_over(talk, redis, "alice", "what was that?")
        await pass_over(talk, redis, "bob", "never mind")
        assert await ask(talk, "alice", f"{talk.mention} come back") == "Answer2."
        assert await ask(talk, "alice", "and now?") == "Answer3."
    assert len(model.requests) == 3


async def test_direct_messages_are_always_answered(settings: dict[str, Any], slack: Slack) -> None:
    """Under each policy; nobody else could be meant."""
    async with run_bot(**settings, **of_slack(slack), follow_up="mention"):
        await slack.wait_for_connections()
        dm = slack.dm(ALICE)
        ts = await slack.say(ALICE, dm, "hello")
        assert await slack.answer(dm, ts) == "Answer1."
        await slack.say(ALICE, dm, "!quiet", thread_ts=ts)
        assert (await slack.answer(dm, ts)).strip() == NEVER_QUIET
        await slack.say(ALICE, dm, "hello again", thread_ts=ts)
        assert await slack.answer(dm, ts) == "Answer2."


async def test_commands_of_others_do_not_end_that_the_partner_is_followed(
    settings: dict[str, Any], model: ModelServer, talk: Talk
) -> None:
    """They are for the bot, and answered without a mention as before."""
    async with run_bot(**settings, **talk.settings):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        assert "Your usage today" in await ask(talk, "bob", "!usage")
        assert await ask(talk, "alice", "and now?") == "Answer2."


async def test_the_model_chooses_silence_where_users_talk_with_each_other(
    settings: dict[str, Any], model: ModelServer, redis: Redis, talk: Talk
) -> None:
    """It can only where several users write and nobody mentions the bot. Nothing is shown, and nothing stays
    "thinking"; the next turn goes on without a trace of it."""
    async with run_bot(**settings, **talk.settings, follow_up="always"):
        await talk.is_connected()
        assert await ask(talk, "alice", f"{talk.mention} hello") == "Answer1."
        assert not is_silence_offered(model)
        assert await ask(talk, "alice", "are you there?") == "Answer2."
        assert not is_silence_offered(model)
        model.script(Script(tool_calls=[("stay_silent", {})]))
        await talk.say("bob", "Alice, are you coming to lunch?")
        await wait_until(lambda: len(model.requests) == 3, "the model is asked")
        await talk.say("alice", f"{talk.mention} and now?")
        assert await talk.answer() == "Answer4."
        assert not is_silence_offered(model)
    silent = model.requests[2]
    assert "stay_silent" in str(silent["tools"])
    assert "call stay_silent" in silent["messages"][0]["content"]
    asked = model.requests[3]["messages"]
    assert [each["role"] for each in asked[-2:]] == ["user", "user"]
    assert "stay_silent" not in str(asked)


def is_silence_offered(model: ModelServer) -> bool:
    newest = model.requests[-1]
    return "stay_silent" in str(newest["tools"]) or "stay_silent" in str(newest["messages"][0])


async def test_chosen_silence_leaves_no_sign_of_work_on_slack(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The session of the thread is over, and no message was begun."""
    async with run_bot(**settings, **of_slack(slack), follow_up="always"):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
        model.script(Script(tool_calls=[("stay_silent", {})]))
        await slack.say("U0BOB", GENERAL, "Alice, lunch?", thread_ts=ts)
        await wait_until(lambda: len(model.requests) == 2, "the model is asked")
        await wait_until(lambda: not is_busy(slack, ts), "nothing shows work")
        assert not slack.bot_replies(GENERAL, ts)


def is_busy(slack: Slack, ts: str) -> bool:
    return bool(slack.status(GENERAL, ts)) or slack.workspace.session_status(GENERAL, ts) == "processing"
