"""Sentences about a model that does not answer, and those of the offline model."""

import math

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


OFFLINE = (
    "I am offline: no language model is configured, so I cannot answer questions. You can try a query, as "
    "`SQL: select name, price from products limit 5`, the same with `TABLE:`, with `EXPORT:` for a file, or "
    "with `CHART:` (or `CHART: line`) for a picture, and `SEARCH: words` to search this conversation. To get "
    "answers from a model, ask the bot's operator to set OPENAI_API_KEY."
)


def offline_failure(problem: str) -> str:
    """Return the offline answer to a query that failed."""
    return f"That did not work, and I cannot fix it because I am offline:\n\n{problem}"


def offline_first(message: str) -> str:
    """Return the offline answer to the first message of a conversation."""
    return f"{OFFLINE}\n\nThis is the first message that I know in this conversation: {message}"


def offline_later(earlier: str) -> str:
    """Return the offline answer to a later message, with a list of earlier ones."""
    return f"{OFFLINE}\n\nI remember this conversation. Before this you wrote:\n\n{earlier}"
