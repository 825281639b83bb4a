"""Sentences of a user's home page, as Markdown. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from bot.chat import harmless
from bot.chat.text import count, one_line
from bot.commands.answer_texts import MARKS
from bot.commands.answers import Opinion
from bot.commands.redis.texts import inline_code

HEALTH = "Health of the bot"
WAITING = "Waiting for you"
MEMORY = "What I remember about you"
THREADS = "Your recent conversations"
USAGE = "Your usage"
FEEDBACK = "Your feedback"
OPINIONS = "Newest feedback of all users"
SETTINGS = "Settings of a channel"

WELCOME = "Mention me in a channel, or write to me under **Messages**. Only you see this page."
NOT_READ = "I could not read this. Please try again in a minute."
NO_THREADS = "None that I remember."
THREADS_NOT_CHECKED = (
    "I cannot check at the moment which private channels you can read, so conversations there are not listed."
)
CHOOSE_CHANNEL = "Choose a channel to see and change what I do there."
MEMORY_COMMAND = "What I remember about you, you can see, export and delete with `/agent-memory`."
FORM_NOT_OPENED = "I could not open the form. Please try again."
NOT_DONE = "I could not do this. Please try again in a minute."
NO_ADMIN = "Only administrators of the bot can change the settings of a channel."

FORGET, FORGET_ALL, EXPORT, REFRESH = "Forget", "Forget everything", "Export", "Refresh"
NEWER, OLDER, GIVE_FEEDBACK, CHANNEL = "Newer", "Older", "Give feedback", "Channel"
"""Labels of the buttons."""

CONFIRM_TITLE = "Are you sure?"
CONFIRM_FACT = "I will no longer know this fact about you."
CONFIRM_ALL = (
    "This removes all facts and conversations that I remember about you, here and in your linked accounts. "
    "It cannot be undone."
)
CONFIRM_NO = "Cancel"
"""Texts of the question before something is removed."""

FORM = "Feedback"
FORM_RATING = "How do you like the bot?"
FORM_GOOD, FORM_BAD = "It helps me", "It does not help me"
FORM_WORDS = "What should the bot's operator know?"
FORM_SEND, FORM_CANCEL = "Send", "Cancel"
"""Texts of the form for feedback; Slack takes at most 24 characters of a title or button."""

_MOST_OPINION = 300
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def refused(reason: str) -> str:
    """Return the page of a user whom the bot does not answer."""
    return f"{reason} {MEMORY_COMMAND}"


def memory(facts: int, questions: int, *, is_on: bool) -> str:
    """Return the line above the facts."""
    first = f"{count(facts, 'fact')} and {count(questions, 'question')} with the answers."
    return first if is_on else f"{first} Memory is switched off here: I remember nothing new."


def page(first: int, shown: int, facts: int) -> str:
    """Return the line below the facts if there are more."""
    return f"Facts {first + 1:,} to {first + shown:,} of {facts:,}, the newest first."


def waiting(kind: Literal["approval", "question"], seconds: float) -> str:
    """Return the kind of a request with the time that is left for it."""
    title = "Approval" if kind == "approval" else "Question"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{title}, {count(int(seconds // size), unit)} left"
    return f"{title}, less than a minute left"


def decide_in_words(id: str) -> str:
    """Return how an approver decides a request that is shown nowhere to them."""
    return f"write `approve {id}` or `reject {id}` to me"


def more_waiting(number: int) -> str:
    """Return the line below the requests if there are more."""
    return f"… and {number:,} more."


def feedback(up: int, down: int) -> str:
    """Return the number of a user's votes on answers that are still known."""
    return f"👍 {up:,} and 👎 {down:,} on answers of the last 90 days."


def opinions(newest: Sequence[Opinion]) -> str:
    """Return feedback with words, a line for each; users have written them, so nothing in them is markup."""
    if not newest:
        return "Nobody has written any."
    return "\n".join(map(_opinion, newest))


def _opinion(opinion: Opinion) -> str:
    day = datetime.fromtimestamp(opinion.at, UTC).strftime("%Y-%m-%d")
    about = "about the bot" if opinion.is_general else "on an answer"
    words = inline_code(one_line(harmless(opinion.reason), _MOST_OPINION))
    return f"- {MARKS[opinion.vote]} {about}, {day}: {words}"
