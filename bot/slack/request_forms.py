"""Requests on Slack as messages with buttons. Pure.

https://docs.slack.dev/reference/block-kit/blocks
"""

import html

from bot.chat import Approval, Json, Question, Request
from bot.commands import approval_texts, question_texts
from bot.commands.approval_texts import display_name
from bot.commands.question_texts import MOST_BUTTONS
from bot.platforms.requests import ANSWER, APPROVE, REJECT, has_name
from bot.slack.ids import own_id, team_in
from bot.slack.markdown import clip, paginate
from bot.slack.page import Extra

_MOST_LABEL = 75
"""Most characters of a button's label and of an option in a menu."""


def render_request(request: Request, team: str = "") -> Extra:
    """Return the message of a request in a workspace: its text, its state, and the buttons while it waits."""
    match request:
        case Approval():
            return _render_approval(request, team)
        case Question():
            return _render_question(request, team)


def _render_approval(approval: Approval, team: str) -> Extra:
    words = approval_texts.headline(approval, _placeholder, bold="*")
    code = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": approval.action}]}
    status = approval_texts.status_text(approval, _placeholder, has_name(approval, "slack"))
    blocks = [
        _section(_fill_names(approval, words, team)),
        {"type": "rich_text", "elements": [code]},
        _context(_fill_names(approval, status, team)),
    ]
    if approval.state == "asked":
        buttons = [
            _button(approval, APPROVE, approval_texts.APPROVE, "primary"),
            _button(approval, REJECT, approval_texts.REJECT, "danger"),
        ]
        blocks.append({"type": "actions", "elements": buttons})
    return Extra(approval.id, _plain(approval_texts.headline(approval, bold="")), blocks)


def _button(approval: Approval, action: str, text: str, style: str) -> Json:
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "text": label, "action_id": action, "value": approval.id, "style": style}


def _render_question(question: Question, team: str) -> Extra:
    """Return a question; its text is rendered like that of an answer."""
    words = question_texts.headline(question, _placeholder, bold="*")
    sheets = paginate(question.text)
    blocks = [
        _section(_fill_names(question, words, team)),
        *([{"type": "markdown", "text": sheets[0].text}] if sheets else []),
        _context(_fill_names(question, question_texts.status_text(question, _placeholder), team)),
    ]
    if question.state == "asked" and question.options:
        blocks.append({"type": "actions", "elements": _choices(question)})
    return Extra(question.id, _plain(question_texts.headline(question, bold="")), blocks)


def _choices(question: Question) -> list[Json]:
    """Return the buttons of a question, or a menu if there are many options."""
    choices = [
        {"text": _label(option), "value": f"{question.id}:{number}"}
        for number, option in enumerate(question.options)
    ]
    if len(choices) <= MOST_BUTTONS:
        return [
            {"type": "button", "action_id": f"{ANSWER}:{number}", **choice}
            for number, choice in enumerate(choices)
        ]
    placeholder = _label(question_texts.PLACEHOLDER)
    return [{"type": "static_select", "action_id": ANSWER, "placeholder": placeholder, "options": choices}]


def _label(text: str) -> Json:
    # no emoji by name: `:lock:` is text
    return {"type": "plain_text", "text": clip(text, _MOST_LABEL), "emoji": False}


def _section(words: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}}


def _context(words: str) -> Json:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": words, "verbatim": True}]}


def _placeholder(author: str) -> str:
    return f"\0{author}\0"


def _fill_names(request: Request, text: str, team: str) -> str:
    """Escape a text and fill in names; users of this workspace are mentioned, which notifies them."""
    text = _plain(text)
    match request:
        case Approval():
            authors = {request.by, *request.askers, *request.approvers}
        case Question():
            authors = {request.by, *request.respondents}
    for author in authors:
        is_ours = author.startswith("slack:") and team_in(author) in ("", team)
        name = f"<@{own_id(author)}>" if is_ours else display_name(request, author)
        text = text.replace(_placeholder(author), name)
    return text


def _plain(text: str) -> str:
    return html.escape(text, quote=False)
