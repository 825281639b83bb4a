"""Tools that read, search and find people, on both platforms, with a model that obeys every order."""

from collections.abc import Sequence
from typing import Any

import pytest

from bot.chat import PastMessage
from bot.chat.text import unnamed_user
from bot.tools.archive import describe_found
from tests.servers.discord.records import Message as DiscordMessage
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, GENERAL, Message, Slack
from tests.support.bot import run_bot
from tests.support.obedient_model import obey, order
from tests.support.settings import of_discord, of_slack

OTHER, PRIVATE = "C0OTHER", "C0PRIVATE"


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the obedient model, which finds no order in a context."""
    model.respond = obey
    return {**storage, "openai_api_key": KEY, "openai_base_url": model.base_url, "context_messages": 0}


def write(slack: Slack, user: str, text: str, channel: str, root: str | None = None) -> str:
    """Put a message into a channel that the bot gets no event of; return its `ts`."""
    ts = slack.workspace.new_ts()
    slack.workspace.add(Message(channel=channel, ts=ts, user=user, text=text, thread_ts=root))
    return ts


async def ask(slack: Slack, text: str, channel: str = GENERAL) -> str:
    mention = "" if channel.startswith("D") else f"{slack.mention} "
    ts = await slack.say(ALICE, channel, mention + text)
    return await slack.answer(channel, ts)


def results(model: ModelServer) -> str:
    """Return what the tools have told the model in the newest request."""
    return "\n".join(each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool")


async def test_messages_of_channels_are_read_as_far_as_the_asker_and_the_readers_can(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """In a channel, what is in a private one is not told, even to a member; in a direct message it is."""
    slack.add_channel(OTHER)
    slack.add_channel(PRIVATE, "group", [ALICE, BOT_USER])
    plan = write(slack, BOB, "The plan is green.", OTHER)
    write(slack, ALICE, "Rather blue.", OTHER, plan)
    write(slack, ALICE, "The secret is 4711.", PRIVATE)
    link = f"https://test.slack.com/archives/{OTHER}/p{plan.replace('.', '')}"
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("read_messages", link_or_thread=link))
        assert "bob: The plan is green." in results(model)
        assert "alice: Rather blue." in results(model)
        assert link in results(model)
        await ask(slack, order("read_messages", link_or_thread="#other", limit=5))
        assert "bob: The plan is green." in results(model)
        await ask(slack, order("read_messages", link_or_thread="private"))
        assert "4711" not in results(model)
        assert "it is in a private channel" in results(model)
        await ask(slack, order("read_messages", link_or_thread="private"), slack.dm(ALICE))
        assert "4711" in results(model)


async def test_slack_is_searched_in_the_channels_of_the_asker(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.add_channel(OTHER)
    slack.add_channel("C0BOBS", members=[BOB, BOT_USER])
    write(slack, BOB, "The zeppelin budget is 4711.", OTHER)
    write(slack, BOB, "Another zeppelin budget is 4712.", "C0BOBS")
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("search_messages", query="budget ZEPPELIN"))
        assert "bob: The zeppelin budget is 4711." in results(model)
        assert "4712" not in results(model)
        await ask(slack, order("find_person", name="bo"))
    assert "Found 1 person:\n- bob, also Bob (Europe/Berlin)" in results(model).replace("> ", "")


async def test_nobody_is_found_where_people_of_another_organisation_read_the_answer(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: names, titles and time zones of all members were told there."""
    slack.workspace.channels[GENERAL].is_shared = True
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("find_person", name="bo"))
    assert "people of another organisation read the answer" in results(model)
    assert not slack.count("users.list")


