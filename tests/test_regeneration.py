"""Another answer in place of the last one: what is taken back, and what never runs a second time unasked."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from redis.asyncio import Redis

from bot.agent import prompts
from bot.agent.regeneration import end_of_question, place_of, without_answer
from bot.agent.waiting import request_of
from bot.commands import answer_texts
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import ALICE, BOB, GENERAL, Slack
from tests.support.answers import SlackPlace, answered
from tests.support.approvals import ASK, TAKEN, UNTOUCHED, request_message, tool_results
from tests.support.bot import run_bot
from tests.support.settings import of_model
from tests.support.table import Shelf
from tests.support.wait import wait_until


def asked(id: str) -> HumanMessage:
    return HumanMessage("?", id=id)


def called(call: str, tool: str) -> AIMessage:
    return AIMessage("", id=f"calls {call}", tool_calls=[{"name": tool, "args": {}, "id": call}])


def result(call: str, tool: str) -> ToolMessage:
    return ToolMessage("42", id=f"result_{call}", tool_call_id=call, name=tool)


def said(id: str) -> AIMessage:
    return AIMessage("!", id=id)


READ: list[AnyMessage] = [called("r", "sql_query"), result("r", "sql_query")]
CHANGED: list[AnyMessage] = [called("c", "sql_execute"), result("c", "sql_execute")]
AGAIN: list[AnyMessage] = [called("decided_0a", "sql_execute"), result("decided_0a", "sql_execute")]


@pytest.mark.parametrize(
    ("messages", "question", "end"),
    [
        ([asked("1"), said("a")], "1", 0),
        ([asked("1"), *READ, said("a")], "1", 0),
        ([asked("1"), said("a"), asked("2"), asked("3"), *READ, said("b")], "2", 3),
        ([asked("1"), said("a"), asked("2"), said("b")], "1", None),
        ([asked("1:2"), said("a")], "1", 0),  # a replayed message
        ([asked("1"), *CHANGED, said("a")], f"decision:{request_of('c')}", 2),
        ([asked("1"), *CHANGED, *READ, said("a")], f"decision:{request_of('c')}", 2),
        ([asked("1"), said("a"), *AGAIN, said("b")], "decision:0a", 3),
        ([asked("1"), *CHANGED, said("a"), asked("2"), said("b")], f"decision:{request_of('c')}", None),
        ([said("a")], "1", None),
        ([], "1", None),
    ],
)
def test_an_answer_begins_after_the_question_or_after_the_last_decision(
    messages: list[AnyMessage], question: str, end: int | None
) -> None:
    """Nothing is taken back where a newer turn follows."""
    assert end_of_question(messages, question, ["sql_execute"]) == end


def test_an_answer_is_taken_back_once() -> None:
    """With its calls that wait for nobody any more; the mark tells a repeated attempt that it is done."""
    messages: list[AnyMessage] = [asked("1"), *READ, said("a")]
    state: Any = {"messages": messages, "proposals": {"r": {}, "other": {}}}
    update = without_answer(state, "1", "order", [])
    marked, *removed = update["messages"]
    assert (marked.id, place_of([marked], "order")) == ("1", 0)
    assert [type(each) for each in removed] == [RemoveMessage] * 3
    assert [each.id for each in removed] == ["calls r", "result_r", "a"]
    assert update["proposals"] == {"other": {}}
    again: Any = {"messages": [marked, said("b")]}
    assert without_answer(again, "1", "order", []) == {}


@pytest.fixture
def settings(
    redis: Redis, redis_url: str, database_url: str, shelf: Shelf, model: ModelServer
) -> dict[str, Any]:
    """A bot that may change the database when Bob approves."""
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "database_write_url": shelf.dsn,
        "sql_writes": "approval",
        "approvers": f"slack:{BOB}",
        **of_model(model),
    }


async def test_a_change_that_was_approved_is_not_made_again(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Only what the model says of it is new: it still sees the result."""
    place = SlackPlace(slack)
    async with run_bot(**settings, **place.settings):
        await place.connect()
        model.script(ASK, "Done.", "It is done.")
        await place.ask("take one of each")
        request = await request_message(slack, place.root)
        await slack.press(BOB, GENERAL, request.ts, "approve")
        await wait_until(lambda: "Done." in slack.transcript(GENERAL, place.root), "the change is made")
        await slack.wait_until_settled()
        assert await shelf.stock() == TAKEN
        number = next(at for at, text in enumerate(place.answers()) if "Done." in text)
        await place.press("alice", "regenerate", number)
        await wait_until(lambda: "It is done." in slack.transcript(GENERAL, place.root), "another answer")
        await slack.wait_until_settled()
    assert await shelf.stock() == TAKEN
    assert tool_results(model) == ["A person approved this, and it was done: 2 rows."]
    assert "'Done.'" not in str(model.requests[-1]["messages"])


