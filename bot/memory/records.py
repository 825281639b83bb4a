"""What is remembered, as plain data: a fact that somebody had saved, or a turn of a conversation. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.chat import well_formed
from bot.memory.terms import indexed_terms

Kind = Literal["fact", "turn"]

MAX_TEXT_CHARS = 20_000
"""What is kept of a question or an answer."""

MAX_FACT_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said: the digest of their account, the name they had, and the words."""

    by: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something remembered. `at` is in Unix seconds, `source` the thread it comes from, as text.

    A fact is what was `said` (no text by those who only asked along), and `scope` says for whom; a turn has
    what was said in it and the `answer`. `id` tells it from the others of its kind.
    """

    kind: Kind
    id: str
    said: tuple[Said, ...]
    at: float
    source: str
    answer: str = ""
    scope: str = ""

    @property
    def key(self) -> str:
        """Its key in Redis."""
        return f"{PREFIX}:{self.kind}:{self.id}"

    @property
    def question(self) -> str:
        """All that was said."""
        return "\n".join(each.text for each in self.said if each.text)

    @property
    def text(self) -> str:
        """What is searched."""
        return f"{self.question}\n{self.answer}".strip()

    @property
    def authors(self) -> frozenset[str]:
        """The digests of who said it."""
        return frozenset(each.by for each in self.said)

    def fields(self, readers: frozenset[str], thread: str) -> dict[str, str | float]:
        """The record as a Redis hash, with what it is found by."""
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


def read_back(key: str, kind: bytes, at: bytes, body: bytes) -> Record:
    """The record that `Record.fields` made a hash of."""
    said, answer, source, scope = json.loads(body)
    return Record(
        kind="fact" if kind == b"fact" else "turn",
        id=key.rpartition(":")[2],
        said=tuple(Said(*each) for each in said),
        at=float(at),
        source=source,
        answer=answer,
        scope=scope,
    )


def readers_of(fields: Mapping[bytes, Any]) -> frozenset[str]:
    """Who may find the record of a hash."""
    return frozenset(fields[b"readers"].decode().split(","))


def digest(*names: str) -> str:
    """One name for several, of 40 hex digits."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:40]
