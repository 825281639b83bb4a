"""Access control on the whole bot: the lists, the rates, and two bots that talk."""

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.control import build_access_control
from bot.chat import Admit, Decision, Message, Refuse, ThreadId
from bot.main import SETTINGS
from tests.servers.discord.service import Discord
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.servers.slack.workspace import BOT, BOT_USER
from tests.support.bot import run_bot
from tests.support.settings import of_discord, of_slack
from tests.support.wait import wait_until


async def test_a_decision_passes_since_its_request_has(redis: Redis) -> None:
    """The inbox makes it, without the roles of the person who asked, and after however many messages."""
    settings = SETTINGS(_env_file=None, allowed_users="slack:U2", allowed_roles="discord:1", user_rate=1)
    access = build_access_control(settings, redis)
    thread = ThreadId("discord", "G1", "1")
    asked = Message(id="1", thread=thread, author="discord:7", text="", sent_at=0, addressed=True)
    decision = Decision(
        request="a1", verdict="approved", at=0, thread=thread, asker=asked.author, summary="", place={}
    )
    assert isinstance(await access.check(asked), Refuse)
    for number in range(3):
        assert await access.check(replace(asked, id=f"d{number}", decision=decision)) == Admit()


@pytest.mark.parametrize("listed", [{"allowed_users": "slack:U2"}, {"allowed_roles": "discord:1"}])
async def test_who_can_approve_may_say_so_in_words_whatever_list_is_set(
    redis: Redis, listed: dict[str, Any]
) -> None:
    """Fault: with a list of roles alone, an approver without one was refused."""
    settings = SETTINGS(_env_file=None, approvers="slack:U5", **listed)
    access = build_access_control(settings, redis)
    thread = ThreadId("slack", "T1", "C1", "1.1")
    asked = Message(id="1", thread=thread, author="slack:U5", text="hi", sent_at=0, addressed=True)
    assert await access.check(asked) == Admit()
    assert isinstance(await access.check(replace(asked, id="2", author="slack:U6")), Refuse)


async def test_a_role_of_discord_lets_its_members_talk_and_nobody_else(
    storage: dict[str, Any], discord: Discord
) -> None:
    """The role comes with the message; in a direct message there is none, and the refusal says so."""
    role = discord.add_role("staff")
    discord.alice.roles.add(role)
    async with run_bot(**storage, **of_discord(discord), allowed_roles=f"discord:{role}"):
        await discord.wait_for_connections()
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} hello")
        await discord.answer(await discord.thread_of(asked), _says("offline"))
        asked = await discord.say(discord.bob, discord.general, f"{discord.mention} hello")
        await discord.answer(await discord.thread_of(asked), _says("roles in ALLOWED_ROLES"))
        dm = discord.dm(discord.alice)
        await discord.say(discord.alice, dm, "hello")
        await discord.answer(dm, _says("where you have a role"))


async def test_a_role_counts_for_what_is_read_from_the_history(
    storage: dict[str, Any], discord: Discord, redis: Redis
) -> None:
    """The history does not tell roles, so they are asked for."""
    role = discord.add_role("staff")
    discord.alice.roles.add(role)
    settings = {**storage, **of_discord(discord), "allowed_roles": f"discord:{role}"}
    async with run_bot(**settings):
        await discord.wait_for_connections()
        await wait_until(lambda: _has_heard(redis), "it is known since when the bot listens")
    asked = [
        await discord.say(user, discord.general, f"{discord.mention} hello")
        for user in (discord.alice, discord.bob)
    ]
    async with run_bot(**settings):
        await discord.answer(await discord.thread_of(asked[0]), _says("offline"))
        await discord.answer(await discord.thread_of(asked[1]), _says("roles in ALLOWED_ROLES"))


async def _has_heard(redis: Redis) -> bool:
    return bool(await redis.zcard("{bot}:heard"))


def _says(words: str) -> Any:
    return lambda messages: words in messages[-1].content


