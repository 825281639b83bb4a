"""Text as every store and service takes it, and as a reader can see it. Pure.

JSON can hold half of a surrogate pair (`"\\ud83d"`): of a program that cuts texts within an emoji. UTF-8
cannot: the request, the store or the command that such a text comes to fails.
"""

import json
import re
import unicodedata
from typing import Any


def well_formed(text: str) -> str:
    """Return `text` with pairs of surrogates joined, and U+FFFD for each half that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def well_formed_json(value: Any) -> Any:
    """Return a JSON value with all of its texts well formed. Raises `RecursionError` when it is too deep."""
    text = json.dumps(value, ensure_ascii=False)
    sound = well_formed(text)
    return value if sound == text else json.loads(sound)


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`; an ellipsis shows that there are more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` on one line with single blanks, shortened to `limit` characters."""
    line = " ".join(text.split())
    return line if limit is None else shorten(line, limit)


_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point"""


def is_invisible(character: str) -> bool:
    """Return true for a character that cannot be seen, except line ends, tabs and blanks."""
    if character in "\n\t ":
        return False
    category = unicodedata.category(character)
    return category in _HIDDEN or category == "Zs" or _BLANK.match(character) is not None


def first_invisible(text: str) -> str:
    """Return the first character of `text` that cannot be seen; empty when there is none.

    Those are controls, halves, and marks of direction or without width: https://trojansource.codes
    """
    return next((each for each in text if is_invisible(each)), "")


def visible(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, with blanks for what cannot be seen."""
    seen = "".join(" " if is_invisible(each) else each for each in text[: 2 * limit])
    return shorten(seen.strip(), limit)


_MAX_BLANKS = 40
_MAX_EMPTY_LINES = 2
"""In a row; a reader who sees more of them takes the text to be at its end."""

_RUN = re.compile(rf"[ \t]{{{_MAX_BLANKS + 1},}}")


def find_padding(text: str) -> str:
    """Describe the blanks or empty lines in `text` that may hide what follows; empty when there are none.

    Quoted text counts, too: what is wanted of a tool mostly stands in quotes.
    """
    if run := _RUN.search(text):
        return f"{len(run.group())} blanks in a row"
    empty = 0
    for each in text.splitlines():
        empty = 0 if each.strip() else empty + 1
        if empty > _MAX_EMPTY_LINES:
            return f"more than {_MAX_EMPTY_LINES} empty lines in a row"
    return ""
