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


def delivered_by(hook: str, reference: str) -> str:
    """Return the line below a message that a hook has delivered."""
    return f"Delivered to the hook {hook} · {reference}"


DIRECT_MESSAGES = "direct messages"
"""Name of a channel of direct messages."""

FILE_GONE = "I no longer have it. Please ask me for it again."


def upload_failed(platform: str) -> str:
    """Return the reason for a file that a platform fails to take, though it does not refuse it."""
    return f"{platform} did not accept the upload. Please ask me again in a few minutes."


THREAD = "the earlier messages here"
CHAIN = "the messages before the one that you replied to"
LINKED = "the message that you linked to"
"""Earlier messages as `not_read` takes them."""


def not_read(what: str, reason: str) -> str:
    """Return the sentence about earlier messages that cannot be read."""
    return f"I could not read {what}: {reason}."


# reasons why messages cannot be read: they complete `not_read`
NO_MEMBER = "you do not seem to have access to its channel"
NO_SUCH_CHANNEL = "you are in no channel of this name that I know; give its name or a link to a message"
PRIVATE_CHANNEL = "it is in a private channel; ask me there, or in a direct message"
OUTSIDERS_READ = "people of another organisation read the answer; ask me elsewhere"
NO_LINK = "give a link to a message"
NO_MEMBERS = "there are no other members in a direct message"
MESSAGES_GONE = "I have no access to the channel, or it was deleted"
NOT_ALLOWED = "I lack a permission for it; please ask the bot's operator"


def busy(platform: str) -> str:
    """Return the reason for messages that a platform's rate limit keeps back."""
    return f"{platform} limits how much I can read; please ask me again in a minute"


def silent(platform: str) -> str:
    """Return the reason for messages of a platform that does not answer."""
    return f"{platform} does not answer at the moment; please ask me again in a few minutes"


# reasons why a file of a user cannot be read: they complete “I could not read NAME: ”
SERVER_SILENT = "its server is not responding; please try again in a few minutes"
NO_ACCESS = "it was deleted, or I have no access to it"
TOO_MANY_REDIRECTS = "its address redirects too often"
FOREIGN_SERVER = "it is not on the service's own servers"
