"""Records of the long-term memory as plain data: a saved fact, or a turn of a conversation. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.chat import well_formed
from bot.memory.terms import indexed_terms

Kind = Literal["fact", "turn"]

MAX_TEXT_CHARS = 20_000
"""Longest stored question or answer."""

MAX_FACT_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words of one user, with the digest of their account and their name at that time."""

    by: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """Stored fact or turn. `at` is in Unix seconds, `source` is the thread as text, `id` is unique by kind.

    A fact has its text in `said` (other authors of the turn have no text) and a `scope`; a turn has the
    messages in `said` and the `answer`.
    """

    kind: Kind
    id: str
    said: tuple[Utterance, ...]
    at: float
    source: str
    answer: str = ""
    scope: str = ""

    @property
    def key(self) -> str:
        """Return the record's key in Redis."""
        return f"{PREFIX}:{self.kind}:{self.id}"

    @property
    def short_id(self) -> str:
        """Return the beginning of the id, by which a user names one of their own facts."""
        return self.id[:8]

    @property
    def question(self) -> str:
        """Return the words of all authors."""
        return "\n".join(each.text for each in self.said if each.text)

    @property
    def text(self) -> str:
        """Return the text that is searched: words of the authors, and the answer."""
        return f"{self.question}\n{self.answer}".strip()

    @property
    def authors(self) -> frozenset[str]:
        """Return the digests of the authors."""
        return frozenset(each.by for each in self.said)

    def fields(self, readers: frozenset[str], thread: str) -> dict[str, str | float]:
        """Return the record as a Redis hash, including its search fields."""
        said = [[each.by, each.name, well_formed(each.text)] for each in self.said]
        return {
            "kind": self.kind,
            "readers": ",".join(sorted(readers)),
            "authors": ",".join(sorted(self.authors)),
            "thread": thread,
            "terms": " ".join(indexed_terms(self.text)),
            "at": self.at,
            "body": json.dumps([said, well_formed(self.answer), self.source, self.scope]),
        }


PREFIX = "recall:record"
READ = ("kind", "at", "body")
"""The fields that `read_back` needs, in its order."""


def read_back(key: str, kind: bytes, at: bytes, body: bytes) -> MemoryRecord:
    """Return the record from the fields of its hash."""
    said, answer, source, scope = json.loads(body)
    return MemoryRecord(
        kind="fact" if kind == b"fact" else "turn",
        id=key.rpartition(":")[2],
        said=tuple(Utterance(*each) for each in said),
        at=float(at),
        source=source,
        answer=answer,
        scope=scope,
    )


def source_of(body: bytes) -> str:
    """Return the thread, as text, from the field `body` of a record."""
    return str(json.loads(body)[2])


def fact_id(reader: str, text: str) -> str:
    """Return the id of a fact: the same words for the same reader are the same fact."""
    return digest(reader, *(indexed_terms(text) or [text]))


def readers_of(fields: Mapping[bytes, Any]) -> frozenset[str]:
    """Return the readers of the record of a hash."""
    return frozenset(fields[b"readers"].decode().split(","))


def digest(*names: str) -> str:
    """Return a digest of several names: 40 hex digits."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:40]
