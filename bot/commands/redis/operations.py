"""Operations on keys and values, and the table from which parser, help, Discord options and HTTP follow."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bot.chat import Json
from bot.commands.redis.format import as_text, count, describe_value, duration, line, listing, named
from bot.storage.key_value import KeyValueStore

MAX_KEYS = 1_000
"""Most keys in one answer."""

Result = Mapping[str, Json]


class Operation(ABC):
    """An operation; its fields are its arguments, over HTTP under the same names."""

    name: ClassVar[str]

    @abstractmethod
    async def run(self, store: KeyValueStore) -> Result:
        """Return the result as JSON. Raises `NotStorable` and `bot.chat.StorageDown`."""

    @abstractmethod
    def describe(self, result: Result) -> str:
        """Return the result of `run` as Markdown."""


@dataclass(frozen=True)
class Set(Operation):
    """Store a value, for `ttl` seconds if given."""

    name = "set"
    key: str
    value: Json
    ttl: int | None = None

    async def run(self, store: KeyValueStore) -> Result:
        await store.set(self.key, self.value, self.ttl)
        return {"result": True}

    def describe(self, result: Result) -> str:
        return f"Stored {named(self.key)}{duration(self.ttl)}."


@dataclass(frozen=True)
class Get(Operation):
    """Read a value; the result has a `type` if it is not a text, and a `ttl` if it expires."""

    name = "get"
    key: str

    async def run(self, store: KeyValueStore) -> Result:
        value = await store.get(self.key)
        if value is None:
            return {"result": None}
        kind = {} if value.type == "string" else {"type": value.type}
        ttl = {} if value.ttl is None else {"ttl": value.ttl}
        return {"result": value.text, **kind, **ttl}

    def describe(self, result: Result) -> str:
        return describe_value(self.key, result["result"], result.get("type", "string"), result.get("ttl"))


@dataclass(frozen=True)
class Delete(Operation):
    """Remove a value of any type; the result is false if there was none."""

    name = "delete"
    key: str

    async def run(self, store: KeyValueStore) -> Result:
        return {"result": await store.delete(self.key)}

    def describe(self, result: Result) -> str:
        return f"Deleted {named(self.key)}." if result["result"] else f"There is no {named(self.key)}."


@dataclass(frozen=True)
class Keys(Operation):
    """List the first keys that match a glob."""

    name = "keys"
    pattern: str = "*"

    async def run(self, store: KeyValueStore) -> Result:
        keys = await store.keys(self.pattern, MAX_KEYS + 1)  # one more shows that there are more
        return {"result": keys[:MAX_KEYS], "truncated": len(keys) > MAX_KEYS}

    def describe(self, result: Result) -> str:
        condition = "" if self.pattern == "*" else f" that match {named(self.pattern)}"
        return listing(f"Keys{condition}", [line(key) for key in result["result"]], result)


@dataclass(frozen=True)
class All(Operation):
    """List the first keys that match a glob, with their values; fewer when the values are long."""

    name = "all"
    pattern: str = "*"

    async def run(self, store: KeyValueStore) -> Result:
        found = await store.all(MAX_KEYS, self.pattern)
        left_out = {"left_out": found.left_out} if found.left_out else {}
        return {"result": dict(found.values), "truncated": found.is_cut, **left_out}

    def describe(self, result: Result) -> str:
        lines = [f"{line(key)} = {line(as_text(value))}" for key, value in result["result"].items()]
        return listing("Keys with text", lines, result)


@dataclass(frozen=True)
class Mset(Operation):
    """Store several values at once, atomically."""

    name = "mset"
    data: Mapping[str, Json]
    ttl: int | None = None

    async def run(self, store: KeyValueStore) -> Result:
        return {"result": await store.mset(self.data, self.ttl)}

    def describe(self, result: Result) -> str:
        return f"Stored {count(result['result'], 'value')}{duration(self.ttl)}."


@dataclass(frozen=True)
class Info(Operation):
    """Describe the server."""

    name = "info"

    async def run(self, store: KeyValueStore) -> Result:
        return {"result": await store.info()}

    def describe(self, result: Result) -> str:
        facts = {
            name: ", ".join(map(str, value)) if isinstance(value, list) else value
            for name, value in result["result"].items()
        }
        return "\n".join(f"- **{name.replace('_', ' ')}** {fact}" for name, fact in facts.items())


@dataclass(frozen=True, slots=True)
class Argument:
    """Argument of a command: its place in a typed line, and its description in a form."""

    usage: str
    description: str


ARGUMENTS: Mapping[str, Argument] = {
    "key": Argument("KEY", "The key, without the prefix that the bot adds"),
    "value": Argument("VALUE", "The value; without it a form with several lines opens"),
    "data": Argument('{"KEY": "VALUE", …}', 'A JSON object of texts, such as {"greeting": "hello"}'),
    "ttl": Argument("[--ttl SECONDS]", "Seconds after which the value is deleted; without them it stays"),
    "pattern": Argument("[PATTERN]", "A pattern with the wildcards *, ? and [ab]; without it all keys"),
}


@dataclass(frozen=True, slots=True)
class Command:
    """Subcommand of `/agent-redis`; `hint` is shown in the help only."""

    word: str
    summary: str
    operation: type[Operation]
    arguments: tuple[str, ...] = ()
    hint: str = ""


TABLE = (
    Command(
        "set", "Store a value", Set, ("key", "value", "ttl"), "everything after the key, or else from a form"
    ),
    Command("get", "Show a value", Get, ("key",)),
    Command("del", "Delete a value", Delete, ("key",)),
    Command("keys", "List keys", Keys, ("pattern",), "`*`, `?` and `[ab]` are wildcards"),
    Command("all", "List keys with their values", All),
    Command("mset", "Store several values at once", Mset, ("data", "ttl")),
    Command("info", "Show the state of Redis", Info),
)
