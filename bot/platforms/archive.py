"""Comparison of messages and names with a query, where a service has no search of its own. Pure."""

from collections.abc import Sequence


def words_of(query: str) -> Sequence[str]:
    """Return the words of a query, in a form in which capital letters do not count."""
    return query.casefold().split()[:20]


def contains_all(text: str, words: Sequence[str]) -> bool:
    """Return whether a text contains all words, and there are any."""
    folded = text.casefold()
    return bool(words) and all(each in folded for each in words)