async def test_another_answer_asks_again_before_it_changes_anything(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """It has no buttons while it waits; the final answer has."""
    place = SlackPlace(slack)
    async with run_bot(**settings, **place.settings):
        await place.connect()
        model.script("I will not.", ASK, "Now I have.")
        await place.ask("take one of each")
        await answered(place, "I will not.")
        await place.press("alice", "regenerate")
        request = await request_message(slack, place.root)
        assert await shelf.stock() == UNTOUCHED
        await slack.press(BOB, GENERAL, request.ts, "approve")
        await wait_until(lambda: "Now I have." in slack.transcript(GENERAL, place.root), "the answer")
        await slack.wait_until_settled()
        with_buttons = [text for at, text in enumerate(place.answers()) if "regenerate" in place.buttons(at)]
        assert len(with_buttons) == 2
        assert "Now I have." in with_buttons[-1]
    assert await shelf.stock() == TAKEN


async def test_another_answer_to_an_edited_question_can_change_something_when_approved(
    settings: dict[str, Any], shelf: Shelf, model: ModelServer, slack: Slack
) -> None:
    """Its request is about the wording that was answered, which is still the newest one."""
    place = SlackPlace(slack)
    async with run_bot(**settings, **place.settings):
        await place.connect()
        model.script("I will not.", "Nor will I.", ASK, "Now I have.")
        await place.ask("take one")
        await answered(place, "I will not.")
        slack.edit(GENERAL, place.root, f"{slack.mention} take one of each")
        await answered(place, "Nor will I.", 2)
        await place.press("alice", "regenerate")
        request = await request_message(slack, place.root)
        await slack.press(BOB, GENERAL, request.ts, "approve")
        await wait_until(lambda: "Now I have." in slack.transcript(GENERAL, place.root), "the answer")
        await slack.wait_until_settled()
    assert await shelf.stock() == TAKEN


async def test_an_answer_without_memory_can_be_regenerated(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """With ENABLE_MEMORY=false each question has a memory of its own, which the other answer shares."""
    place = SlackPlace(slack)
    async with run_bot(**storage, **of_model(model), **place.settings, enable_memory=False):
        await place.connect()
        model.script("First.", "Second.", "Third.")
        await place.ask("tell me a story")
        await answered(place, "First.")
        for number, text in ((2, "Second."), (3, "Third.")):
            await place.press("bob", "regenerate")
            await answered(place, text, number)
            assert "First." not in str(model.requests[-1]["messages"])
            assert "tell me a story" in str(model.requests[-1]["messages"])


async def test_a_question_of_a_guest_stays_limited_whoever_orders_another_answer(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """Else a member's press would run what the guest was not allowed to."""
    place = SlackPlace(slack)
    slack.describe(ALICE, is_restricted=True)
    async with run_bot(**storage, **of_model(model), **place.settings, allow_external="chat"):
        await place.connect()
        model.script("First.", Script(tool_calls=[("sql_query", {"query": "select 1"})]), "Second.")
        await place.ask("which tables are there?")
        await answered(place, "First.")
        await place.press("bob", "regenerate")
        await answered(place, "Second.", 2)
    offered = [tool["function"]["name"] for tool in model.requests[1]["tools"]]
    assert "sql_query" not in offered
    assert tool_results(model) == [prompts.NOT_OFFERED]


async def test_a_question_that_was_deleted_is_not_answered_again(
    storage: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """The model does not get it again, and the user reads why."""
    place = SlackPlace(slack)
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        model.respond = lambda _: "First."
        await place.ask("tell me a story")
        await answered(place, "First.")
        slack.remove(GENERAL, place.root)
        await slack.wait_until_settled()
        assert await place.press("bob", "regenerate") == answer_texts.DELETED
    assert len(model.requests) == 1