async def test_slack_searches_itself_where_it_can(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """It finds what is public, with a token of the event; private channels are read in direct messages."""
    slack.workspace.has_search = True
    slack.add_channel(OTHER, members=[BOB])
    slack.add_channel(PRIVATE, "group", [ALICE, BOT_USER])
    write(slack, BOB, f"The zeppelin budget of <@{BOB}> is 4711.", OTHER)
    write(slack, ALICE, "The secret zeppelin budget is 4712.", PRIVATE)
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("search_messages", query="zeppelin budget"))
        assert "bob: The zeppelin budget of @bob is 4711." in results(model)
        assert f"https://test.slack.com/archives/{OTHER}/p" in results(model)
        assert "4712" not in results(model)
        assert not slack.count("users.conversations")
        await ask(slack, order("search_messages", query="zeppelin budget"), slack.dm(ALICE))
        assert "4711" in results(model)
        assert "alice: The secret zeppelin budget is 4712." in results(model)


async def test_who_wrote_what_slack_has_found_has_no_id_for_a_name(
    storage: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    slack.workspace.has_search = True
    slack.tolerate("missing_scope")
    slack.web_api.scopes.remove("users:read")
    slack.add_channel(OTHER, members=[BOB])
    write(slack, BOB, "The zeppelin budget is 4711.", OTHER)
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("search_messages", query="zeppelin budget"))
    assert f"{unnamed_user(f'slack:{BOB}')}: The zeppelin budget is 4711." in results(model)
    assert BOB not in results(model)


async def test_without_the_scope_of_slacks_search_the_newest_messages_are_searched(
    storage: dict[str, Any], slack: Slack, model: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is optional at the installation; the log says which one is missing."""
    caplog.set_level("INFO")
    slack.workspace.has_search = True
    slack.tolerate("missing_scope")
    slack.web_api.scopes.remove("search:read.public")
    slack.add_channel(OTHER)
    write(slack, BOB, "The zeppelin budget is 4711.", OTHER)
    async with run_bot(**storage, **of_slack(slack)):
        await slack.wait_for_connections()
        await ask(slack, order("search_messages", query="zeppelin"))
    assert "bob: The zeppelin budget is 4711." in results(model)
    (line,) = [each for each in caplog.records if each.message == "search not available"]
    assert "lacks the scope search:read.public" in vars(line)["error"]


def is_done(messages: Sequence[DiscordMessage]) -> bool:
    return any(word in messages[-1].content for word in ("RESULT", "HEARD"))


async def test_discord_is_read_and_searched_as_far_as_the_asker_and_the_readers_can(
    storage: dict[str, Any], discord: Discord, model: ModelServer
) -> None:
    other = discord.add_channel("other")
    private = discord.add_channel("private", only_for=[discord.alice])
    plan = await discord.say(discord.bob, other, "The plan is green.")
    secret = await discord.say(discord.bob, private, "The secret is 4711.")

    async def ask(text: str) -> None:
        asked = await discord.say(discord.alice, discord.general, f"{discord.mention} {text}")
        await discord.answer(await discord.thread_of(asked), is_done)

    def link(message: DiscordMessage) -> str:
        return f"https://discord.com/channels/{discord.guild.id}/{message.channel.id}/{message.id}"

    async with run_bot(**storage, **of_discord(discord)):
        await discord.wait_for_connections()
        await ask(order("read_messages", link_or_thread=link(plan)))
        assert "Bob: The plan is green." in results(model)
        assert link(plan) in results(model)
        await ask(order("read_messages", link_or_thread=link(secret)))
        assert "4711" not in results(model)
        await ask(order("search_messages", query="green", channel=link(plan)))
        assert "Bob: The plan is green." in results(model)
        await ask(order("find_person", name="bo"))
    assert "- Bob, also bob" in results(model)


def test_a_search_keeps_its_best_results_when_they_are_too_long() -> None:
    """Fault: the last ones were kept, which match the least."""
    found = [PastMessage(id=f"m{n}", author="bob", text=f"{n} {'x' * 900}", sent_at=n) for n in range(20)]
    first, *lines, last = describe_found(found).splitlines()
    assert first == "Found 20 messages:"
    assert last == "[Further messages are left out.]"
    assert [line.split()[4] for line in lines] == [str(n) for n in range(len(lines))]
    assert 5 < len(lines) < 20
