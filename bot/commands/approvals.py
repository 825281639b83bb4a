"""Texts of approval requests and the protocol of decisions, the same on every platform."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from bot.chat import SIGN, Approval, Message, ThreadId, TypedDecision, harmless, platform_info
from bot.chat.text import one_line

_MOST_REASON = 200
"""Most characters of a reason that are shown; the model receives all of it."""

MOST_NAMES = 5
"""Most approvers that are named; there may be more."""

_MOST_NAME = 60
"""Most characters of a display name."""

_TWO_OF_THREE = re.compile("``(?=`)")
"""Two backticks before a third: three would end a code block, on Discord anywhere in a line."""


@dataclass(frozen=True, slots=True)
class DecisionAnswer:
    """Reply to a user who decides. `thread` is set if there is a decision, also of another user."""

    words: str
    thread: ThreadId | None = None
    is_known: bool = True


class Decisions(Protocol):
    """Decisions about approval requests. Both methods raise `StorageDown`."""

    async def decide(
        self, id: str, by: str, *, approve: bool, reason: str = "", name: str = ""
    ) -> DecisionAnswer:
        """Take the decision of a user who sees the request, if they are authorised.

        `id` is the request's; `by` is the user (an author as in `Message`, with the display name `name`).
        """

    async def decide_in_words(self, order: TypedDecision, message: Message) -> str:
        """Take a typed decision; return the reply.

        If the decision is ambiguous, or the request is not shown there, the reply shows the request and asks
        for a confirmation.
        """


def unknown_request(id: str) -> DecisionAnswer:
    """Return the reply for an unknown request."""
    return DecisionAnswer(
        f"There is no open request `{id}`. It may have expired: ask for it again.", is_known=False
    )


Name = Callable[[str], str]
"""Function that returns the display form of an author."""


def named(approval: Approval, author: str) -> str:
    """Return an author's display name for a place without mentions, never the id of the account."""
    name = harmless(approval.names.get(author, ""))
    letters = (each if each.isalnum() or each in "-.'\u2019" else " " for each in name)
    return one_line("".join(letters))[:_MOST_NAME] or f"somebody {_place(author)}"


def _place(author: str) -> str:
    return platform_info(author.partition(":")[0]).location


def approvers_of(approval: Approval, name: Name, is_named: Callable[[str], bool]) -> str:
    """Return the approvers in words: up to `MOST_NAMES` names, and the number of others."""
    known = [name(each) for each in approval.approvers if is_named(each)][:MOST_NAMES]
    others = counted(each for each in approval.approvers if not is_named(each))
    return " or ".join([*known, *others])


def counted(authors: Iterable[str]) -> list[str]:
    """Return the number of approvers on each platform, in words."""
    places = Counter(_place(each) for each in authors)
    return [
        f"{'an approver' if many == 1 else f'{many} approvers'} {place}" for place, many in places.items()
    ]


def described(approval: Approval, name: Name | None = None) -> str:
    """Return the action, its effect and its requesters, as Markdown."""
    action = _TWO_OF_THREE.sub("``\u200b", approval.action)
    language = approval.language if approval.language.isalnum() else ""
    return f"{headline(approval, name)}\n\n```{language}\n{action}\n```"


def headline(approval: Approval, name: Name | None = None, bold: str = "**") -> str:
    """Return a request's title, effect and requesters in one line of Markdown, without the action."""
    name = name or partial(named, approval)
    asked_by = " and ".join(dict.fromkeys(name(each) for each in approval.askers[:MOST_NAMES]))
    who = f" Asked for by {asked_by}." if asked_by else ""
    return f"{SIGN} {bold}{harmless(approval.title)}?{bold} {harmless(approval.effect)}{who}"


def asked(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return a request as Markdown, with its approvers or the decision; `where` typed decisions count."""
    return f"{described(approval, name)}\n{standing(approval, name, is_named, where)}"


def standing(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return the approvers of a request, or its decision, as a sentence."""
    name = name or partial(named, approval)
    match approval.state:
        case "asked":
            who = approvers_of(approval, name, is_named or approval.names.__contains__)
            who = who or "a user whom the operator adds to APPROVERS"
            return (
                f"{who[0].upper()}{who[1:]} can press a button, or write `approve {approval.id}` or "
                f"`reject {approval.id} why` {where}."
            )
        case "expired":
            return "⌛ Nobody decided this in time."
        case verdict:
            mark = "✅" if verdict == "approved" else "🚫"
            reason = harmless(one_line(approval.reason)[:_MOST_REASON])
            reason = f": {reason}" if reason else "."
            return f"{mark} {verdict.capitalize()} by {name(approval.by)}{reason}"
