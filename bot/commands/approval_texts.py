"""Sentences about approval requests, the same on every platform, in the order in which users meet them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from bot.chat import SIGN, Approval, Request, TextDecision, harmless, platform_info
from bot.chat.text import one_line

_MOST_REASON = 200
"""Most characters of a reason that are shown; the model receives all of it."""

MOST_NAMES = 5
"""Most approvers that are named; there may be more."""

_MOST_NAME = 60
"""Most characters of a display name."""

_MOST_QUOTED = 120
"""Most characters of the text after a command that are quoted."""

_TWO_OF_THREE = re.compile("``(?=`)")
"""Two backticks before a third: three would end a code block, on Discord anywhere in a line."""

APPROVE, REJECT = "Approve", "Reject"
"""Labels of the two buttons of a request."""

REJECT_WITH_REASON = "Reject with a reason"
FORM_REASON = "Why? Those who asked will read it."
"""Label of the button for a form, its title, and the label of its field; Discord takes 45 characters."""

IN_REPLY = "in a reply to this message"
"""Place where a typed decision counts, on a platform without a thread for every request."""

QUESTION_EDITED = "the original message was edited"
QUESTION_DELETED = "the original message was deleted"
QUESTION_CHANGED = "the original message was edited or deleted"
"""Reasons of a rejection that nobody has typed."""

Name = Callable[[str], str]
"""Function that returns the display form of an author."""


def display_name(request: Request, author: str) -> str:
    """Return an author's display name for a place without mentions, never the id of the account."""
    name = harmless(request.names.get(author, ""))
    letters = (each if each.isalnum() or each in "-.'\u2019" else " " for each in name)
    return one_line("".join(letters))[:_MOST_NAME] or f"somebody {_place(author)}"


def _place(author: str) -> str:
    return platform_info(author.partition(":")[0]).location


def approvers_of(approval: Approval, name: Name, is_named: Callable[[str], bool]) -> str:
    """Return the approvers in words: up to `MOST_NAMES` names, and the number of others."""
    known = [name(each) for each in approval.approvers if is_named(each)][:MOST_NAMES]
    others = _count_by_platform(each for each in approval.approvers if not is_named(each))
    return " or ".join([*known, *others])


def _count_by_platform(authors: Iterable[str]) -> list[str]:
    """Return the number of approvers on each platform, in words."""
    places = Counter(_place(each) for each in authors)
    return [
        f"{'an approver' if many == 1 else f'{many} approvers'} {place}" for place, many in places.items()
    ]


def action_text(approval: Approval, name: Name | None = None) -> str:
    """Return the action, its effect and its requesters, as Markdown."""
    return f"{headline(approval, name)}\n\n{statement(approval)}"


def statement(approval: Approval) -> str:
    """Return the whole action in a code block, which nothing in it can end."""
    action = _TWO_OF_THREE.sub("``\u200b", approval.action)
    language = approval.language if approval.language.isalnum() else ""
    return f"```{language}\n{action}\n```"


def headline(approval: Approval, name: Name | None = None, bold: str = "**") -> str:
    """Return a request's title, effect and requesters in one line of Markdown, without the action."""
    name = name or partial(display_name, approval)
    asked_by = " and ".join(dict.fromkeys(name(each) for each in approval.askers[:MOST_NAMES]))
    who = f" Asked for by {asked_by}." if asked_by else ""
    return f"{SIGN} {bold}{harmless(approval.title)}?{bold} {harmless(approval.effect)}{who}"


def request_text(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return a request as Markdown, with its approvers or the decision.

    `where` typed decisions count; nowhere if it is empty.
    """
    return f"{action_text(approval, name)}\n{status_text(approval, name, is_named, where)}"


def status_text(
    approval: Approval,
    name: Name | None = None,
    is_named: Callable[[str], bool] | None = None,
    where: str = "here",
) -> str:
    """Return the approvers of a request, or its decision, as a sentence."""
    name = name or partial(display_name, approval)
    match approval.state:
        case "asked":
            who = approvers_of(approval, name, is_named or approval.names.__contains__)
            who = who or "a user whom the bot's operator adds to APPROVERS"
            can_press = f"{who[0].upper()}{who[1:]} can press a button"
            if not where:
                return f"{can_press}."
            return f"{can_press}, or write `approve {approval.id}` or `reject {approval.id} why` {where}."
        case "expired":
            return "⌛ Nobody decided this in time."
        case verdict:
            mark = "✅" if verdict == "approved" else "🚫"
            reason = harmless(one_line(approval.reason)[:_MOST_REASON])
            reason = f": {reason}" if reason else "."
            return f"{mark} {verdict.capitalize()} by {name(approval.by)}{reason}"


def not_accepted(platform: str) -> str:
    """Return the notice for a request that a platform refuses to show."""
    return (
        f"I need an approval for this, but {platform} does not accept my approval request. Nothing was done. "
        "Please ask me again later."
    )


SHOWN_IN_CHANNEL = "I have also shown this request in the approvals channel."


def shown_directly(approvers: Iterable[str]) -> str:
    """Return the notice for a request that was also sent to these approvers."""
    counts = " and ".join(_count_by_platform(approvers))
    return f"I have also shown this request to {counts}, in direct messages."


def shown_to_nobody(id: str) -> str:
    """Return the notice for a request that no approver has seen."""
    return (
        "I could not show this request to anybody who can approve it, so it is still waiting. An approver "
        f"can send me `approve {id}`. I will then show them the request and ask them to confirm it."
    )


def unknown_request(id: str) -> str:
    """Return the reply to a decision on an unknown request."""
    return f"There is no open request `{id}`. It may have expired: ask for it again."


NOT_FOR_EXTERNAL = "Guests and users from other organisations cannot approve requests."

NOT_STORED = "I could not store your decision. Please press the button again in a moment."

_EXPIRED = "This request has expired. Ask for it again if you still need it."


def confirmation(approval: Approval) -> str:
    """Return the reply to a decision that counts."""
    first = {"approved": "Approved.", "rejected": "Rejected."}.get(approval.state, _EXPIRED)
    return f"{first}\n\n{_code_block(approval)}"


def too_late(approval: Approval) -> str:
    """Return the reply to a decision that comes after another one, for users who can see that one."""
    match approval.state:
        case "asked":
            first = "This request has just been decided."
        case "expired":
            first = _EXPIRED
        case verdict:
            first = f"This request was already {verdict} by {display_name(approval, approval.by)}."
    return f"{first}\n\n{_code_block(approval)}"


def read_back(approval: Approval, order: TextDecision, word: str, *, is_above: bool = False) -> str:
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
        f"Nothing is decided yet: {why}. This is the request:\n\n{_code_block(approval)}\n\n"
        f"To approve exactly this, write `approve {command}` and nothing else, or a reason after a colon. "
        f"To reject it, write `reject {command} why`."
    )


def refusal(approval: Approval) -> str:
    """Return the reply to a user who is not an approver."""
    return f"You cannot decide on this request.{_ask(approval)}"


def refusal_of_asker(approval: Approval) -> str:
    """Return the reply to a requester if somebody else has to approve."""
    return f"This is your own request, so somebody else has to approve it.{_ask(approval)}"


def _code_block(approval: Approval) -> str:
    """Return the request in a code block without a language, which not every place of a reply supports."""
    return action_text(replace(approval, language=""))


def _ask(approval: Approval) -> str:
    who = approvers_of(approval, lambda author: display_name(approval, author), approval.names.__contains__)
    return (
        f" Ask {who}."
        if who
        else " There are no approvers at the moment: ask the bot's operator to set APPROVERS."
    )
