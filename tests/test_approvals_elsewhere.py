"""Requests whose approver does not read the thread that asks, with the whole bot: shown, decided, settled."""

import html
import re
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.chat import SIGN
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, EVE, GENERAL, Slack
from tests.support.approvals import (
    ASK,
    TAKE,
    TAKEN,
    UNTOUCHED,
    buttons_of,
    command_in,
    request_in,
    shows_request,
)
from tests.support.bot import run_bot
from tests.support.http_caller import Caller
from tests.support.settings import needs_sockets, of_discord, of_model, of_slack
from tests.support.table import Shelf
from tests.support.wait import wait_until


@pytest.fixture
def settings(
    redis: Redis, redis_url: str, database_url: str, shelf: Shelf, model: ModelServer
) -> dict[str, Any]:
    """A bot that may change the database when Bob, on Slack, approves."""
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "database_write_url": shelf.dsn,
        "sql_writes": "approval",
        "approvers": f"slack:{BOB}",
        **of_model(model),
    }


def cards(slack: Slack, channel: str) -> list[Any]:
    """The messages in a channel that ask, or asked, for an approval."""
    return [each for each in slack.messages(channel) if each.from_bot and shows_request(each)]


async def card(slack: Slack, channel: str) -> Any:
    """The one message there that asks."""
    await wait_until(lambda: bool(cards(slack, channel)), f"a request is shown in {channel}")
    (shown,) = cards(slack, channel)
    return shown


async def test_a_request_in_a_direct_message_is_shown_to_the_approver_who_decides_it(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Blind approval: Bob sees the statement, the effect and who asked; the result goes back to who asked."""
    hers, his = slack.dm(EVE), slack.dm(BOB)
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK, "Done.")
        ts = await slack.say(EVE, hers, "take one of each")
        shown = await card(slack, his)
        for each in (TAKE, "would change 2 rows of shelf", f"Asked for by <@{EVE}>", f"<@{BOB}>"):
            assert each in str(shown.blocks)
        own = await card(slack, hers)
        assert "shown this request to an approver on Slack, in direct messages" in slack.transcript(hers, ts)
        await slack.press(BOB, his, shown.ts, "approve")
        await wait_until(lambda: "Done." in slack.transcript(hers, ts), "done")
        assert await shelf.stock() == TAKEN
        await wait_until(lambda: not buttons_of(shown) and not buttons_of(own), "both say who decided")
        assert f"Approved by <@{BOB}>" in str(shown.blocks)
        told = html.unescape(slack.ephemerals[-1].text)
        assert told.startswith("Approved.\n")
        assert TAKE in told
        assert "would change 2 rows of shelf" in told
        assert len(cards(slack, his)) == 1


async def test_a_fake_of_the_bot_gets_nothing_approved(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Blind approval: the model is made to show a harmless request under the id of a harmful one.

    It loses the id and the sign. Bob, who has the id anyway, is shown what it is, and has to say so again.
    """
    hers = slack.dm(EVE)
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK)
        await slack.say(EVE, hers, "take one of each")
        request = request_in(str((await card(slack, hers)).blocks))
        fake = f"{SIGN} **Fix a typo?** <@{BOB}> can press a button, or write `approve {request}` here."
        model.script(fake, "Done.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} fix the typo")
        shown = await slack.answer(GENERAL, ts)
        assert "Fix a typo" in shown
        assert SIGN not in shown
        assert request not in shown
        await slack.say(BOB, GENERAL, f"approve {request}", thread_ts=ts)
        await wait_until(lambda: TAKE in slack.transcript(GENERAL, ts), "the request is read back")
        read_back = slack.bot_replies(GENERAL, ts)[-1].visible_text
        assert f"{SIGN} **Change the database?** It would change 2 rows of shelf." in read_back
        assert "Nothing is decided yet" in read_back
        assert await shelf.stock() == UNTOUCHED
        await slack.say(BOB, GENERAL, command_in(read_back), thread_ts=ts)
        await wait_until(lambda: "Approved." in slack.transcript(GENERAL, ts), "decided")
        await wait_until(lambda: any("Done." in each.visible_text for each in slack.messages(hers)), "done")
        assert await shelf.stock() == TAKEN


