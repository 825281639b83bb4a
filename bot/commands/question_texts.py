"""Sentences about the agent's questions to users, the same on every platform."""

from collections.abc import Callable
from functools import partial

from bot.chat import Question, harmless
from bot.chat.text import one_line
from bot.commands.approval_texts import MOST_NAMES, display_name

Name = Callable[[str], str]
"""Function that returns the display form of an author."""

Quotation = Callable[[str], str]
"""Function that returns a text of a user or the model as part of a line, with its markup made inert."""

MOST_BUTTONS = 5
"""Most options that are shown as buttons; more are shown as a menu."""

_MOST_ANSWER = 200
"""Most characters of an answer that are shown with its question."""

_SIGN = "❓"

PLACEHOLDER = "Choose an answer"
"""Text of a menu before something is chosen."""

IN_WORDS = "Answer in words"
FORM = "Your answer"
FORM_OPTION = "Choose an answer"
FORM_WORDS = "Or write one"
EMPTY = "You have neither chosen nor written an answer. Please press the button again."
"""Label of the button for a form, its title, the labels of its fields, and the reply to an empty one."""

MOST_WORDS = 1_000
"""Most characters of an answer in words that a form takes."""

ANSWER_STOPPED = "my work on the answer was stopped"
"""Reason of a question that ends with the turn of its answer."""

WITHOUT_TEXT = "(a message without text)"
"""Answer in words that has none, such as a file."""


def headline(question: Question, name: Name | None = None, bold: str = "**") -> str:
    """Return the first line of a question: the users whom it is for."""
    who = "everybody here" if question.anyone else _respondents(question, name)
    return f"{_SIGN} {bold}A question for {who}{bold}"


def _respondents(question: Question, name: Name | None = None) -> str:
    name = name or partial(display_name, question)
    return " and ".join(dict.fromkeys(name(each) for each in question.respondents[:MOST_NAMES]))


def status_text(
    question: Question,
    name: Name | None = None,
    quote: Quotation = str,
    *,
    where: str = "here",
    asks: str = "",
) -> str:
    """Return the ways to answer, or the answer, as a sentence; `where` an answer in words counts.

    `asks` replaces the ways to answer on a platform without buttons.
    """
    name = name or partial(display_name, question)
    match question.state:
        case "asked":
            return asks or f"{_ways(question)} {where}."
        case "answered":
            answer = quote(one_line(harmless(question.answer), _MOST_ANSWER))
            return f"✅ {name(question.by)} answered: {answer}"
        case "expired":
            return "⌛ Nobody answered this in time."
        case "withdrawn" if question.answer:
            return f"⏹️ This is no longer needed: {question.answer}."
        case "withdrawn":
            return f"⏹️ Stopped by {name(question.by)}."


def _ways(question: Question) -> str:
    if not question.options:
        return "Write your answer"
    if len(question.options) > MOST_BUTTONS:
        return "Choose an answer from the menu, or write one"
    return "Press a button, or write your answer"


def question_text(question: Question, name: Name | None = None, quote: Quotation = str) -> str:
    """Return a question as Markdown with its options as a list, for a platform without buttons."""
    options = "\n".join(f"{number}. {quote(each)}" for number, each in enumerate(question.options, 1))
    asks = "Write your answer in your next message."
    status = status_text(question, name, quote, asks=asks)
    shown = [headline(question, name), question.text, options if question.state == "asked" else "", status]
    return "\n\n".join(filter(None, shown))


UNKNOWN = "This question no longer exists. Write to me if you still need an answer."

NOT_STORED = "I could not store your answer. Please press the button again in a moment."

NOT_FOR_EXTERNAL = (
    "Guests and users from other organisations cannot answer this with a button. Please write your answer."
)

WRITE_A_MESSAGE = "The form is for the user who asked me. Please write your answer as a message here."


def not_accepted(platform: str) -> str:
    """Return the notice for a question that a platform refuses to show."""
    return f"I have a question for you, but {platform} does not accept it. Please write to me again later."


def refusal(question: Question) -> str:
    """Return the reply to a user whom the question is not for."""
    return f"This question is for {_respondents(question)}."


_OVER = "This question is over. Write to me if you still need an answer."


def confirmation(question: Question) -> str:
    """Return the reply to an answer that counts, or to one that comes after the time."""
    if question.state != "answered":
        return _OVER
    return f"Your answer: {one_line(harmless(question.answer), _MOST_ANSWER)}"


def too_late(question: Question) -> str:
    """Return the reply to an answer that comes after another one, or after the end of the question."""
    match question.state:
        case "answered":
            who = display_name(question, question.by)
            return f"{who} has already answered this: {one_line(harmless(question.answer), _MOST_ANSWER)}"
        case "expired" | "withdrawn":
            return _OVER
        case "asked":
            return "This question has just been answered."
