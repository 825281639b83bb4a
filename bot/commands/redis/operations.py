"""Operations on keys and values: the table from which parser, help, Discord options and HTTP follow."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, get_origin, get_type_hints

from bot.chat import Json
from bot.chat.text import count
from bot.commands.redis import texts
from bot.commands.redis.arguments import Argument, Data, Key, Pattern, Ttl, Value
from bot.commands.redis.texts import as_text, inline_code, line
from bot.storage.key_value import KeyValueStore, Listing

MAX_KEYS = 1_000
"""Most keys in one answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of an operation: the fields of an answer over HTTP, and Markdown for a chat."""

    fields: Mapping[str, Json]
    text: str


@dataclass(frozen=True)
class Operation(ABC):
    """An operation; its fields are its arguments, over HTTP under the same names.

    `name` is its name over HTTP and in the log, `word` its subcommand; the help adds `hint` to `summary`.
    """

    name: ClassVar[str]
    word: ClassVar[str]
    summary: ClassVar[str]
    hint: ClassVar[str] = ""

    @abstractmethod
    async def run(self, store: KeyValueStore) -> Answer:
        """Run the operation. Raises `InvalidArgument` and `bot.chat.StorageDown`."""

    @classmethod
    @cache
    def arguments(cls) -> Mapping[str, Argument]:
        """Return the fields that users of a chat platform can enter, in order."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}


@dataclass(frozen=True)
class Set(Operation):
    """Store a value, for `ttl` seconds if given. In a chat, one without a value is a draft for a form."""

    name = word = "set"
    summary, hint = "Store a value", "everything after the key, or else from a form"
    key: Key
    value: Value
    ttl: Ttl = None

    async def run(self, store: KeyValueStore) -> Answer:
        await store.set(self.key, self.value, self.ttl)
        return _changed(True, texts.stored(inline_code(self.key), self.ttl))


@dataclass(frozen=True)
class Get(Operation):
    """Read a value; the answer has a `type` if it is not a text, and a `ttl` if it expires."""

    name = word = "get"
    summary = "Show a value"
    key: Key

    async def run(self, store: KeyValueStore) -> Answer:
        value = await store.get(self.key)
        if value is None:
            return Answer({"result": None, "value": None}, texts.NOTHING.format(key=inline_code(self.key)))
        content = json.loads(value.text) if value.type == "json" and value.text else value.text
        kind = {} if value.type == "string" else {"type": value.type}
        ttl = {} if value.ttl is None else {"ttl": value.ttl}
        return Answer(
            {"result": value.text, "value": content, **kind, **ttl}, texts.describe_value(self.key, value)
        )


@dataclass(frozen=True)
class Delete(Operation):
    """Remove a value of any type; the result is false if there was none."""

    name, word = "delete", "del"
    summary = "Delete a value"
    key: Key

    async def run(self, store: KeyValueStore) -> Answer:
        is_deleted = await store.delete(self.key)
        sentence = texts.DELETED if is_deleted else texts.NOT_FOUND
        return _changed(is_deleted, sentence.format(key=inline_code(self.key)))


@dataclass(frozen=True)
class Keys(Operation):
    """List the first keys that match a glob."""

    name = word = "keys"
    summary, hint = "List keys", "`*`, `?` and `[ab]` are wildcards"
    pattern: Pattern = "*"

    async def run(self, store: KeyValueStore) -> Answer:
        keys = await store.keys(self.pattern, MAX_KEYS + 1)  # one more shows that there are more
        found = Listing(dict.fromkeys(keys[:MAX_KEYS]), is_cut=len(keys) > MAX_KEYS)
        title = "Keys" if self.pattern == "*" else f"Keys that match {inline_code(self.pattern)}"
        fields = {"result": [*found.values], "truncated": found.is_cut}
        return Answer(fields, texts.format_list(title, found, map(line, found.values)))


@dataclass(frozen=True)
class All(Operation):
    """List the first keys that match a glob, with their values; fewer when the values are long."""

    name = word = "all"
    summary = "List keys with their values"
    pattern: str = "*"  # over HTTP only

    async def run(self, store: KeyValueStore) -> Answer:
        found = await store.all(MAX_KEYS, self.pattern)
        left_out = {"left_out": found.left_out} if found.left_out else {}
        fields = {"result": dict(found.values), "truncated": found.is_cut, **left_out}
        lines = (f"{line(key)} = {line(as_text(value))}" for key, value in found.values.items())
        return Answer(fields, texts.format_list("Keys with text", found, lines))


@dataclass(frozen=True)
class Mset(Operation):
    """Store several values at once, atomically."""

    name = word = "mset"
    summary = "Store several values at once"
    data: Data
    ttl: Ttl = None

    async def run(self, store: KeyValueStore) -> Answer:
        number = await store.mset(self.data, self.ttl)
        return _changed(number, texts.stored(count(number, "value"), self.ttl))


@dataclass(frozen=True)
class Info(Operation):
    """Describe the server."""

    name = word = "info"
    summary = "Show the state of Redis"

    async def run(self, store: KeyValueStore) -> Answer:
        facts = await store.info()
        return Answer({"result": facts}, texts.facts(facts))


OPERATIONS: tuple[type[Operation], ...] = (Set, Get, Delete, Keys, All, Mset, Info)


def _changed(result: Json, sentence: str) -> Answer:
    return Answer({"result": result, "message": sentence}, sentence)
