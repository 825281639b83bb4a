"""Invisible characters, and blanks that push what follows out of sight."""

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point"""


def hidden_in(text: str) -> str:
    """The first character of `text` that cannot be seen; empty when there is none.

    Those are controls, halves, and marks of direction or without width: https://trojansource.codes
    """
    return next((each for each in text if is_hidden(each)), "")


def is_hidden(character: str) -> bool:
    """Whether it cannot be seen, lines and tabs apart."""
    if character in "\n\t ":
        return False
    category = unicodedata.category(character)
    return category in _HIDDEN or category == "Zs" or _BLANK.match(character) is not None


_MOST_BLANKS = 40
_MOST_EMPTY_LINES = 2
"""In a row; a reader who sees more of them takes the text to be at its end."""

_RUN = re.compile(rf"[ \t]{{{_MOST_BLANKS + 1},}}")


def padding_in(text: str) -> str:
    """The blanks or empty lines in `text` that may hide what follows, in words; empty when there are none.

    Quoted text counts, too: what is wanted of a tool mostly stands in quotes.
    """
    if run := _RUN.search(text):
        return f"{len(run.group())} blanks in a row"
    empty = 0
    for each in text.splitlines():
        empty = 0 if each.strip() else empty + 1
        if empty > _MOST_EMPTY_LINES:
            return f"more than {_MOST_EMPTY_LINES} empty lines in a row"
    return ""
