"""Texts of requests on Discord, for their cards and for messages without layout. Pure."""

from dataclasses import replace

from discord.utils import escape_markdown

from bot.chat import Approval, Question, Request
from bot.commands import approval_texts, ask_texts, question_texts
from bot.commands.approval_texts import IN_REPLY, MOST_NAMES, display_name
from bot.commands.question_texts import MOST_BUTTONS
from bot.discord.events import PLATFORM
from bot.discord.markdown.pages import split
from bot.platforms.requests import has_name

_MOST_CHARS = 2_000

_MOST_QUESTION = 1_200
"""Most characters of a question's text in its message: the rest is for names and the answer."""


def render_request(request: Request, *, is_reply: bool = False) -> str:
    """Return the message of a request; `is_reply`: only replies to it belong to its conversation."""
    match request:
        case Approval():
            return _render_approval(request)
        case Question():
            return _render_question(request, IN_REPLY if is_reply else "here")


def render_private_request(request: Request) -> str:
    """Return a request in a private answer, where nobody can write: it is decided by buttons and forms."""
    match request:
        case Approval():
            return _render_approval(request, "")
        case Question():
            return _render_question(request, "")


def _render_approval(approval: Approval, where: str = IN_REPLY) -> str:
    """Return an approval request; if it is too long, without names, and then without the reason."""

    def name(author: str) -> str:
        return _name(approval, author)

    text = approval_texts.request_text(approval, name, has_name(approval, PLATFORM), where=where)
    nameless = replace(approval, names={})
    shorter = [
        approval_texts.request_text(each, where=where) for each in (nameless, replace(nameless, reason=""))
    ]
    return next((each for each in (text, *shorter) if len(each) <= _MOST_CHARS), shorter[-1])


def _render_question(question: Question, where: str) -> str:
    return "\n".join(filter(None, question_pieces(question, where, _MOST_QUESTION)))


def approval_pieces(approval: Approval, where: str) -> tuple[str, str, str]:
    """Return the title, the whole statement, and the approvers or the decision.

    `where` typed decisions count; nowhere if it is empty.
    """

    def name(author: str) -> str:
        return _name(approval, author)

    status = approval_texts.status_text(approval, name, has_name(approval, PLATFORM), where)
    return approval_texts.headline(approval, name), approval_texts.statement(approval), status


def question_pieces(question: Question, where: str, most: int) -> tuple[str, str, str]:
    """Return the title, the text in at most `most` characters, and the ways to answer or the answer.

    The text is rendered like that of an answer. `where` an answer in words counts; nowhere if it is empty.
    """

    def name(author: str) -> str:
        return _name(question, author)

    pieces = split(question.text, most)
    text = pieces[0] + ("\n…" if len(pieces) > 1 else "") if pieces else ""
    asks = "" if where else _ways_without_words(question)
    status = question_texts.status_text(question, name, escape_markdown, where=where, asks=asks)
    return question_texts.headline(question, name), text, status


def _ways_without_words(question: Question) -> str:
    if not question.options:
        return ask_texts.WRITE
    return ask_texts.CHOOSE if len(question.options) > MOST_BUTTONS else ask_texts.PRESS


def _name(request: Request, author: str) -> str:
    platform, _, user = author.partition(":")
    return f"<@{user}>" if platform == PLATFORM else display_name(request, author)


def users_to_notify(request: Request) -> list[int]:
    """Return the users to notify: those whom the message names and asks to decide or answer."""
    people = request.approvers if isinstance(request, Approval) else request.respondents
    authors = (each.partition(":") for each in people[:MOST_NAMES])
    return [int(user) for platform, _, user in authors if platform == PLATFORM and user.isdecimal()]
