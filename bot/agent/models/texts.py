"""Sentences about a model that does not answer, and those of the offline model."""

import math
from collections.abc import Sequence

from bot.chat.text import count

_OPERATOR = "Please ask the bot's operator"

TROUBLE = "The model service has a problem at the moment. Please ask again in a minute."
UNREACHABLE = (
    "I cannot reach the model service at the moment. Please ask again in a minute; if that does not help, "
    "ask the bot's operator to check the network and OPENAI_BASE_URL."
)
SLOW = "The model took too long to answer. Please ask again."
BUSY = "The model service is overloaded at the moment. Please ask again in a few minutes."
NO_CREDIT = (
    f"The bot's account at the model service has no credit left. {_OPERATOR} to check its plan and billing."
)
KEY_REJECTED = f"The model service rejects the bot's API key. {_OPERATOR} to check OPENAI_API_KEY."
REGION_REJECTED = (
    "The model service is not available in the country where this bot runs. "
    f"{_OPERATOR} to choose another service."
)
UNKNOWN_MODEL = f"The model service does not know this model. {_OPERATOR} to check OPENAI_MODEL."
WRONG_ADDRESS = f"The configured address is not a model service. {_OPERATOR} to check OPENAI_BASE_URL."
NO_TOOLS = (
    "The model or its service cannot call tools, and I need them. "
    f"{_OPERATOR} to turn on tool calls there, or to choose another OPENAI_MODEL."
)
NO_PICTURES = f"The model cannot process pictures. {_OPERATOR} to set OPENAI_VISION=false."
TOO_LONG = (
    "This conversation is too long for the model. Please ask a shorter question, or start a new thread."
)
WITHHELD = (
    "The model service's content filter blocked this answer. Please rephrase your question, or start a new "
    "thread."
)
REFUSED = "The model service refused this request. Please ask a shorter question, or start a new thread."
NO_WORDS = "The model gave no answer. Please ask again, or rephrase your question."
ALL_THINKING = "The model reached its length limit before it gave an answer. Please ask for less at once."

# reasons why a recording is not transcribed: they complete `not_heard` of `bot/agent/attachments/texts.py`
TRANSCRIPTION_DOWN = "the transcription service does not answer at the moment; please try again in a minute"
TRANSCRIPTION_TOO_LONG = "it is too long for the transcription service"
TRANSCRIPTION_REFUSED = (
    "the transcription service refuses it; the operator of the bot can see why in the log, and check "
    "OPENAI_TRANSCRIPTION_MODEL"
)


def with_wait(sentence: str, seconds: float) -> str:
    """Return a sentence with the time to wait that the service names in place of an estimate."""
    when = f"in {_duration(seconds)}"
    return sentence.replace("in a few minutes", when).replace("in a minute", when)


def with_setting(sentence: str, setting: str) -> str:
    """Return a sentence with `setting` as the name of the model's setting."""
    return sentence.replace("OPENAI_MODEL", setting)


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return count(math.ceil(seconds / size), unit)
    return count(max(1, math.ceil(seconds)), "second")


_MOST_EXAMPLES = 4

CONNECT = "To connect one, set OPENAI_API_KEY or OPENAI_BASE_URL and start me again."

OFFLINE_NOTHING_EARLIER = "This is your first question in this conversation."
OFFLINE_NO_FILE = "There is no file with your message. Attach one with the paper clip, and ask again."
OFFLINE_NO_FACTS = (
    "I found nothing that you asked me to remember. Tell me something, for example “Remember that my region "
    "is Europe”."
)


def offline_not_understood(message: str, sentences: Sequence[str]) -> str:
    """Return the answer to a message that the offline model does not understand, with its quotation."""
    known = ", ".join(f"“{each}”" for each in [*sentences[:_MOST_EXAMPLES], "What can you do?"])
    return (
        f"I cannot answer {message or 'this'} because I am offline: this is a demonstration without a "
        f"language model. I only understand sentences like these: {known}. {CONNECT}"
    )


def offline_capabilities(sentences: Sequence[str]) -> str:
    """Return what the offline model can do."""
    known = "\n".join(f"- {each}" for each in sentences)
    return (
        "With a language model I answer questions about your data, draw charts, write files, change data "
        "after an approval, read what you attach and remember what you tell me. Now I am offline: this is a "
        f"demonstration that shows how it looks. Try:\n\n{known}\n\n{CONNECT} For a query of your own, write "
        "`SQL: select …`, `TABLE: select …`, `CHART: line select …` and `EXPORT: select …`."
    )


def offline_without(tool: str) -> str:
    """Return the answer to a question whose tool is not there."""
    if tool == "sql_execute":
        return "I cannot change data here: changes are switched off. `SQL_WRITES=approval` allows them."
    return "I cannot do this here: that tool is switched off."


def offline_failure(problem: str) -> str:
    """Return the offline answer to a call that failed."""
    return f"That did not work, and I cannot fix it because I am offline:\n\n{problem}"


def offline_earlier(earlier: str) -> str:
    """Return the list of earlier messages."""
    return f"Before this you wrote:\n\n{earlier}"


def offline_saved(fact: str, *, is_private: bool) -> str:
    """Return the confirmation of a saved fact."""
    return f"I will remember {'for you' if is_private else 'in this channel'}: {fact}"


def offline_facts(facts: Sequence[str]) -> str:
    """Return the list of remembered facts."""
    return "You asked me to remember:\n\n" + "\n".join(f"- {each}" for each in facts)


def offline_found(entries: Sequence[str]) -> str:
    """Return what was found in memory."""
    if not entries:
        return "I remember nothing about that."
    return "I remember this:\n\n" + "\n".join(f"- {each}" for each in entries)


def offline_tables(tables: Sequence[str]) -> str:
    """Return the list of tables."""
    return f"I can read {count(len(tables), 'table')}:\n\n" + "\n".join(f"- {each}" for each in tables)


def offline_file(name: str, content: str) -> str:
    """Return the beginning of a file."""
    return f"**{name}** says:\n\n{content}\n\nWith a language model I would answer questions about it."


def offline_more_rows(rows: int) -> str:
    """Return the line below a table of which more rows exist."""
    return f"These are the first {count(rows, 'row')}; there are more. Ask for a file to have all of them."
