"""Keys and values inside Markdown and log lines, so that none of them can do more than be read. Pure."""

import json
import re

_LONGEST = 120
_INVISIBLE = "\u200b"


def line(text: str) -> str:
    """`text` on one line and cut, as a JSON string where it has anything invisible or a backtick."""
    cut = text[:_LONGEST]
    is_plain = cut.isprintable() and cut == cut.strip() != "" and "`" not in cut
    shown = cut if is_plain else json.dumps(cut).replace("`", "\\u0060")
    return shown + ("…" if len(text) > _LONGEST else "")


def named(text: str) -> str:
    """`text` in a sentence, as inline code."""
    return f"`{line(text)}`"


def fenced(text: str) -> str:
    """`text` as a code block that it cannot end: no chat platform knows longer fences, so runs are broken."""
    return "```\n" + re.sub("`(?=``)", "`" + _INVISIBLE, text) + "\n```"