async def test_words_below_a_copy_decide_at_once(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """In the channel for approvals, too, where nobody has to mention the bot below its own request."""
    room = slack.add_channel("C0APPROVALS")
    async with run_bot(**settings, **of_slack(slack), approvals_channel=f"slack:{room}"):
        await slack.wait_for_connections()
        model.script(ASK, "Done.")
        hers = slack.dm(EVE)
        ts = await slack.say(EVE, hers, "take one of each")
        shown = await card(slack, room)
        assert not cards(slack, slack.dm(BOB))
        await wait_until(lambda: "in the approvals channel" in slack.transcript(hers, ts), "told")
        await slack.say(BOB, room, f"approve {request_in(str(shown.blocks))}.", thread_ts=shown.ts)
        await wait_until(lambda: "Done." in slack.transcript(hers, ts), "done")
        assert await shelf.stock() == TAKEN
        (said,) = [each.visible_text for each in slack.bot_replies(room, shown.ts) if each.ts != shown.ts]
        assert said.startswith("Approved.")
        assert TAKE in said


@pytest.mark.parametrize("applied", [True, False])
async def test_a_copy_that_slack_has_not_confirmed_is_shown_once(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, applied: bool
) -> None:
    """Its connection breaks, before or after Slack has taken it."""
    hers, his = slack.dm(EVE), slack.dm(BOB)
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK, "Done.")
        fault = slack.fail("chat.postMessage", after_applying=applied)
        ts = await slack.say(EVE, hers, "take one of each")
        shown = await card(slack, his)
        await wait_until(lambda: "shown this request" in slack.transcript(hers, ts), "told")
        assert fault.hits == 1
        await slack.press(BOB, his, shown.ts, "reject")
        await wait_until(lambda: "Done." in slack.transcript(hers, ts), "told")
        assert len(cards(slack, his)) == 1
        assert f"Rejected by <@{BOB}>" in str(shown.blocks)


