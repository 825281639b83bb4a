"""Sentences of a user's home page, as Markdown. Pure."""

from bot.chat.text import count

HEALTH = "Health of the bot"
MEMORY = "What I remember about you"
THREADS = "Your recent conversations"
USAGE = "Your usage"
FEEDBACK = "Your feedback"
SETTINGS = "Settings of our direct messages"

WELCOME = "Mention me in a channel, or write to me under **Messages**. Only you see this page."
NOT_READ = "I could not read this. Please try again in a minute."
NO_THREADS = "None that I remember."
FORGET, FORGET_ALL, EXPORT, REFRESH = "Forget", "Forget everything", "Export", "Refresh"
"""Labels of the buttons."""

CONFIRM_TITLE = "Are you sure?"
CONFIRM_FACT = "I will no longer know this fact about you."
CONFIRM_ALL = (
    "This removes all facts and conversations that I remember about you, here and in your linked accounts. "
    "It cannot be undone."
)
CONFIRM_NO = "Cancel"
"""Texts of the question before something is removed."""


def memory(facts: int, questions: int, *, is_on: bool) -> str:
    """Return the line above the facts."""
    first = f"{count(facts, 'fact')} and {count(questions, 'question')} with the answers."
    return first if is_on else f"{first} Memory is switched off here: I remember nothing new."


def more_facts(number: int) -> str:
    """Return the line below the facts if there are more."""
    return f"… and {number:,} older ones: use `/agent-memory list`."


def feedback(up: int, down: int) -> str:
    """Return the number of a user's votes on answers that are still known."""
    return f"👍 {up:,} and 👎 {down:,} on answers of the last 90 days."
