"""Comparison of facts with the words of users: a model may shorten a statement, but not change it. Pure.

A tool's result may ask the model to save a fact, and a model may turn "we do not deploy on Friday" into its
opposite. So a fact must come from the users' own words. It is saved as the model wrote it only if it has the
same words, or other forms of them, in the same order; otherwise the users' own sentence is saved.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from bot.chat import Message
from bot.memory.terms import indexed_terms, query_terms

MOST_CHARS = 1_000
"""Most characters of the users' own sentences that are saved instead of a fact."""

_MOST_READ = 4_000
"""Characters of a message that are compared: users say early that they want something remembered."""

_MOST_OF = 0.75
"""Share of a fact's words that must be the users' own."""

_MOST_SENTENCES = 4
_STEM = 4
"""Least number of characters that two forms of a word have in common."""

_SOMEBODY = frozenset({"user", "users", "person", "people", "team", "channel", "they"})
"""Words with which a model changes a fact to the third person."""

_AS_TOLD = {
    **dict.fromkeys(
        ("i", "me", "my"), frozenset({"i", "me", "my", "user", "person", "they", "them", "their"})
    ),
    **dict.fromkeys(("we", "us", "our"), frozenset({"we", "us", "our", "they", "them", "their", *_SOMEBODY})),
}
"""Words with which users refer to themselves, and the words with which a model may replace them."""

_OWNER = frozenset({"my", "our"})
"""Words that may be omitted at the beginning, because the owner of a fact is known."""

_REQUEST = frozenset({"remember", "please", "note", "save", "memorize", "memorise", "hi", "hello", "that"})
"""Words with which users start to ask that something is remembered."""

_SMALL = frozenset({"the", "a", "an"})
_SAME_VERB = ({"am", "is", "are"}, {"was", "were"}, {"have", "has"}, {"do", "does"})
_PLURAL = re.compile(r"(?:(?<=[sxz])|(?<=[cs]h))es$|s$")

_GENITIVE = re.compile(r"(?<=\w)['\u2019]s\b")
_FIGURES = re.compile(r"[-+\u2212]?\d+(?:[.,:/-]\d+)*|[?\uff1f\u061f<>=\u2264\u2265\u2260%&$\u20ac\xa3\xa5]")
"""Numbers with their signs, and other characters that change the meaning."""

_QUESTIONS = ("?", "\uff1f", "\u061f")

_SENTENCE_ENDS = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")


@dataclass(frozen=True, slots=True)
class _Sentence:
    """Sentence and its words, including the author's name."""

    author: str
    text: str
    words: Sequence[str]


def quote(fact: str, messages: Sequence[Message]) -> str | None:
    """Return the fact as it can be saved: unchanged, or in the users' own words.

    None if the users have not said it, or not in few enough words.
    """
    wanted = [term for term in query_terms(fact) if _counts(term) and term not in _SOMEBODY]
    sentences = [each for message in messages if not message.decision for each in _sentences(message)]
    known = [term for term in wanted if any(_has(each, term) for each in sentences)]
    foreign = set(wanted) - set(known)
    if not known or len(known) < _MOST_OF * len(wanted) or any(_has_digit(term) for term in foreign):
        return None
    said = _passage(known, sentences)
    if said and not foreign and _agree(fact, said):
        return fact
    own = " ".join(f"{each.author}: {each.text}" if each.author else each.text for each in said)
    return own if 0 < len(own) <= MOST_CHARS else None


def _sentences(message: Message) -> list[_Sentence]:
    parts = [each.strip() for each in _SENTENCE_ENDS.split(message.text[:_MOST_READ])]
    texts = [  # a question says nothing without its answer
        f"{part} {answer}".strip() if part.endswith(_QUESTIONS) else part
        for part, answer in zip_longest(parts, parts[1:], fillvalue="")
    ]
    named = [f"{message.author_name} {each}" for each in texts]  # a fact may name who says it
    return [
        _Sentence(message.author_name, text, indexed_terms(words))
        for text, words in zip(texts, named, strict=True)
        if text
    ]


def _passage(terms: Sequence[str], sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """Return the few sentences that contain all of the terms, in order; none if there are too many."""
    left, chosen = set(terms), set[int]()
    holds = [{term for term in terms if _has(each, term)} for each in sentences]
    while left and len(chosen) < _MOST_SENTENCES:
        best = max(
            range(len(sentences)), key=lambda place: (len(holds[place] & left), -len(sentences[place].text))
        )
        chosen.add(best)
        left -= holds[best]
    return [] if left else [sentences[place] for place in sorted(chosen)]


def _agree(fact: str, said: Sequence[_Sentence]) -> bool:
    """Return whether the fact has the users' words, except for the grammatical person and the request."""
    text = " ".join(each.text for each in said)
    if _FIGURES.findall(fact) != _FIGURES.findall(text):
        return False
    spoken, told = _words(text), _words(fact)
    asking = next((place for place, word in enumerate(spoken) if word not in _REQUEST), len(spoken))
    return any(_are_alike(told, spoken[begin:]) for begin in range(asking + 1))


def _words(text: str) -> list[str]:
    return [word for word in indexed_terms(_GENITIVE.sub("", text)) if word not in _SMALL]


def _are_alike(told: Sequence[str], spoken: Sequence[str]) -> bool:
    if len(told) == len(spoken):
        return all(map(_is_as_said, told, spoken))
    is_shorter = len(told) == len(spoken) - 1 and spoken[0] in _OWNER
    return is_shorter and all(map(_is_as_said, told, spoken[1:]))


def _is_as_said(told: str, spoken: str) -> bool:
    if spoken in _AS_TOLD:
        return told in _AS_TOLD[spoken]
    is_same_verb = any({told, spoken} <= verb for verb in _SAME_VERB)
    return told == spoken or is_same_verb or _without_s(told) == _without_s(spoken)


def _without_s(word: str) -> str:
    """Return `prefer` for `prefers`, and `day` for `days`."""
    return _PLURAL.sub("", word) if len(word) >= _STEM and word.isalpha() else word


def _has(sentence: _Sentence, term: str) -> bool:
    return any(_is_form_of(term, word) for word in sentence.words)


def _is_form_of(term: str, word: str) -> bool:
    """Return whether two words begin alike, as `leads` and `leading` do; numbers have no forms."""
    if _has_digit(term) or _has_digit(word):
        return term == word
    stem = max(_STEM, min(len(term), len(word)) - 2)
    return term == word or (len(term) >= _STEM and term[:stem] == word[:stem])


def _counts(term: str) -> bool:
    return len(term) > 1 or term.isdigit()


def _has_digit(term: str) -> bool:
    return any(character.isdigit() for character in term)
