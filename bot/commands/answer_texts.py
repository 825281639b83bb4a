"""Sentences about the buttons below an answer, the same on every platform."""

from collections.abc import Mapping
from datetime import UTC, datetime

from bot.chat import AnswerDetails, ModelUse, ToolUse, Vote, harmless
from bot.chat.text import count

GOOD, BAD = "Good answer", "Bad answer"
REGENERATE, DETAILS = "Regenerate", "Details"
"""Labels of the buttons."""

MARKS: Mapping[Vote, str] = {"up": "👍", "down": "👎"}

FORM = "Feedback"
FORM_REASON = "What was wrong with the answer?"
FORM_SEND = "Send"
FORM_CANCEL = "Skip"
"""Texts of the form for a reason; Slack takes at most 24 characters of a title or button."""

NOT_RATED = "I could not store your feedback. Please press the button again in a minute."
REASON_NOT_STORED = "I could not store this. Please send it again in a minute."

REGENERATING = "I am answering this again."
ALREADY = (
    "This answer is being regenerated already, or was: only the last answer can be regenerated. Press "
    "Regenerate below the newest answer."
)
ONLY_LAST = "Only the last answer of a conversation can be regenerated."
BUSY = "I am working on an answer here. Only the last answer of a conversation can be regenerated."
DELETED = "The question was deleted, so I do not answer it again."
NOT_STORED = (
    "I could not take this, because my storage does not answer. Please press the button again in a minute."
)
FORGOTTEN = "I no longer know this answer, or it is not finished yet."
TOO_OLD = "This answer is too old: it takes no more votes."
NOT_KNOWN = "This answer is not finished yet, or I no longer know its question. Please ask it again."
NOT_ALLOWED = "I am not allowed to answer you here."

ORDER = "Please answer my last question again, in another way."
"""Text of the message that orders another answer; only an earlier version of the bot reads it."""


def rated(vote: Vote) -> str:
    """Return the answer to a vote, where the platform does not show it by itself."""
    return f"Thank you, I have noted your {MARKS[vote]}. To change it, press the other button."


THANKS = "Thank you. The bot's operator can read this."


def details(of: AnswerDetails, costs: Mapping[str, str]) -> str:
    """Return the details of an answer; `costs` are prices by the name of a model, as far as known."""
    at = datetime.fromtimestamp(of.at, UTC)
    lines = [f"**Details of this answer** (reference `{of.reference}`)"]
    lines += [_model(name, each, costs.get(name, "")) for name, each in of.models.items()]
    if not of.models:
        lines.append("- no call of a language model is counted")
    lines += [_tool(name, each) for name, each in of.tools.items()]
    if not of.tools:
        lines.append("- no tools")
    lines.append(f"- {of.seconds:.1f} s, until {at:%Y-%m-%d %H:%M} UTC")
    if of.attempts > 1:
        lines.append(f"- in attempt {of.attempts}: what earlier attempts used is not included")
    return "\n".join(lines)


def _model(name: str, use: ModelUse, cost: str) -> str:
    costs = f", {cost}" if cost else ""
    return (
        f"- model `{name}`: {use.input:,} tokens read, {use.output:,} tokens written{costs}, "
        f"in {count(use.calls, 'call')}"
    )


def _tool(name: str, use: ToolUse) -> str:
    said = [count(use.calls, "call")]
    if use.rows:
        said.append(count(use.rows, "row"))
    if use.failures:
        said.append(f"{use.failures:,} failed")
    return f"- tool `{harmless(name).replace('`', '')}`: {', '.join(said)}"  # the model may have made it up
