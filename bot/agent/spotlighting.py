"""Marks data for the model, so that it can be told from what people and the bot itself say. Pure.

Each line of it stands behind a sign, which makes the end of the data impossible to forge: whatever the data
says, it says it behind the sign. (Hines and others, "Defending Against Indirect Prompt Injection Attacks With
Spotlighting", 2024, call this datamarking.) No secret is needed, so an earlier result reads the same in
every request, which lets services cache it. What people see and what is stored stays unmarked.
"""

import re

from bot.chat.text import one_line, shorten

SIGN = "> "
_HEAD = "[data from {source}]"
_END = "[end of data]"
_CUT = f"{SIGN}… (shortened to make room for newer results)"

# What no reader sees, but a model reads: controls, marks of direction, tags and variation selectors, in which
# whole sentences can be hidden. Not the joiners and the selector of colour, which scripts and emoji need.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0e\ufeff\ufff9-\ufffb\U000e0000-\U000e01ef]"
)
_LONGEST_LABEL = 200


def marked(source: str, text: str) -> str:
    """`text` as data from `source`, without what is invisible."""
    lines = [_INVISIBLE.sub("", line) for line in text.splitlines()]
    return "\n".join([_HEAD.format(source=label(source)), *(SIGN + line for line in lines), _END])


def cut_marked(text: str, chars: int) -> str:
    """Return marked text with about so many characters of its data; its end stays where it ends."""
    if len(text) <= chars + len(_END) + 1 or not text.endswith("\n" + _END):
        return text
    return f"{text[:chars]}\n{_CUT}\n{_END}"


def indented(text: str) -> str:
    """Return `text` with its following lines indented, so that none of them can pass for another's line."""
    return "\n  ".join(text.splitlines())


def unmarked(text: str) -> str:
    """The text that was marked; one that was not is given back as it is."""
    first, *lines, last = text.split("\n") if "\n" in text else ("", "", text)
    if last != _END or not first.startswith(_HEAD.partition("{")[0]):
        return text
    return "\n".join(line.removeprefix(SIGN) for line in lines)


def label(name: str) -> str:
    """A name that somebody has given to something, as a part of a line of ours in brackets."""
    line = one_line(_INVISIBLE.sub("", one_line(name)))
    return shorten(line.replace("[", "(").replace("]", ")"), _LONGEST_LABEL)
