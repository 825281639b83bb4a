"""A change of the database with the whole bot: asked for in a chat, decided by a person, done once."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import Intervals
from bot.inbox import queries
from bot.main import PLATFORMS
from tests.servers.discord.service import Discord
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, EVE, GENERAL, Slack
from tests.support.approvals import (
    ASK,
    TAKE,
    TAKEN,
    UNTOUCHED,
    buttons_of,
    command_in,
    request_in,
    request_message,
    tool_results,
)
from tests.support.bot import run_bot
from tests.support.http_caller import Caller
from tests.support.settings import of_discord, of_model, of_slack
from tests.support.table import Shelf
from tests.support.wait import wait_until


@pytest.fixture
def settings(
    redis: Redis, redis_url: str, database_url: str, shelf: Shelf, model: ModelServer
) -> dict[str, Any]:
    """A bot that may change the database when Bob or Alice (on HTTP: the caller) approves."""
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "database_write_url": shelf.dsn,
        "sql_writes": "approval",
        "approvers": f"slack:{ALICE},slack:{BOB},http:api",
        **of_model(model),
    }


async def test_nothing_is_changed_before_a_person_approves_and_then_it_is_once(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """Over HTTP: the statement and its effect are shown, approval runs it, the model says what came of it."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, "Done.")
        asked = await caller.ask("take one of each")
        assert TAKE in asked
        assert "would change 2 rows of shelf" in asked
        assert await shelf.stock() == UNTOUCHED
        request = request_in(asked)
        status, told = await caller.decide(request, approve=True)
        assert (status, told.endswith("Done.")) == (200, True)
        assert "Approved by you" in told
        assert TAKE in told
        assert "http:api" not in asked + told
        assert await shelf.stock() == TAKEN
        assert tool_results(model) == ["A person approved this, and it was done: 2 rows."]
        (entry,) = await shelf.ledger()
        assert (entry["request"], entry["rows"], entry["approved_by"]) == (request, 2, "http:api")
        assert "Done." in (await caller.decide(request, approve=False))[1]  # too late: told what was decided
        assert await shelf.stock() == TAKEN


async def test_a_rejection_is_told_to_the_model_with_its_reason(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """Typed, since a button has no room for a reason; nothing runs, and nothing can run any more.

    In another thread than the one that shows it, once the request has been shown there.
    """
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, "Then I leave it.")
        request = request_in(await caller.ask("take one of each"))
        read_back = await caller.ask(f"reject {request}: stocktaking today", thread="another")
        assert TAKE in read_back
        command = command_in(read_back, "reject")
        rejected = await caller.ask(f"{command}: stocktaking today", thread="another")
        assert rejected.startswith("Rejected.\n")
        assert TAKE in rejected
        status, told = await caller.decide(request, approve=True)
        assert (status, told.endswith("Then I leave it.")) == (200, True)
        assert "The reason: stocktaking today" in tool_results(model)[0]
        assert await shelf.stock() == UNTOUCHED
        assert await shelf.ledger() == []


