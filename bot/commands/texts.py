"""Sentences about the commands that users run, the same on every platform."""

from typing import Literal

from bot.chat.texts import STOPPED

HEALTH = "Show the state of the bot and its parts"
STOP = "Stop the answers to your questions in this channel"
USAGE = "Show how much of the language model you have used today"
USAGE_OF_ALL = "Show the usage of all users, for administrators"
MEMORY = "Manage what the bot remembers about you"
MEMORY_SHOW = "Show what the bot remembers about you"
MEMORY_LIST = "List the facts that the bot remembers about you, with their ids"
MEMORY_WORDS = "Only facts with these words"
MEMORY_CORRECT = "Correct a fact that the bot remembers about you"
MEMORY_FACT = "The id of the fact, from the list"
MEMORY_TEXT = "The new text of the fact"
MEMORY_EXPORT = "Get everything that the bot remembers about you, as a file"
MEMORY_FORGET = "Delete one fact, or everything that the bot remembers about you"
MEMORY_CONFIRM = "Confirms the deletion of everything; without it, you only see what would be deleted"
MEMORY_LINK = "Link this account with your account on another platform"
MEMORY_CODE = "The code from the other platform; without it, you get a code to use there"
MEMORY_UNLINK = "Unlink this account from your other accounts"
"""Descriptions of commands and their options."""

_DETAILS = "Only administrators of the bot can see the details."

HEALTH_LINES: dict[Literal["ok", "degraded", "down"], str] = {
    "ok": "Everything is working.",
    "degraded": f"I am working, but with limitations. {_DETAILS}",
    "down": f"Something that I depend on is not working. {_DETAILS}",
}
"""Health of the bot for users who are not administrators, by the worst state of a part."""

NOTHING_TO_STOP = "There is nothing to stop here."

QUIET = "I am quiet here until somebody mentions me."

NEVER_QUIET = "In direct messages I answer every message."

NO_USAGE = "No language model is configured, so there is no usage to show."

NOT_ADMINISTERED = "Guests and users from other organisations cannot administer the bot."

MEMORY_TYPED = (
    "In a conversation you can write `!memory`, and in direct messages `!memory list`, `!memory list WORDS`, "
    "`!memory correct ID TEXT` and `!memory forget ID`. `/agent-memory` can do more."
)
MEMORY_READ_BY_OTHERS = (
    "Others can read this conversation, so I do not name facts about you here. Use `/agent-memory list`, "
    "whose answer only you see, or write this in a direct message to me."
)

MEMORY_FILE = "Here is everything that I remember about you."


def stopped(answers: int) -> str:
    """Return the answer to a command that has stopped this many answers."""
    if not answers:
        return NOTHING_TO_STOP
    return STOPPED if answers == 1 else f"Stopped {answers} answers."
