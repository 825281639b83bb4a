"""Replies to users who decide on a request; each shows the request. Pure."""

from dataclasses import replace

from bot.chat import Approval, TypedDecision
from bot.chat.text import one_line
from bot.commands.approvals import approvers_of, described, named

_MOST_QUOTED = 120
"""Most characters of the text after a command that are quoted."""


def taken(approval: Approval) -> str:
    """Return the reply to a decision that counts."""
    first = {"approved": "Approved.", "rejected": "Rejected."}.get(
        approval.state, "This request has expired."
    )
    return f"{first}\n\n{_shown(approval)}"


def too_late(approval: Approval) -> str:
    """Return the reply to a decision that comes after another one, for users who can see that one."""
    match approval.state:
        case "asked":
            first = "This request has just been decided."
        case "expired":
            first = "This request expired before anybody decided. Ask for it again if you still need it."
        case verdict:
            first = f"This request was already {verdict} by {named(approval, approval.by)}."
    return f"{first}\n\n{_shown(approval)}"


def read_back(approval: Approval, order: TypedDecision, word: str, *, is_above: bool = False) -> str:
    """Return the request with instructions, for a user who has not seen it or whose words were not clear.

    `word` confirms a decision where the request is not shown; it is empty where it is. `is_above`: the thread
    has the request, but it may be far above.
    """
    command = f"{approval.id} {word}".strip()
    where = "may be far above, and you did not reply to it" if is_above else "was shown in another place"
    why = f"this request {where}" if word else ""
    if quoted := one_line(order.rest.replace("`", "'"), _MOST_QUOTED):
        unclear = f"you wrote “{quoted}” after the command"
        why = f"{why}, and {unclear}" if why else unclear
    return (
        f"Nothing is decided yet: {why}. This is the request:\n\n{_shown(approval)}\n\n"
        f"To approve exactly this, write `approve {command}` and nothing else, or a reason after a colon. "
        f"To reject it, write `reject {command} why`."
    )


def refusal(approval: Approval) -> str:
    """Return the reply to a user who is not an approver."""
    return f"You cannot decide on this request.{_ask(approval)}"


def refusal_of_asker(approval: Approval) -> str:
    """Return the reply to a requester if somebody else has to approve."""
    return f"This is your own request, so somebody else has to approve it.{_ask(approval)}"


def _shown(approval: Approval) -> str:
    """Return the request in a code block without a language, which not every place of a reply supports."""
    return described(replace(approval, language=""))


def _ask(approval: Approval) -> str:
    who = approvers_of(approval, lambda author: named(approval, author), approval.names.__contains__)
    return (
        f" Ask {who}."
        if who
        else " There are no approvers at the moment: ask the bot's operator to set APPROVERS."
    )
