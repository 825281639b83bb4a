"""Prefixes of the bot's own Redis keys, which the prefix for users' keys must not overlap."""

OWN = (
    "{bot}:",  # inbox, shared state: everything that carries the bot's hash tag
    "checkpoint",  # LangGraph's saver: checkpoint:, checkpoint_latest:, checkpoint_write:
    "write_keys_zset:",  # the same
    "people:",  # linked accounts
    "recall:",  # long-term memory: facts and past conversations with their owners
)
"""Prefixes of all keys; a test compares them with the keys of a running bot."""


def overlapped(prefix: str) -> str | None:
    """Return the bot's prefix that overlaps with `prefix`, or None; an empty prefix overlaps all."""
    return next((own for own in OWN if own.startswith(prefix) or prefix.startswith(own)), None)
