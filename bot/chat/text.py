"""Text that every store and service accepts, without invisible characters. Pure.

JSON can contain half of a surrogate pair (`"\\ud83d"`), from a program that cuts text within an emoji. UTF-8
cannot: requests, stores and commands fail with such a text.
"""

import hashlib
import json
import re
import unicodedata
from typing import Any


def well_formed(text: str) -> str:
    """Return `text` with surrogate pairs joined, and U+FFFD for each lone half."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def well_formed_json(value: Any) -> Any:
    """Return a JSON value with all of its texts well formed. Raises `RecursionError` if it is too deep."""
    text = json.dumps(value, ensure_ascii=False)
    sound = well_formed(text)
    return value if sound == text else json.loads(sound)


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, with an ellipsis if it was longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` on one line with single blanks, shortened to `limit` characters."""
    line = " ".join(text.split())
    return line if limit is None else shorten(line, limit)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 row`, `1,200 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a duration in words: `0.4 s`, `12 s`, `2 min 3 s`, `1 h 5 min`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.1):.1f} s"
    minutes, rest = divmod(round(min(seconds, _LONGEST_DURATION)), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


_LONGEST_DURATION = 359_940.0
"""Seconds: 99 h 59 min. Anything longer is shown as that."""

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that are displayed as nothing: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point"""


def is_invisible(character: str) -> bool:
    """Return whether a character is invisible; line ends, tabs and blanks do not count."""
    if character in "\n\t ":
        return False
    category = unicodedata.category(character)
    return category in _HIDDEN or category == "Zs" or _BLANK.match(character) is not None


def first_invisible(text: str) -> str:
    """Return the first invisible character of `text`, or an empty string.

    These are control characters, lone surrogates, direction marks and zero-width marks:
    https://trojansource.codes
    """
    return next((each for each in text if is_invisible(each)), "")


def has_visible(text: str) -> bool:
    """Return whether a reader sees anything of `text`."""
    return not all(each.isspace() or is_invisible(each) for each in text)


def unnamed_user(account: str) -> str:
    """Return the words for a user whose name is not known, by their account: `<platform>:<user id>`.

    The number is that of the account, everywhere and at any time. It tells nobody its id.
    """
    digest = hashlib.sha256(account.encode("utf-8", "surrogatepass")).digest()
    return f"unnamed user {int.from_bytes(digest[:8], 'big') % 1_000_000:06}"


def visible(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, with blanks for invisible ones."""
    seen = "".join(" " if is_invisible(each) else each for each in text[: 2 * limit])
    return shorten(seen.strip(), limit)


_MAX_BLANKS = 40
_MAX_EMPTY_LINES = 2
"""Most blanks, or empty lines, in a row: after more of them a reader takes the text to have ended."""

_RUN = re.compile(rf"[ \t]{{{_MAX_BLANKS + 1},}}")


def find_padding(text: str) -> str:
    """Describe blanks or empty lines in `text` that may hide the rest; return an empty string without any.

    Quoted text counts, too, because the arguments of a tool are mostly quoted.
    """
    if run := _RUN.search(text):
        return f"{len(run.group())} blanks in a row"
    empty = 0
    for each in text.splitlines():
        empty = 0 if each.strip() else empty + 1
        if empty > _MAX_EMPTY_LINES:
            return f"more than {_MAX_EMPTY_LINES} empty lines in a row"
    return ""
