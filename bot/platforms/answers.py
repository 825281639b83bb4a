"""Buttons below an answer on a chat platform: their ids, and what a press does."""

import logging

from bot.chat import Message, PressRefused, StorageDown, Vote
from bot.commands import answer_texts
from bot.commands.commands import Commands

log = logging.getLogger(__name__)

RATE, REGENERATE, DETAILS, REASON = "rate", "regenerate", "details", "reason"
"""Ids of the buttons, and of the form for a reason."""


async def rate(commands: Commands, answer: str, press: Message, vote: Vote) -> str:
    """Store a vote; return nothing, or a sentence if there is none."""
    try:
        if commands.answers:
            await commands.answers.rate(answer, press, vote)
    except PressRefused as refusal:
        return str(refusal)
    except StorageDown as error:
        log.warning("feedback not stored", extra={"error": str(error)})
        return answer_texts.NOT_RATED
    return ""


async def explain(commands: Commands, answer: str, by: str, reason: str) -> str:
    """Store the reason of a vote; return nothing, or a sentence if it is not stored."""
    try:
        if commands.answers:
            await commands.answers.explain(answer, by, reason)
    except PressRefused as refusal:
        return str(refusal)
    except StorageDown as error:
        log.warning("feedback not stored", extra={"error": str(error)})
        return answer_texts.REASON_NOT_STORED
    return ""


async def describe(commands: Commands, answer: str, press: Message) -> str:
    """Return the details of an answer, for the user who asks only."""
    if commands.answers is None:
        return answer_texts.FORGOTTEN
    try:
        return await commands.answers.describe(answer, press)
    except PressRefused as refusal:
        return str(refusal)
    except StorageDown as error:
        log.warning("details not read", extra={"error": str(error)})
        return answer_texts.NOT_STORED


async def regenerate(commands: Commands, answer: str, press: Message) -> str:
    """Order another answer; return a sentence for the user who has pressed the button only."""
    if commands.answers is None:
        return answer_texts.NOT_KNOWN
    try:
        return (await commands.answers.regenerate(answer, press)).words
    except StorageDown as error:
        log.warning("regeneration not ordered", extra={"error": str(error)})
        return answer_texts.NOT_STORED
