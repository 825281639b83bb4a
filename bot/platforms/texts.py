"""Sentences that every chat platform says: an answer or a file that it does not show, a file not read.

What only one platform can say is in its own folder.
"""


def not_shown(what: str, reason: str) -> str:
    """Return the sentence for an answer or a file that cannot be shown; `reason` also says what to do."""
    return f"I could not show {what}: {reason}"


PART = "part of my answer here"
REST = "the rest of this answer"
"""Parts of an answer as `not_shown` takes them."""


def answer(channel: str = "") -> str:
    """Return an answer as `not_shown` takes it, with the mention of its channel."""
    return f"my answer in {channel}" if channel else "my answer"


def file(name: str) -> str:
    """Return a file as `not_shown` takes it."""
    return f"the file {name}"


FILE_GONE = "I no longer have it. Please ask me for it again."


def upload_failed(platform: str) -> str:
    """Return the reason for a file that a platform fails to take, though it does not refuse it."""
    return f"{platform} did not accept the upload. Please ask me again in a few minutes."


# reasons why a file of a user cannot be read: they complete “I could not read NAME: ”
SERVER_SILENT = "its server is not responding; please try again in a few minutes"
NO_ACCESS = "it was deleted, or I have no access to it"
TOO_MANY_REDIRECTS = "its address redirects too often"
FOREIGN_SERVER = "it is not on the service's own servers"
