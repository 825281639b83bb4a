"""Buttons below an answer on a chat platform: their ids, and what a press does."""

import logging

from bot.chat import Message, StorageDown, Vote
from bot.commands import answer_texts
from bot.commands.commands import Commands

log = logging.getLogger(__name__)

RATE, REGENERATE, DETAILS, REASON = "rate", "regenerate", "details", "reason"
"""Ids of the buttons, and of the form for a reason."""


async def rate(commands: Commands, answer: str, by: str, vote: Vote, reason: str = "") -> str:
    """Store a vote and its reason; return nothing, or a sentence if that failed."""
    try:
        if commands.answers:
            await commands.answers.rate(answer, by, vote, reason)
    except StorageDown as error:
        log.warning("feedback not stored", extra={"error": str(error)})
        return answer_texts.REASON_NOT_STORED if reason else answer_texts.NOT_RATED
    return ""


async def describe(commands: Commands, answer: str) -> str:
    """Return the details of an answer, for the user who asks only."""
    try:
        return await commands.answers.describe(answer) if commands.answers else answer_texts.FORGOTTEN
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
