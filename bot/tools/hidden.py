"""Characters that are not what they look like."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def hidden_in(text: str) -> str:
    """The first character of `text` that cannot be seen; empty when there is none.

    Those are controls, halves, and marks of direction or without width: https://trojansource.codes
    """
    return next((each for each in text if is_hidden(each)), "")


def is_hidden(character: str) -> bool:
    """Whether it cannot be seen, lines and tabs apart."""
    return character not in "\n\t" and unicodedata.category(character) in _HIDDEN
