"""Facts compared with what people wrote: a model may shorten a sentence, not change what it says. Pure.

A tool's result may ask the model to save a fact, and a model may turn "we do not deploy on Friday" into its
opposite. So a fact has to come from people's own words, and is kept as the model wrote it only if it leaves
out, adds and reorders nothing that matters. Else their own sentence is kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from bot.chat import Message
from bot.recall.words import indexed_terms, query_terms

MOST_CHARS = 1_000
"""Of people's own sentences that are kept in place of a fact."""

_MOST_READ = 4_000
"""Characters of a message that are looked at: who wants something remembered says it at once."""

_MOST_OF = 0.75
"""Share of a fact that users must have said themselves."""

_MOST_SENTENCES = 4
_STEM = 4
"""Characters that two forms of a word have in common at least."""

_SOMEBODY = frozenset({"user", "users", "person", "people", "team", "channel", "they"})
"""Words by which a model puts a fact into the third person."""

_REQUEST = frozenset(
    {"remember", "please", "note", "save", "memorize", "memorise", "keep", "mind", "fact", "hi", "hello"}
)
"""Words by which people ask to have something remembered."""

_PERSONS = (
    frozenset({"i", "me", "my", "mine", "we", "us", "our", "ours"}),
    frozenset({"you", "your", "yours"}),
    frozenset({"he", "him", "his", "she", "her", "it", "its", "they", "them", "their"}),
)
"""Pronouns, which a fact in the third person leaves out or changes, unless they tell two persons apart."""

_FILLERS = frozenset({"a", "an", "the", "am", "is", "are", "be", "do", "does", "have", "has", "that", "this"})
"""Words that can be left out or added. All others say something: `from` and `to`, `was`, `should`, `3`."""

_QUESTIONS = ("?", "\uff1f", "\u061f")

_SENTENCE_ENDS = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence and its words; `spoken` are those without the author's name, which a fact may leave out."""

    author: str
    text: str
    words: Sequence[str]
    spoken: Sequence[str]


def quoted(fact: str, messages: Sequence[Message]) -> str | None:
    """Return the fact as it may be saved: as it is, or in people's own words.

    None when people have not said it, or not in few enough words.
    """
    wanted = [term for term in query_terms(fact) if len(term) > 1 and term not in _SOMEBODY]
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
        _Sentence(message.author_name, text, indexed_terms(words), indexed_terms(text))
        for text, words in zip(texts, named, strict=True)
        if text
    ]


def _passage(terms: Sequence[str], sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """Return the few sentences that hold all the terms, in their order; none when they are too many."""
    left, chosen = set(terms), set[int]()
    holds = [{term for term in terms if _has(each, term)} for each in sentences]
    while left and len(chosen) < _MOST_SENTENCES:
        best = max(
            range(len(sentences)),
            key=lambda place: (len(holds[place] & left), -len(sentences[place].spoken)),
        )
        chosen.add(best)
        left -= holds[best]
    return [] if left else [sentences[place] for place in sorted(chosen)]


def _agree(fact: str, said: Sequence[_Sentence]) -> bool:
    """Return whether the fact has the same words in the same order, fillers and the speaker's name apart."""
    spoken = [word for each in said for word in each.spoken]
    is_of_several = sum(not person.isdisjoint(spoken) for person in _PERSONS) > 1
    fillers = _FILLERS if is_of_several else _FILLERS.union(*_PERSONS)
    kept = indexed_terms(fact)
    heard = [word for word in spoken if word not in fillers | (_REQUEST - set(kept))]
    told = [word for word in kept if word not in fillers | (_SOMEBODY - set(spoken))]
    names = [[], *(indexed_terms(each.author) for each in said)]
    is_asked = any(mark in each.text for each in said for mark in _QUESTIONS)
    return not is_asked and any(
        told[: len(name)] == name and _are_alike(told[len(name) :], heard) for name in names
    )


def _are_alike(words: Sequence[str], others: Sequence[str]) -> bool:
    return len(words) == len(others) and all(map(_is_inflected, words, others))


def _is_inflected(word: str, other: str) -> bool:
    """Return whether they differ by the `s` of the third person or of the plural at most."""
    short, long = sorted((word, other), key=len)
    return long in (short, f"{short}s", f"{short}es") or long == f"{short.removesuffix('y')}ies"


def _has(sentence: _Sentence, term: str) -> bool:
    return any(_is_form_of(term, word) for word in sentence.words)


def _is_form_of(term: str, word: str) -> bool:
    """Return whether they begin alike, as `leads` and `leading` do."""
    if term == word or _has_digit(term):
        return term == word
    stem = max(_STEM, min(len(term), len(word)) - 2)
    return len(term) >= _STEM and term[:stem] == word[:stem]


def _has_digit(term: str) -> bool:
    return any(character.isdigit() for character in term)
