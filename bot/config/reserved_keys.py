"""Which keys in Redis are the bot's own, so that the prefix for people's keys can be kept apart from them."""

OWN = (
    "{bot}:",  # inbox, shared state: everything that carries the bot's hash tag
    "checkpoint",  # LangGraph's saver: checkpoint:, checkpoint_latest:, checkpoint_write:
    "write_keys_zset:",  # the same
    "people:",  # accounts that are one person
    "recall:",  # facts and past conversations, searchable, and whose they are
)
"""How the bot's own keys begin. A new family is added here: a test looks at all the keys of a running bot."""


def overlapped(prefix: str) -> str | None:
    """The beginning of own keys that keys under `prefix` could be taken for; None when there is none.

    An empty prefix overlaps all.
    """
    return next((own for own in OWN if own.startswith(prefix) or prefix.startswith(own)), None)
