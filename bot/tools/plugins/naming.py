"""The names that a plug-in's tools have for the model: none can be taken for another tool's."""

import hashlib
import re

SEPARATOR = "__"
"""Stands in no name of the bot's own tools, and in no plug-in's."""

_MOST_CHARS = 64  # what OpenAI takes: ^[a-zA-Z0-9_-]{1,64}$


def public_name(plugin: str, tool: str) -> str:
    """`github__create_issue`; what does not fit into a name is told apart by a digest."""
    plain = f"{plugin}{SEPARATOR}{re.sub(r'[^a-zA-Z0-9_-]', '_', tool)}"
    if plain == f"{plugin}{SEPARATOR}{tool}" and len(plain) <= _MOST_CHARS:
        return plain
    digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _MOST_CHARS - 9]}_{digest}"