async def test_over_http_what_is_no_clear_approval_is_read_back(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """In the thread that asks, as on the page; clear words then decide, decorated as they may be."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, "Done.")
        request = request_in(await caller.ask("take one of each"))
        for doubt in (" ?", " — no wait, don't", f"\nreject {request}"):
            read_back = await caller.ask(f"approve {request}{doubt}")
            assert "Nothing is decided yet" in read_back
            assert TAKE in read_back
        assert await shelf.stock() == UNTOUCHED
        assert (await caller.ask(f"**`approve {request}`**.")).startswith("Approved.\n")
        await wait_until(lambda: len(model.requests) == 2, "the model is told")
        assert await shelf.stock() == TAKEN


@pytest.mark.parametrize("thread", ["t", "another"])
async def test_what_was_done_is_told_also_when_the_model_fails_afterwards(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, thread: str
) -> None:
    """Else a person would ask for it again. The memory knows it, too."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, Script(status=400))
        request = request_in(await caller.ask("take one of each"))
        status, told = await caller.decide(request, approve=True)
        assert status == 502
        assert "The approved change was carried out: 2 rows." in told
        assert "refused this request" in told
        assert await shelf.stock() == TAKEN
        model.script("Good.")
        await caller.ask("and now?", thread)
        sent = str(model.requests[-1]["messages"])
        assert ("was carried out: 2 rows" in sent) == (thread == "t")
        assert "has been requested" not in sent


async def test_a_stop_while_it_is_carried_out_does_not_hide_that_it_was(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """The change waits for a lock when the stop comes; it is made, and everybody is told so."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK)
        request = request_in(await caller.ask("take one of each"))
        async with shelf.owner.transaction():
            await shelf.owner.execute("SELECT FROM shelf WHERE id = 1 FOR UPDATE")
            deciding = asyncio.create_task(caller.decide(request, approve=True))

            async def waits() -> bool:
                return bool(await shelf.owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

            await wait_until(waits, "the change waits for the lock")
            assert await caller.ask("!stop") == "Stopped."
        _, told = await deciding
        assert "The approved change was carried out: 2 rows." in told
        assert told.endswith("Stopped.")
        assert await shelf.stock() == TAKEN


async def test_what_stands_beside_a_change_is_not_lost(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """It is refused, so that the model calls it again, rather than wait with the request or vanish."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        both = [("sql_execute", {"statement": TAKE}), ("sql_query", {"query": "SELECT 1"})]
        model.script(Script(tool_calls=both), "Done.")
        request = request_in(await caller.ask("take one of each"))
        await caller.decide(request, approve=True)
        told = "\n".join(tool_results(model))
        assert "A person approved this, and it was done" in told
        assert "Make this call on its own" in told


async def test_the_conversation_goes_on_while_a_request_waits(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """The model knows that it waits; the approval still counts, and its result comes at the end."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, "It is sunny.", "Both are done.")
        request = request_in(await caller.ask("take one of each"))
        assert await caller.ask("and the weather?") == "It is sunny."
        (waiting,) = tool_results(model)
        assert "has been requested" in waiting
        assert (await caller.decide(request, approve=True))[1].endswith("Both are done.")
        assert tool_results(model)[-1] == "A person approved this, and it was done: 2 rows."
        assert "has been requested" not in str(model.requests[-1]["messages"])  # it is decided
        assert await shelf.stock() == TAKEN


async def test_an_approval_is_for_one_request_only(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """The next one in the same thread waits for a decision of its own."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        again = Script(tool_calls=[("sql_execute", {"statement": "DELETE FROM shelf WHERE id = 3"})])
        model.script(ASK, again, "Good.")
        first = request_in(await caller.ask("take one of each, then remove the plums"))
        second = request_in((await caller.decide(first, approve=True))[1].partition("Approved by")[2])
        assert second != first
        assert await shelf.stock() == TAKEN
        assert (await caller.decide(second, approve=True))[1].endswith("Good.")
        assert await shelf.stock() == {"apples": 9, "pears": 19}


async def test_each_request_needs_its_own_decision_in_whatever_process(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """A decision that another process has carried out does not answer the request after it."""
    again = Script(tool_calls=[("sql_execute", {"statement": "DELETE FROM shelf WHERE id = 3"})])
    model.script(ASK, again, "Not yet.", "Good.")
    async with aiohttp.ClientSession() as session:
        async with run_bot(**settings) as bot:
            first = request_in(await Caller(bot, session).ask("take one of each, then remove the plums"))
        async with run_bot(**settings) as bot:
            told = (await Caller(bot, session).decide(first, approve=True))[1]
            second = request_in(told.partition("Approved by")[2])
        async with run_bot(**settings) as bot:
            caller = Caller(bot, session)
            assert await caller.ask("is it done?") == "Not yet."
            assert await shelf.stock() == TAKEN
        async with run_bot(**settings) as bot:
            assert (await Caller(bot, session).decide(second, approve=True))[1].endswith("Good.")
    assert await shelf.stock() == {"apples": 9, "pears": 19}


async def test_what_changed_since_it_was_asked_is_not_done(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """A person approved two rows; one is gone meanwhile."""
    async with run_bot(**settings) as bot, aiohttp.ClientSession() as session:
        caller = Caller(bot, session)
        model.script(ASK, "Shall I look again?")
        request = request_in(await caller.ask("take one of each"))
        await shelf.owner.execute("DELETE FROM shelf WHERE id = 2")
        await caller.decide(request, approve=True)
        assert "would now change 1 row, not 2" in tool_results(model)[0]
        assert await shelf.stock() == {"apples": 10, "plums": 30}
        assert await shelf.ledger() == []


async def test_a_request_that_nobody_decides_expires(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """The buttons go, the model is told, and who presses later changes nothing."""
    often = Intervals(expire=0.1)
    async with run_bot(PLATFORMS, often, **settings, **of_slack(slack), approval_hours=0.5 / 3600):
        await slack.wait_for_connections()
        model.script(ASK, "Nobody was there.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
        await wait_until(lambda: "Nobody was there." in slack.transcript(GENERAL, ts), "told")
        assert "Nobody decided this in time" in str(asked.blocks)
        assert not buttons_of(asked)
        assert "Nobody approved this in time" in tool_results(model)[0]
        assert await shelf.stock() == UNTOUCHED


async def test_a_press_on_slack_decides_and_the_message_says_who_did(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Eve may not; Bob may. The statement is shown as it is, and the buttons are gone afterwards."""
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK, "Done.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
        assert TAKE in str(asked.blocks)
        assert f"<@{BOB}>" in str(asked.blocks)
        await slack.press(EVE, GENERAL, asked.ts, "approve")
        await wait_until(lambda: bool(slack.ephemerals), "told")
        assert "You cannot decide on this request" in slack.ephemerals[-1].text
        assert await shelf.stock() == UNTOUCHED
        await slack.press(BOB, GENERAL, asked.ts, "approve")
        await wait_until(lambda: "Done." in slack.transcript(GENERAL, ts), "done")
        assert await shelf.stock() == TAKEN
        assert f"Approved by <@{BOB}>" in str(asked.blocks)
        assert not buttons_of(asked)
        await wait_until(lambda: not slack.unfinished(), "nothing looks busy")


async def test_a_press_on_discord_decides_and_the_message_says_who_did(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord
) -> None:
    """The approver is notified, whoever else presses is told why not, and the buttons go."""
    bob = discord.bob
    settings |= {"approvers": f"discord:{bob.id}"}
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        question = await discord.say(discord.alice, discord.general, f"{discord.mention} take one of each")
        thread = await discord.thread_of(question)
        shown = await discord.answer(thread, lambda shown: bool(shown[-1].buttons))
        asked = shown[-1]
        assert TAKE in asked.content
        refused = await discord.click(discord.alice, asked, "Approve")
        assert "You cannot decide on this request" in refused.content
        assert await shelf.stock() == UNTOUCHED
        pressed = await discord.click(bob, asked, "Approve")
        assert "Approved." in pressed.content
        await discord.answer(thread, lambda shown: "Done." in shown[-1].content)
        assert await shelf.stock() == TAKEN
        now = next(each for each in discord.messages(thread) if each.id == asked.id)
        assert f"Approved by <@{bob.id}>" in now.content
        assert not now.buttons


@pytest.mark.parametrize("place", ["answer", "direct messages"])
async def test_a_private_question_on_discord_never_waits_for_an_approval_that_nobody_can_give(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, discord: Discord, place: str
) -> None:
    """The private answer has buttons, and each approver a message of their own; the answer stays private."""
    alice = discord.alice
    settings |= {"approvers": f"discord:{alice.id}"}
    async with run_bot(**settings, **of_discord(discord)):
        await discord.wait_for_connections()
        model.script(ASK, "Done.")
        options = {"question": "take one of each", "private": True}
        asked = await discord.command("ask", options=options)
        await wait_until(lambda: TAKE in asked.content, "it is asked")
        assert asked.original
        assert "`approve" not in asked.content, "nobody can write there"
        [copy] = await discord.answer(discord.dm(alice), lambda shown: bool(shown[-1].buttons))
        await discord.click(alice, asked.original if place == "answer" else copy, "Approve")
        await wait_until(lambda: asked.content.endswith("Done."), "the answer goes on")
        assert await shelf.stock() == TAKEN
        assert not asked.original.buttons
        assert f"Approved by <@{alice.id}>" in discord.messages(discord.dm(alice))[-1].content
        assert [each for each in discord.messages(discord.general) if not each.ephemeral] == []


async def test_a_question_that_is_edited_takes_its_request_back(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """The old wording can be approved no more; the new one is asked for."""
    plums = Script(tool_calls=[("sql_execute", {"statement": "DELETE FROM shelf WHERE id = 3"})])
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK, plums, "As you wish.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
        slack.edit(GENERAL, ts, f"{slack.mention} remove the plums")
        await wait_until(lambda: not buttons_of(asked), "the first request is taken back")
        assert f"Rejected by <@{ALICE}>: the original message was edited" in str(asked.blocks)
        await wait_until(lambda: "As you wish." in slack.transcript(GENERAL, ts), "the model is told")
        second = await request_message(slack, ts)
        assert "DELETE FROM shelf WHERE id = 3" in str(second.blocks)
        assert await shelf.stock() == UNTOUCHED


async def test_what_is_asked_for_after_its_question_was_edited_is_taken_back(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, redis: Redis
) -> None:
    """Fault: an edit while the answer is under way left a request of the old wording to be approved."""
    gate = asyncio.Event()
    late = Script(tool_calls=[("sql_execute", {"statement": TAKE})], gate=gate)
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(late, "I leave it.", "It was taken back.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        await wait_until(lambda: len(model.requests) == 1, "the answer is under way")
        slack.edit(GENERAL, ts, f"{slack.mention} leave all as it is")
        await wait_until(lambda: _waits(redis, "leave all as it is"), "the edit is taken")
        gate.set()
        reason = f"Rejected by <@{ALICE}>: the original message was edited or deleted"
        await wait_until(
            lambda: any(reason in str(each.blocks) for each in slack.bot_replies(GENERAL, ts)), "taken back"
        )
        await wait_until(lambda: "It was taken back." in slack.transcript(GENERAL, ts), "the model is told")
        assert not any(map(buttons_of, slack.bot_replies(GENERAL, ts)))
        assert await shelf.stock() == UNTOUCHED


async def _waits(redis: Redis, text: str) -> bool:
    return any(each.text == text for each in await queries.unanswered_messages(redis))


async def test_two_people_on_two_platforms_make_one_decision(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, discord: Discord
) -> None:
    """Bob approves on Slack, and at the same moment bob rejects on Discord, by its name."""
    settings |= {"approvers": f"slack:{BOB},discord:{discord.bob.id}"}
    async with run_bot(**settings, **of_slack(slack), **of_discord(discord)):
        await asyncio.gather(slack.wait_for_connections(), discord.wait_for_connections())
        model.script(ASK, "That is settled.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
        request = request_in(str(asked.blocks))
        direct = discord.dm(discord.bob)
        await discord.say(discord.bob, direct, f"reject {request}")
        (read_back,) = await discord.answer(direct, lambda shown: bool(shown))
        await asyncio.gather(
            slack.press(BOB, GENERAL, asked.ts, "approve"),
            slack.press(BOB, GENERAL, asked.ts, "approve"),
            discord.say(discord.bob, direct, command_in(read_back.content, "reject")),
        )
        await wait_until(lambda: "That is settled." in slack.transcript(GENERAL, ts), "decided")
        await discord.answer(direct, lambda shown: len(shown) == 2)
        said = [each.content for each in discord.messages(direct) if each.author.bot][-1]
        approved = await shelf.stock() == TAKEN
        assert ("Approved by" in str(asked.blocks)) == approved
        assert said.startswith("Rejected.\n") == (not approved)
        assert len(await shelf.ledger()) == approved
        assert len(model.requests) == 2


async def test_four_eyes_see_more_than_two(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """An approver who asked cannot approve their own request; another one can."""
    async with run_bot(**settings, **of_slack(slack), approval_four_eyes=True):
        await slack.wait_for_connections()
        model.script(ASK, "Done.")
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
        assert f"<@{ALICE}>" not in str([each for each in asked.blocks if each["type"] == "context"])
        await slack.press(ALICE, GENERAL, asked.ts, "approve")
        await wait_until(lambda: bool(slack.ephemerals), "told")
        assert "somebody else has to approve it" in slack.ephemerals[-1].text
        assert await shelf.stock() == UNTOUCHED
        await slack.press(BOB, GENERAL, asked.ts, "approve")
        await wait_until(lambda: "Done." in slack.transcript(GENERAL, ts), "done")
        assert await shelf.stock() == TAKEN


@pytest.mark.parametrize("how", ["pressed", "typed"])
async def test_a_request_outlives_the_process(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack, how: str
) -> None:
    """Asked by one process, decided when another one runs: by its button, or in words elsewhere."""
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script(ASK)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} take one of each")
        asked = await request_message(slack, ts)
    async with run_bot(**settings, **of_slack(slack)):
        await slack.wait_for_connections()
        model.script("Done.")
        if how == "pressed":
            await slack.press(BOB, GENERAL, asked.ts, "approve")
        else:
            direct = slack.dm(BOB)
            elsewhere = await slack.say(BOB, direct, f"approve {request_in(str(asked.blocks))}")
            await wait_until(lambda: TAKE in slack.transcript(direct, elsewhere), "read back")
            await slack.say(BOB, direct, command_in(slack.transcript(direct, elsewhere)))
        await wait_until(lambda: "Done." in slack.transcript(GENERAL, ts), "done")
        assert await shelf.stock() == TAKEN
        assert not buttons_of(asked)


def of_nobody(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("sql_writes", "approvers")}


async def test_without_sql_writes_there_is_no_such_tool(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer
) -> None:
    """It is off unless it is switched on."""
    async with run_bot(**of_nobody(settings)) as bot, aiohttp.ClientSession() as session:
        model.script(ASK, "I cannot.")
        assert await Caller(bot, session).ask("take one of each") == "I cannot."
        assert "There is no tool 'sql_execute'" in tool_results(model)[0]
        assert await shelf.stock() == UNTOUCHED
