"""Sentences that only Discord's users read."""

from datetime import datetime

_ADMINISTRATOR = "Please ask an administrator of the server"

CHANNEL_DELETED = "the channel was deleted."
CHANNEL_HIDDEN = f"I can no longer see the channel. {_ADMINISTRATOR} to give me access."
NO_PERMISSION = f"I do not have permission to write there. {_ADMINISTRATOR} for it."
MESSAGES_REFUSED = "Discord does not accept my messages there. Please ask me again in another channel."
"""Reasons why an answer cannot be shown in a channel."""

REST_REFUSED = "Discord does not accept it."
"""Reason why the rest of an answer cannot be shown."""

STORAGE_DOWN = "Redis unavailable"
MODEL_DOWN = "Language model unavailable"
"""Presence of the bot while it cannot answer."""


def rate_limited(until: datetime) -> str:
    """Return the presence while the model service takes no more requests."""
    return f"Rate limited until {until:%H:%M} UTC"


FORM_LOST = "I was restarted while this form was open, and cannot take it. Please open it again."
BUTTON_LOST = "This is from another version of me, and I do not know it. Please ask me again."
"""Answers to a form from before a restart, and to a button of another version."""

FILE_REFUSED = (
    "Discord does not accept it here. It may be too large for this server, or I lack the permission Attach "
    f"Files. {_ADMINISTRATOR} for help."
)
