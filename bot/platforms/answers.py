"""Buttons below an answer on a chat platform: their ids, and what a press does."""

import logging
from collections.abc import Awaitable

from bot.chat import Message, PressRefused, StorageDown, Vote
from bot.commands import answer_texts
from bot.commands.answers import OrderAnswer
from bot.commands.commands import Commands

log = logging.getLogger(__name__)

RATE, REGENERATE, DETAILS, REASON = "rate", "regenerate", "details", "reason"
"""Ids of the buttons, and of the form for a reason."""


async def rate(commands: Commands, answer: str, press: Message, vote: Vote) -> str:
    """Store a vote; return nothing, or a sentence if there is none."""
    if commands.answers is None:
        return answer_texts.FORGOTTEN
    return await _words(commands.answers.rate(answer, press, vote), answer_texts.NOT_RATED)


async def explain(commands: Commands, answer: str, by: str, reason: str) -> str:
    """Store the reason of a vote; return nothing, or a sentence if it is not stored."""
    if commands.answers is None:
        return answer_texts.FORGOTTEN
    return await _words(commands.answers.explain(answer, by, reason), answer_texts.REASON_NOT_STORED)


async def describe(commands: Commands, answer: str, press: Message) -> str:
    """Return the details of an answer, for the user who asks only."""
    if commands.answers is None:
        return answer_texts.FORGOTTEN
    return await _words(commands.answers.describe(answer, press), answer_texts.NOT_STORED)


async def regenerate(commands: Commands, answer: str, press: Message) -> str:
    """Order another answer; return a sentence for the user who has pressed the button only."""
    if commands.answers is None:
        return answer_texts.NOT_KNOWN
    return await _words(commands.answers.regenerate(answer, press), answer_texts.NOT_STORED)


async def _words(effect: Awaitable[OrderAnswer | str | None], failure: str) -> str:
    """Await the effect of a press; return the words about it, `failure` if the store does not answer."""
    try:
        outcome = await effect
    except PressRefused as refusal:
        return str(refusal)
    except StorageDown as error:
        log.warning("press without effect", extra={"error": str(error)})
        return failure
    return outcome.words if isinstance(outcome, OrderAnswer) else outcome or ""
