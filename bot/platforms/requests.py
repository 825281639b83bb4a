"""Requests on a chat platform: decisions and answers by button, and the messages that show a request."""

import logging
from collections.abc import Callable

from bot.chat import Approval, InboxLookup, Json, Request, StorageDown
from bot.commands import question_texts
from bot.commands.approval_texts import NOT_FOR_EXTERNAL, NOT_STORED
from bot.commands.commands import Commands
from bot.commands.decisions import Chooser

log = logging.getLogger(__name__)

APPROVE, REJECT = "approve", "reject"
"""Ids of the two buttons of an approval request."""

ANSWER = "answer"
"""First part of the ids of a question's buttons and menu."""


async def decide(
    commands: Commands, request: str, by: str, *, approve: bool, name: str, is_external: bool
) -> str:
    """Store the decision of a user who pressed a button; return the answer for this user only."""
    if approve and is_external:
        return NOT_FOR_EXTERNAL
    try:
        decided = await commands.decide(request, by, approve=approve, name=name)
    except StorageDown as error:
        log.warning("decision not stored", extra={"error": str(error)})
        return NOT_STORED
    return decided.words


async def choose(commands: Commands, request: str, option: int, by: Chooser) -> str:
    """Store the answer of a user who pressed a button of a question; return the answer for this user only."""
    try:
        decided = await commands.choose(request, option, by)
    except StorageDown as error:
        log.warning("answer not stored", extra={"error": str(error)})
        return question_texts.NOT_STORED
    return decided.words


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