async def test_a_workspace_that_is_not_listed_is_refused_with_a_sentence(
    storage: dict[str, Any], slack: Slack
) -> None:
    async with run_bot(**storage, **of_slack(slack), allowed_spaces="slack:T0OTHER"):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "ALLOWED_SPACES" in await slack.answer(GENERAL, ts)


async def test_who_writes_too_fast_is_refused_in_the_thread(storage: dict[str, Any], slack: Slack) -> None:
    """The message over the rate asks no model, and the sentence says when to try again."""
    async with run_bot(**storage, **of_slack(slack), user_rate=1):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} and again")
        assert "Try again in" in await slack.answer(GENERAL, ts)
        ts = await slack.say(BOB, GENERAL, f"{slack.mention} hello")
        assert "offline" in await slack.answer(GENERAL, ts)


async def test_health_on_slack_is_a_line_for_who_is_no_administrator(
    storage: dict[str, Any], slack: Slack
) -> None:
    """Also as `!health` in a thread; the administrator reads what the bot is made of."""
    async with run_bot(**storage, **of_slack(slack), admin_users=f"slack:{ALICE}"):
        await slack.wait_for_connections()
        command = await slack.command("/agent-health", "", BOB, GENERAL)
        await wait_until(lambda: "working" in str((command.response, slack.ephemerals)), "answered")
        assert "postgres" not in str((command.response, slack.ephemerals))
        ts = await slack.say(BOB, GENERAL, f"{slack.mention} !health")
        assert "postgres" not in await slack.answer(GENERAL, ts)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} !health")
        assert "postgres" in await slack.answer(GENERAL, ts)


async def test_health_on_discord_is_a_line_for_who_is_no_administrator(
    storage: dict[str, Any], discord: Discord
) -> None:
    async with run_bot(**storage, **of_discord(discord), admin_users=f"discord:{discord.alice.id}"):
        await discord.wait_for_connections()
        shown = await discord.command("agent-health", discord.bob, discord.general)
        assert "postgres" not in shown.content
        assert "work" in shown.content


async def test_a_bot_that_is_not_listed_gets_no_word(storage: dict[str, Any], slack: Slack) -> None:
    """Not even a refusal; nothing of it is kept."""
    other = slack.add_bot("U0OTHER", "B0OTHER")
    async with run_bot(**storage, **of_slack(slack), allowed_bots="slack:B0ELSE"):
        await slack.wait_for_connections()
        await slack.say(other, GENERAL, f"{slack.mention} hello")
        await slack.wait_until_settled()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
    assert [each.root for each in slack.messages(GENERAL) if each.from_bot] == [ts]


async def test_a_bot_that_is_listed_is_answered_where_it_mentions_us(
    storage: dict[str, Any], slack: Slack
) -> None:
    """Its messages to others are none of our business."""
    other = slack.add_bot("U0OTHER", "B0OTHER")
    async with run_bot(**storage, **of_slack(slack), allowed_bots="slack:B0OTHER"):
        await slack.wait_for_connections()
        await slack.say(other, GENERAL, "a build has failed")
        ts = await slack.say(other, GENERAL, f"{slack.mention} a build has failed")
        assert "offline" in await slack.answer(GENERAL, ts)
    assert len([each for each in slack.messages(GENERAL) if each.from_bot]) == 1


async def test_the_bot_never_answers_itself_even_when_it_is_listed(
    storage: dict[str, Any], slack: Slack
) -> None:
    """It hears all that it posts, in a thread in which it takes part, and in the history."""
    own = f"slack:{BOT_USER},slack:{BOT}"
    async with run_bot(**storage, **of_slack(slack), allowed_bots=own):
        await slack.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} hello")
        await slack.answer(GENERAL, ts)
        await slack.wait_until_settled()
        ts = await slack.say(ALICE, GENERAL, "and again", thread_ts=ts)
        await slack.answer(GENERAL, slack.message(GENERAL, ts).root)
        await slack.wait_until_settled()
    assert len([each for each in slack.messages(GENERAL) if each.from_bot]) == 2
