"""Names of plug-in tools for the model, which cannot collide with other tools."""

import hashlib
import re

SEPARATOR = "__"
"""Separator that is part of no name of a built-in tool or of a plug-in."""

_MOST_CHARS = 64  # OpenAI accepts ^[a-zA-Z0-9_-]{1,64}$


def public_name(plugin: str, tool: str) -> str:
    """Return a name such as `github__create_issue`; invalid or long names get a digest."""
    plain = f"{plugin}{SEPARATOR}{re.sub(r'[^a-zA-Z0-9_-]', '_', tool)}"
    if plain == f"{plugin}{SEPARATOR}{tool}" and len(plain) <= _MOST_CHARS:
        return plain
    digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _MOST_CHARS - 9]}_{digest}"
