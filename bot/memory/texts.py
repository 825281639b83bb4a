"""Sentences about a user's own data: what is remembered, its removal, and linked accounts."""

from collections.abc import Iterable

from bot.chat.text import count


def summary(records: int) -> str:
    """Return the answer to `!memory`, which others can read."""
    return (
        f"I remember {count(records, 'fact or question', 'facts and questions')} of yours. "
        "`/agent-memory show` tells you which ones and how to remove them; only you see that answer."
    )


def overview(facts: int, questions: int, threads: int) -> str:
    """Return the first line of `/agent-memory show`."""
    return (
        f"I remember {count(facts, 'fact')} about you, {questions:,} of your questions with the answers, "
        f"and your messages in {count(threads, 'thread')}."
    )


SWITCHED_OFF = "Memory is switched off here: I remember nothing new."


def linked_accounts(platforms: Iterable[str]) -> str:
    """Return the line about linked accounts, by the titles of their platforms."""
    return f"Your accounts on {', '.join(platforms)} are linked."


FACTS, QUESTIONS = "Facts", "Questions"
"""Titles of the two lists."""


def more_records(number: int) -> str:
    """Return the end of a list that is not shown in full."""
    return f"- … and {number:,} older ones: see `/agent-memory export`."


EXPORT_OR_FORGET = (
    "\n`/agent-memory list` lists all facts, to correct or forget one of them. `/agent-memory export` gives "
    "you a copy of everything, `/agent-memory forget` removes it."
)


def facts(number: int) -> str:
    """Return the first line of `/agent-memory list`."""
    return f"**{count(number, 'fact')}**"


def more_facts(number: int) -> str:
    """Return the end of a list of facts that is not shown in full."""
    return f"- … and {number:,} older ones: add words of the fact that you are looking for."


NO_FACTS = "I remember no facts about you."
NO_SUCH_WORDS = "No fact that I remember about you has these words. Without words, I list all of them."
CORRECT_OR_FORGET = (
    "\nTo change one, write `/agent-memory correct ID TEXT` with its id and the new text; to remove it, "
    "`/agent-memory forget ID`."
)
NO_FACT = "I remember no fact of yours with this id. `/agent-memory list` shows the ids."


def no_new_text(most: int) -> str:
    """Return the answer to a correction without a text, or with too long a one."""
    return (
        "Write the id of the fact and its new text, such as `/agent-memory correct 1a2b3c4d I prefer short "
        f"answers`. A fact has at most {most:,} characters."
    )


def corrected(fact: str, id: str) -> str:
    """Return the answer to a correction."""
    return f"I have corrected it, and now remember: {fact}\nIts id is now `{id}`."


def known_from_others(id: str) -> str:
    """Return the answer to a correction into the words of somebody else's fact for the same readers."""
    return (
        "I have not changed it: I already remember exactly this from somebody else, and it stays theirs. "
        f"To remove your own fact, write `/agent-memory forget {id}`."
    )


def forgotten(fact: str) -> str:
    """Return the answer to the removal of one fact."""
    return (
        f"I have forgotten: {fact}\nI still remember the conversation in which it was said; "
        "`/agent-memory forget` tells you how to remove conversations, too."
    )


CONFIRM_FORGET = """\
This removes everything that I remember about you, for all of your linked accounts:
- the facts that you asked me to save, including those for a channel or the workspace;
- your questions and the answers to them, from every conversation; I forget threads in which only you wrote \
completely, and in the others also my summary;
- your messages that are not answered yet, and your changes that wait for an approval;
- your usage of the model; if there are budgets, today's usage is kept for 35 days;
- the links between your accounts.

Changes in the database stay in its ledger, with the names of those who asked for and approved them. I keep \
what others wrote and the answers to it, even if they mention you. Messages in the chat itself stay there.

This cannot be undone. To get a copy first, use `/agent-memory export`.
To continue, write `/agent-memory forget everything`."""


def almost_forgotten(busy_threads: int) -> str:
    """Return the answer to `forget` while messages of the user are being answered."""
    return (
        "I have forgotten almost everything about you, but I am still answering in "
        f"{count(busy_threads, 'thread')} with messages of yours. Please repeat this in a few minutes."
    )


FORGOTTEN = (
    "I have forgotten everything about you. Your messages in the chat itself are still there: delete them "
    "there if you want to."
)


def link_code(code: str) -> str:
    """Return the code that links another account."""
    return (
        f"Write `/agent-memory link {code}` on the other platform within ten minutes. I will then treat both "
        "accounts as the same person, and find your private facts on both. Do not share this code: whoever "
        "uses it can read what I remember about you."
    )


TOO_MANY_CODES = "You have tried too many codes from this account. Please wait ten minutes."

UNKNOWN_CODE = (
    "This code does not exist, has been used, or is older than ten minutes. Get a new one with "
    "`/agent-memory link` in your other account."
)

OWN_CODE = "You created this code with this account. Type it in your other account instead."


def linked(platform: str, name: str) -> str:
    """Return the answer to a code that has linked an account; `name` is empty if it is not known."""
    named = " with the name `{}`".format(name.replace("`", "'")) if name else ""
    return (
        f"Linked with your account on {platform}{named}. If you did not create that code yourself, write "
        "`/agent-memory unlink` immediately."
    )


UNLINKED = "This account is no longer linked with others."

NOT_LINKED = "This account is not linked with any other account."
