"""Titles of agent sessions and of suggested prompts: the words of a question, as plain text. Pure."""

import re

from bot.chat import Turn
from bot.chat.text import has_visible, one_line, visible, well_formed

MOST_TITLE = 80
"""Most characters of a title. Slack takes 200: https://docs.slack.dev/reference/methods/agents.sessions.setStatus"""

_MOST_READ = 1_000
_WORD_ROOM = 20
"""Characters that may be cut from the end so that no word is broken."""

_ADDRESS = re.compile(r"(?:https?|mailto):[^\s|>)\]]+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?=#?\w{1,31};)")
_EMPHASIS = re.compile(r"(?<!\w)_++|_++(?!\w)")
_EMPTY = re.compile(r"[(\[]\s{0,9}[)\]]")
_MARKUP = str.maketrans({**dict.fromkeys("<>|[]{}\\", " "), **dict.fromkeys("*`~", "")})


def plain_title(text: str, most: int = MOST_TITLE) -> str:
    """Return the first words of a text on one line, without markup and addresses; empty if none are left."""
    words = _EMPTY.sub("", _ADDRESS.sub("", well_formed(text[:_MOST_READ])))
    words = _EMPHASIS.sub("", _ENTITY.sub("", words)).translate(_MARKUP)
    line = one_line(visible(words, _MOST_READ)).lstrip("#-+ ")
    if not has_visible(line) or not any(map(str.isalnum, line)):
        return ""
    return line if len(line) <= most else _cut(line, most)


def _cut(line: str, most: int) -> str:
    head = line[: most - 1]
    begin, blank, _ = head.rpartition(" ")
    return f"{begin if blank and len(begin) >= most - 1 - _WORD_ROOM else head}…"


def title_of(turn: Turn) -> str:
    """Return the title of a new session: the first question of its turn, or the name of its first file."""
    for message in turn.messages:
        if title := plain_title(message.text):
            return title
    names = [each.name for message in turn.messages for each in message.attachments]
    return plain_title(names[0]) if names else ""
