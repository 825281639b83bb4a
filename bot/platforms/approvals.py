"""Approval requests on a chat platform: decisions by button, and the messages that show a request."""

import logging
from collections.abc import Callable

from bot.chat import Approval, InboxLookup, Json, StorageDown
from bot.commands.commands import NOT_FOR_EXTERNAL, Commands

log = logging.getLogger(__name__)

APPROVE, REJECT = "approve", "reject"
"""Ids of the two buttons of a request."""


async def decide(
    commands: Commands, request: str, by: str, *, approve: bool, name: str, is_external: bool
) -> str:
    """Take the decision of a user who pressed a button; return the answer for that user alone."""
    if approve and is_external:
        return NOT_FOR_EXTERNAL
    try:
        decided = await commands.decide(request, by, approve=approve, name=name)
    except StorageDown as error:
        log.warning("a decision was not taken", extra={"error": str(error)})
        return "That could not be taken just now. Please press the button again in a moment."
    return decided.words


async def find_request(approval: Approval, lookup: InboxLookup) -> Json:
    """Return the message that shows a request, as the receipt of its turn names it; None if not known."""
    receipt = await lookup.receipt_of(approval.asked_in) or {}
    message = receipt.get("extras", {}).get(approval.id)
    if message is None:
        log.warning("the message of a request is not known", extra={"request": approval.id})
    return message


def has_name(approval: Approval, platform: str) -> Callable[[str], bool]:
    """Return a function that tells whether an author can be named: all those of the platform can."""
    return lambda author: author.startswith(f"{platform}:") or author in approval.names