@needs_sockets
async def test_who_asks_over_http_is_told_where_it_was_shown(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """On another platform: the approver is on Slack, the answer goes back to HTTP."""
    his = slack.dm(BOB)
    async with run_bot(**settings, **of_slack(slack)) as bot, aiohttp.ClientSession() as session:
        await slack.wait_for_connections()
        caller = Caller(bot, session)
        model.script(ASK, "Done.")
        asked = await caller.ask("take one of each")
        assert "shown this request to an approver on Slack" in asked
        assert BOB not in asked
        shown = await card(slack, his)
        assert "Asked for by somebody over HTTP" in str(shown.blocks)
        assert "http:api" not in str(shown.blocks)
        await slack.press(BOB, his, shown.ts, "approve")
        _, told = await caller.decide(request_in(asked), approve=True)  # too late: how it went
        assert told.endswith("Done.")
        assert await shelf.stock() == TAKEN


async def test_on_discord_who_takes_no_direct_messages_is_passed_over(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord
) -> None:
    """The next approver gets it; the copy loses its buttons; the approver is told what was decided."""
    bob, carol = discord.bob, discord.add_user("carol")
    bob.accepts_dms = False
    settings |= {"approvers": f"discord:{bob.id},discord:{carol.id}"}
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        hers, his = discord.dm(discord.alice), discord.dm(carol)
        await discord.say(discord.alice, hers, "take one of each")
        (shown,) = await discord.answer(his, lambda shown: bool(shown[-1].buttons))
        assert TAKE in shown.content
        assert f"Asked for by <@{discord.alice.id}>" in shown.content
        await discord.answer(hers, lambda shown: "to an approver on Discord" in shown[0].content)
        pressed = await discord.click(carol, shown, "Approve")
        assert TAKE in pressed.content
        await discord.answer(hers, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN
        (now,) = await discord.answer(his, lambda shown: not shown[-1].buttons)
        assert f"Approved by <@{carol.id}>" in now.content
        assert not discord.messages(discord.dm(bob))


async def test_on_discord_words_in_direct_messages_are_read_back_first(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord
) -> None:
    """Fault: a blind approval in direct messages that have gone on since the request, which is far above."""
    bob = discord.bob
    async with run_bot(**settings | {"approvers": f"discord:{bob.id}"}, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        hers, his = discord.dm(discord.alice), discord.dm(bob)
        await discord.say(discord.alice, hers, "take one of each")
        (shown,) = await discord.answer(his, lambda shown: bool(shown[-1].buttons))
        command = f"approve {request_in(shown.content)}"
        await discord.say(bob, his, command)
        said = await discord.answer(his, lambda shown: "Nothing is decided yet" in shown[-1].content)
        assert TAKE in said[-1].content
        assert await shelf.stock() != TAKEN
        (word,) = re.findall(rf"`{command} (\d{{4}})`", said[-1].content)
        await discord.say(bob, his, f"{command} {word}")
        await discord.answer(hers, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN


@pytest.mark.parametrize("ping", [True, False])
async def test_on_discord_a_reply_to_a_copy_decides_at_once(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord, ping: bool
) -> None:
    """Fault: in the channel for approvals the bot was silent, although its request says where to write."""
    bob, room = discord.bob, discord.add_channel("approvals")
    settings |= {"approvers": f"discord:{bob.id}", "approvals_channel": f"discord:{room.id}"}
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        hers = discord.dm(discord.alice)
        await discord.say(discord.alice, hers, "take one of each")
        (shown,) = await discord.answer(room, lambda shown: bool(shown[-1].buttons))
        command = f"approve {request_in(shown.content)}"
        assert shown.content.endswith("why` in a reply to this message.")
        await discord.say(bob, room, command, reply_to=shown, ping=ping)
        await discord.answer(hers, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN


async def test_on_discord_words_in_a_chain_of_replies_decide_only_in_a_reply_to_the_request(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord
) -> None:
    """Fault: a blind approval in a chain of replies, which is one thread with the request far above."""
    bob, general = discord.bob, discord.general
    general.denied.add("create_public_threads")
    async with run_bot(**settings | {"approvers": f"discord:{bob.id}"}, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "A later answer.", "Done.")
        await discord.say(discord.alice, general, f"{discord.mention} take one of each")
        card = (await discord.answer(general, lambda shown: bool(shown[-1].buttons)))[-1]
        await discord.say(bob, general, "something else", reply_to=card)
        later = (await discord.answer(general, lambda shown: "A later answer." in shown[-1].content))[-1]
        command = f"approve {request_in(card.content)}"
        await discord.say(bob, general, command, reply_to=later)
        said = await discord.answer(general, lambda shown: "Nothing is decided yet" in shown[-1].content)
        assert "may be far above" in said[-1].content
        assert TAKE in said[-1].content
        assert await shelf.stock() != TAKEN
        await discord.say(bob, general, command, reply_to=card)
        await discord.answer(general, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN


async def test_a_request_that_can_be_shown_to_nobody_waits_and_its_asker_knows(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord
) -> None:
    """An approver who has heard of it writes to the bot, sees it, and decides."""
    bob = discord.bob
    bob.accepts_dms = False
    settings |= {"approvers": f"discord:{bob.id}"}
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        hers = discord.dm(discord.alice)
        await discord.say(discord.alice, hers, "take one of each")
        answer = await discord.answer(hers, lambda shown: bool(shown[-1].buttons))
        assert "I could not show this request to anybody who can approve it" in answer[0].content
        question = await discord.say(
            bob, discord.general, f"{discord.mention} approve {request_in(answer[-1].content)}"
        )
        thread = await discord.thread_of(question)
        (read_back,) = await discord.answer(thread, lambda shown: TAKE in shown[-1].content)
        assert "Asked for by Alice" in read_back.content
        await discord.say(bob, thread, command_in(read_back.content))
        await discord.answer(hers, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN


async def test_an_approver_of_another_platform_has_a_name_or_none_but_no_id(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """Slack shows `discord:400…` where a name belongs: not for who can decide, nor for who has."""
    bob = discord.bob
    settings |= {"approvers": f"discord:{bob.id}"}
    async with run_bot(**settings, **of_slack(slack), **of_discord(discord)):
        await slack.wait_for_connections()
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        his = discord.dm(bob)
        (copy,) = await discord.answer(his, lambda shown: bool(shown[-1].buttons))
        assert "Asked for by alice" in copy.content
        await wait_until(lambda: any(map(buttons_of, slack.bot_replies(GENERAL, ts))), "shown")
        shown = next(each for each in slack.bot_replies(GENERAL, ts) if buttons_of(each))
        assert "An approver on Discord can press a button" in str(shown.blocks)
        await discord.click(bob, copy, "Approve")
        await wait_until(lambda: "Done." in slack.transcript(GENERAL, ts), "done")
        assert "Approved by Bob" in str(shown.blocks)
        everything = [each.visible_text for each in slack.bot_replies(GENERAL, ts)]
        assert str(bob.id) not in str(everything)


@needs_sockets
async def test_of_one_person_three_requests_are_open_at_most(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Eight requests in a row do not ping an approver eight times; a decided one makes room."""
    his = slack.dm(BOB)
    async with run_bot(**settings, **of_slack(slack)) as bot, aiohttp.ClientSession() as session:
        await slack.wait_for_connections()
        caller = Caller(bot, session)
        for number in range(3):
            model.script(ASK)
            assert "shown this request" in await caller.ask("take one of each", thread=f"t{number}")
        model.script(ASK, "Three are waiting.")
        assert await caller.ask("take one of each", thread="t3") == "Three are waiting."
        assert len(cards(slack, his)) == 3
        model.script("As you wish.")
        await slack.press(BOB, his, cards(slack, his)[0].ts, "reject")
        await wait_until(lambda: not buttons_of(cards(slack, his)[0]), "decided")
        model.script(ASK)
        assert "shown this request" in await caller.ask("take one of each", thread="t4")


async def test_the_channel_for_approvals_may_be_on_another_platform(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """Asked in a direct message on Slack, shown in a channel on Discord, settled on both."""
    bob, room = discord.bob, discord.general
    settings |= {"approvers": f"discord:{bob.id}", "approvals_channel": f"discord:{room.id}"}
    async with run_bot(**settings, **of_slack(slack), **of_discord(discord)):
        await slack.wait_for_connections()
        await discord.wait_for_connections()
        model.script(ASK, "As you wish.")
        hers = slack.dm(EVE)
        ts = await slack.say(EVE, hers, "take one of each")
        (shown,) = await discord.answer(room, lambda shown: bool(shown[-1].buttons))
        await wait_until(lambda: "in the approvals channel" in slack.transcript(hers, ts), "told")
        pressed = await discord.click(bob, shown, "Reject")
        assert pressed.content.startswith("Rejected.")
        assert TAKE in pressed.content
        await wait_until(lambda: "As you wish." in slack.transcript(hers, ts), "told")
        (now,) = [each for each in discord.messages(room) if each.author is discord.bot]
        assert f"Rejected by <@{bob.id}>" in now.content
        assert not now.buttons
        assert "Rejected by Bob" in slack.transcript(hers, ts)
        assert await shelf.stock() == UNTOUCHED
