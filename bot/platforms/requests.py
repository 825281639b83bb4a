"""Requests on a chat platform: decisions and answers by button, and the messages that show a request."""

import asyncio
import logging
from collections.abc import Callable

from bot.chat import MOST_REASON, Approval, InboxLookup, Json, Question, Request, StorageDown
from bot.commands import approval_texts, question_texts
from bot.commands.approval_texts import NOT_FOR_EXTERNAL, NOT_STORED
from bot.commands.commands import Commands
from bot.commands.decisions import Chooser

log = logging.getLogger(__name__)

APPROVE, REJECT = "approve", "reject"
"""Ids of the two buttons of an approval request."""

ANSWER = "answer"
"""First part of the ids of a question's buttons and menu."""

_PATIENCE_SECONDS = 2.0
"""Longest time to look a request up before its form opens: platforms wait for 3 seconds."""


async def decide(
    commands: Commands,
    request: str,
    by: str,
    *,
    approve: bool,
    name: str,
    is_external: bool,
    reason: str = "",
) -> str:
    """Store the decision of a user who pressed a button; return the answer for this user only."""
    if approve and is_external:
        return NOT_FOR_EXTERNAL
    try:
        decided = await commands.decide(request, by, approve=approve, reason=reason[:MOST_REASON], name=name)
    except StorageDown as error:
        log.warning("decision not stored", extra={"error": str(error)})
        return NOT_STORED
    return decided.words


async def choose(commands: Commands, request: str, answer: int | str, by: Chooser) -> str:
    """Store a user's answer to a question, an option or words; return the answer for this user only."""
    try:
        decided = await commands.choose(request, answer, by)
    except StorageDown as error:
        log.warning("answer not stored", extra={"error": str(error)})
        return question_texts.NOT_STORED
    return decided.words


async def find_waiting(
    commands: Commands, id: str, kind: type[Approval] | type[Question]
) -> Approval | Question | str:
    """Return a request that waits, for a form about it, or the sentence for its user that says why not."""
    is_approval = kind is Approval
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = await commands.find_request(id)
    except (StorageDown, TimeoutError) as error:
        log.warning("request not read", extra={"error": repr(error)})
        return NOT_STORED if is_approval else question_texts.NOT_STORED
    match found:
        case Approval() if is_approval:
            return found if found.state == "asked" else approval_texts.too_late(found)
        case Question() if not is_approval:
            return found if found.state == "asked" else question_texts.too_late(found)
        case _:
            return approval_texts.unknown_request(id) if is_approval else question_texts.UNKNOWN


async def find_request(request: Request, lookup: InboxLookup) -> Json:
    """Return the message that shows a request, from the receipt of its turn; None if it is not known."""
    receipt = await lookup.receipt_of(request.asked_in) or {}
    message = receipt.get("extras", {}).get(request.id)
    if message is None:
        log.warning("request message not found", extra={"request": request.id})
    return message


def has_name(approval: Approval, platform: str) -> Callable[[str], bool]:
    """Return a function that tells whether an author can be named: users of the platform always can."""
    return lambda author: author.startswith(f"{platform}:") or author in approval.names
