"""Sentences about files of users that cannot be read. What `child.py` says about a file is there."""

from bot.chat.text import count


def not_read(name: str, reason: str) -> str:
    """Return the sentence about a file that cannot be read."""
    return f"I could not read {name}: {reason}."


def not_heard(name: str, reason: str) -> str:
    """Return the sentence about a recording without a transcript."""
    return f"I could not listen to {name}: {reason}."


def too_many_recordings(most: int) -> str:
    """Return the reason why a recording beyond the limit is not transcribed."""
    return f"I can listen to at most {count(most, 'recording')} per message"


def too_many(most: int, names: str) -> str:
    """Return the sentence about the files of a message beyond the limit."""
    return f"I can read at most {count(most, 'file')} per message, so I did not read {names}."


NO_NAME = "a file without a name"

# reasons: they complete `not_read`
EMPTY = "it is empty"
DAMAGED = "it is damaged, or not what its name says"
UNKNOWN_KIND = (
    "it is not one of the types that I can read: text, CSV, Markdown, code, HTML, PDF, DOCX, XLSX, PPTX and "
    "pictures"
)
PROTECTED = "it is protected by a password"
OLD_DOCUMENT = "it has the format of an old version of Office; please save it as DOCX, XLSX, PPTX or PDF"
NO_HEARING = (
    "I cannot listen to recordings until the operator of the bot sets OPENAI_TRANSCRIPTION_MODEL; please "
    "write it instead"
)
NO_SPEECH = "no words can be heard in it"
NO_VISION = "the model cannot process pictures"
NOT_OPENED = "it cannot be opened at the moment; please try again in a few minutes"
TOO_SLOW = "opening it takes too long"
TOO_EXPENSIVE = "opening it takes too much memory or time"
