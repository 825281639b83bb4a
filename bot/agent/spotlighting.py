"""Marks that tell the model which text is data and not an instruction. Pure.

Each line of data begins with a sign, so its end cannot be forged (datamarking: Hines and others, "Defending
Against Indirect Prompt Injection Attacks With Spotlighting", 2024). No secret is needed, so an earlier result
is the same in every request and services can cache it. What users see stays unmarked.
"""

import re

from bot.chat.text import one_line, shorten

SIGN = "> "
_HEAD = "[data from {source}]"
_END = "[end of data]"
_CUT = f"{SIGN}… (shortened to make room for newer results)"

# Characters that a model reads and a person cannot see: controls, direction marks, tags and variation
# selectors can hide whole sentences. Joiners and the emoji selector stay, because scripts and emoji need
# them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0e\ufeff\ufff9-\ufffb\U000e0000-\U000e01ef]"
)
_LONGEST_LABEL = 200


def mark(source: str, text: str) -> str:
    """Mark `text` as data from `source`, without invisible characters."""
    lines = [SIGN + line for line in text.splitlines()]
    # afterwards: some of these characters end a line
    return _INVISIBLE.sub("", "\n".join([_HEAD.format(source=label(source)), *lines, _END]))


def cut_marked(text: str, chars: int) -> str:
    """Cut marked text to about `chars` characters of data, and keep its end mark."""
    if len(text) <= chars + len(_END) + 1 or not text.endswith("\n" + _END):
        return text
    return f"{text[:chars]}\n{_CUT}\n{_END}"


def indent(text: str) -> str:
    """Indent all lines but the first, so that none of them can look like another author's line."""
    return "\n  ".join(text.splitlines())


def unmark(text: str) -> str:
    """Return the data within marked text; other text is returned unchanged."""
    first, *lines, last = text.split("\n") if "\n" in text else ("", "", text)
    if last != _END or not first.startswith(_HEAD.partition("{")[0]):
        return text
    return "\n".join(line.removeprefix(SIGN) for line in lines)


def label(name: str) -> str:
    """Return a user-given name in a form that is safe within the bot's own line in brackets."""
    line = one_line(_INVISIBLE.sub("", one_line(name)))
    return shorten(line.replace("[", "(").replace("]", ")"), _LONGEST_LABEL)
