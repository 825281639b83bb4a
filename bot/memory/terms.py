"""Normalisation of text to search terms. Pure."""

import re
import unicodedata
from collections.abc import Sequence

_MOST_TERMS = 32
_MOST_TERM_CHARS = 64

_ACCENTS = re.compile("[\u0300-\u036f]")
_SIGN = re.compile(r"[\W_]")
"""Any character that is not a letter or digit."""

_UNSPACED = re.compile(
    # scripts written without spaces (Thai to Khmer, kana, Chinese), where RediSearch sees one long word
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_MOST_MARKS = 30
"""Most marks in a row: n take n² steps to sort. https://unicode.org/reports/tr15/#Stream_Safe_Text_Format"""

_MORE_MARKS = frozenset("\u0f73\u0f75\u0f81\uff9e\uff9f")
"""Characters that decompose to marks."""

_COMMON_WORDS = """
a about all an and any are as at be been but by can could did do does for from had has have how i if in into
is it its me my no not of on or our said say should so that the their them then there these they this to us
was we were what when where which who why will with would you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())
"""Words to ignore: of "what did we decide about the budget" only the last word should count."""


def indexed_terms(text: str) -> list[str]:
    """Return the terms to index; for scripts without spaces each character and each pair of neighbours."""
    return [term for word in _words(text) for term in _split(word, is_query=False)]


def query_terms(text: str) -> list[str]:
    """Return the distinct terms to search, letters and digits only; common words count only if alone."""
    terms = list(dict.fromkeys(term for word in _words(text) for term in _split(word, is_query=True)))
    return [term for term in terms if term not in _COMMON][:_MOST_TERMS] or terms[:_MOST_TERMS]


def _words(text: str) -> list[str]:
    """Return the runs of letters, marks and digits without case and accents, for texts and queries alike."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", _with_few_marks(text)).casefold())
    plain = unicodedata.normalize("NFC", bare)
    kept = _SIGN.sub(lambda sign: sign[0] if unicodedata.category(sign[0])[0] == "M" else " ", plain)
    return _UNSPACED.sub(r" \g<0> ", kept).split()


def _with_few_marks(text: str) -> str:
    if text.isascii():
        return text
    kept: list[str] = []
    in_a_row = 0
    for each in text:
        in_a_row = in_a_row + 1 if unicodedata.combining(each) or each in _MORE_MARKS else 0
        if in_a_row <= _MOST_MARKS:
            kept.append(each)
    return "".join(kept)


def _split(word: str, is_query: bool) -> Sequence[str]:
    if not _UNSPACED.fullmatch(word):
        return [word[:_MOST_TERM_CHARS]]
    pairs = [word[at : at + 2] for at in range(len(word) - 1)]
    return pairs or [word] if is_query else [*word, *pairs]
