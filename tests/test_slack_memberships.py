"""Channels of users on Slack: seldom listed, and nobody reads what they could not read when they asked."""

from typing import Any

import pytest

from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, CAROL, GENERAL, Message, Slack
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack

PLANS, MORE, PRIVATE = "C0PLANS", "C0MORE", "C0PRIVATE"
NO_ACCESS = "you do not seem to have access to its channel"


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer, slack: Slack) -> dict[str, Any]:
    """Settings of the bot; the model answers each request with one word."""
    model.respond = lambda _: "Understood."
    return {**storage, **of_model(model), **of_slack(slack)}


def write(slack: Slack, channel: str, text: str) -> str:
    """Write in a channel, of which the bot gets no event; return the link to the message."""
    ts = slack.workspace.new_ts()
    slack.workspace.add(Message(channel=channel, ts=ts, user=BOB, text=text))
    return f"https://test.slack.com/archives/{channel}/p{ts.replace('.', '')}"


async def ask(slack: Slack, text: str, channel: str = GENERAL, user: str = ALICE) -> str:
    mention = "" if channel.startswith("D") else f"{slack.mention} "
    ts = await slack.say(user, channel, mention + text)
    answer = await slack.answer(channel, ts)
    await slack.wait_until_settled()
    return answer


async def test_the_channels_of_a_user_are_listed_once_for_the_links_of_a_minute(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Of one message, which are read side by side, and of later ones in channels. Each user has a list."""
    links = [write(slack, slack.add_channel(each), f"In {each} it is green.") for each in (PLANS, MORE)]
    async with run_bot(**settings):
        await slack.wait_for_connections()
        for _ in range(2):
            assert await ask(slack, f"what of {links[0]} and {links[1]} ?") == "Understood."
            for each in (PLANS, MORE):
                assert f"In {each} it is green." in str(model.requests[-1])
        assert slack.count("users.conversations") == 1
        await ask(slack, f"what of {links[0]} ?", user=CAROL)
    assert slack.count("users.conversations") == 2


async def test_a_user_reads_a_channel_at_once_when_they_have_joined_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    link = write(slack, slack.add_channel(PLANS, members=[BOB, BOT_USER]), "The plan is green.")
    async with run_bot(**settings):
        await slack.wait_for_connections()
        assert NO_ACCESS in await ask(slack, f"what of {link} ?")
        slack.workspace.channels[PLANS].members.add(ALICE)
        assert await ask(slack, f"what of {link} ?") == "Understood."
    assert "The plan is green." in str(model.requests[-1])


async def test_who_has_left_a_private_channel_reads_nothing_more_of_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """In direct messages, where private channels are read, the list is made after each question."""
    link = write(slack, slack.add_channel(PRIVATE, "group", [ALICE, BOT_USER]), "The secret is 4711.")
    async with run_bot(**settings):
        await slack.wait_for_connections()
        direct = slack.dm(ALICE)
        assert await ask(slack, f"what of {link} ?", direct) == "Understood."
        assert "4711" in str(model.requests[-1])
        slack.workspace.channels[PRIVATE].members.discard(ALICE)
        assert NO_ACCESS in await ask(slack, f"what of {link} ?", direct)
    assert "4711" not in str(model.requests[-1])


async def test_a_guest_who_has_left_a_public_channel_reads_nothing_more_of_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Guests read only the channels that they are in."""
    slack.describe(ALICE, is_restricted=True)
    link = write(slack, slack.add_channel(PLANS), "The plan is green.")
    async with run_bot(**settings, allow_external="all"):
        await slack.wait_for_connections()
        assert await ask(slack, f"what of {link} ?") == "Understood."
        slack.workspace.channels[PLANS].members.discard(ALICE)
        assert NO_ACCESS in await ask(slack, f"what of {link} ?")
    assert "green" not in str(model.requests[-1])
