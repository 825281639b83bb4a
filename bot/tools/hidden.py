"""Characters that are not what they look like."""

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
