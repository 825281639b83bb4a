"""Answers to those who decide about a request; each shows what the request is. Pure."""

from dataclasses import replace

from bot.chat import Approval, TypedDecision
from bot.chat.text import one_line
from bot.commands.approvals import approvers_of, described, named

_MOST_QUOTED = 120
"""Characters of what somebody wrote after a command that are read back."""


def taken(approval: Approval) -> str:
    """The answer to a decision that counts."""
    first = {"approved": "Approved.", "rejected": "Rejected."}.get(
        approval.state, "Too late: this has expired."
    )
    return f"{first}\n\n{_shown(approval)}"


def too_late(approval: Approval) -> str:
    """The answer to a decision that does not count, since there is one, for those who may see it."""
    match approval.state:
        case "asked":
            first = "This has just been decided."
        case "expired":
            first = "This expired before anybody decided it. Ask again."
        case verdict:
            first = f"This was already {verdict} by {named(approval, approval.by)}."
    return f"{first}\n\n{_shown(approval)}"


def read_back(approval: Approval, order: TypedDecision, word: str, *, is_above: bool = False) -> str:
    """The request, for somebody who has not seen it there or whose words were not clear, and how to go on.

    `word` confirms a decision where the request is not shown; it is empty where it is. `is_above`: the thread
    has the request, but it may be far above.
    """
    command = f"{approval.id} {word}".strip()
    where = "may be far above, and you did not reply to it" if is_above else "is shown in another place"
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
    """The answer to somebody who is no approver."""
    return f"You may not decide this.{_ask(approval)}"


def refusal_of_asker(approval: Approval) -> str:
    """The answer to somebody who has asked for it, where somebody else has to approve."""
    return f"You asked for this yourself, so somebody else has to approve it.{_ask(approval)}"


def _shown(approval: Approval) -> str:
    """The request, in a block without a language: not everywhere that a press is answered knows any."""
    return described(replace(approval, language=""))


def _ask(approval: Approval) -> str:
    who = approvers_of(approval, lambda author: named(approval, author), approval.names.__contains__)
    return f" Ask {who}." if who else " Nobody can at the moment: ask the bot's operator to set APPROVERS."
