"""A change that needs an approval, as the model orders it and as users see the request."""

import re
from typing import Any

from bot.agent.spotlighting import unmark
from tests.servers.model import ModelServer, Script
from tests.servers.slack.service import GENERAL, Slack
from tests.support.wait import wait_until

TAKE = "UPDATE shelf SET stock = stock - 1 WHERE id <= 2"
ASK = Script(tool_calls=[("sql_execute", {"statement": TAKE})])
TAKEN = {"apples": 9, "pears": 19, "plums": 30}
UNTOUCHED = {"apples": 10, "pears": 20, "plums": 30}


def request_in(text: str) -> str:
    """The name of the request that a text asks to decide."""
    found = re.search(r"approve ([0-9a-f]{8})", text)
    assert found, text
    return found[1]


def command_in(text: str, verb: str = "approve") -> str:
    """The command that a text asks to write, with the word that confirms it."""
    found = re.search(rf"`({verb} [0-9a-f]{{8}} \d{{4}})", text)
    assert found, text
    return found[1]


def tool_results(model: ModelServer) -> list[str]:
    """The tool results that the model was shown last, without the marks of data."""
    return [unmark(each["content"]) for each in model.requests[-1]["messages"] if each["role"] == "tool"]


async def request_message(slack: Slack, ts: str) -> Any:
    """The message with the buttons in that thread, once it is there."""
    await wait_until(lambda: any(map(buttons_of, slack.bot_replies(GENERAL, ts))), "leave is asked")
    return next(each for each in slack.bot_replies(GENERAL, ts) if buttons_of(each))


_OF_ANSWERS = {"regenerate", "details"}
"""Buttons below each answer, which decide nothing."""


def buttons_of(message: Any) -> list[str]:
    """The buttons of a request."""
    return [each for each in _actions(message) if each not in _OF_ANSWERS]


def shows_request(message: Any) -> bool:
    """Return whether a message asks, or asked, for a decision: it has blocks, and is not an answer."""
    return bool(message.blocks) and _OF_ANSWERS.isdisjoint(_actions(message))


def _actions(message: Any) -> list[str]:
    return [
        element["action_id"]
        for block in message.blocks or ()
        if block["type"] == "actions"
        for element in block["elements"]
    ]
