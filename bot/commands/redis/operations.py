"""What an operation is, and what it asks of the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from bot.chat import BotError, Json

LIMIT = 1_000
"""Keys in one answer."""


class NotStorable(BotError):
    """The store does not take a key, value, time or pattern; `str()` says why, `field` which of them."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Value:
    """What is under a key.

    `type` is `string`, `json` (a RedisJSON document, `text` is its JSON) or another type of Redis', which has
    no `text`. `ttl` is in seconds, None when it stays for good.
    """

    text: str | None
    type: str = "string"
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Values by their keys; `is_cut` when there are more, `left_out` counts values of other types."""

    values: Mapping[str, Json]
    is_cut: bool
    left_out: int


class Store(Protocol):
    """Values under keys, confined to the keys that people may touch.

    Raises `NotStorable` before anything is sent, and `bot.chat.StorageDown`. `ttl` is in seconds.
    """

    async def set(self, key: str, value: Json, ttl: int | None) -> None:
        """Store a text as it is, any other value as a JSON document."""

    async def get(self, key: str) -> Value | None:
        """What is there, or None."""

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""

    async def keys(self, pattern: str, limit: int) -> Sequence[str]:
        """At most `limit` keys that match a glob."""

    async def search(self, part: str, limit: int, seconds: float) -> Sequence[str]:
        """At most `limit` keys that contain `part`, as far as they are found within `seconds`."""

    async def all(self, limit: int, pattern: str = "*") -> Listing:
        """At most `limit` keys that match a glob, with their texts and documents."""

    async def mset(self, data: Mapping[str, Json], ttl: int | None) -> int:
        """Store several values, all or none; how many there were."""

    async def info(self) -> Mapping[str, Json]:
        """What the server says of itself."""


@dataclass(frozen=True, slots=True)
class Set:
    """Store a value, for `ttl` seconds when given."""

    name: ClassVar[str] = "set"
    key: str
    value: Json
    ttl: int | None = None

    async def run(self, store: Store) -> dict[str, Json]:
        """Each operation's result as JSON; raises what `Store` raises."""
        await store.set(self.key, self.value, self.ttl)
        return {"result": True}


@dataclass(frozen=True, slots=True)
class Get:
    """Read a value."""

    name: ClassVar[str] = "get"
    key: str

    async def run(self, store: Store) -> dict[str, Json]:
        """`type` and `ttl` are there when it is no plain text, and when it ends."""
        value = await store.get(self.key)
        if value is None:
            return {"result": None}
        result: dict[str, Json] = {"result": value.text}
        if value.type != "string":
            result["type"] = value.type
        if value.ttl is not None:
            result["ttl"] = value.ttl
        return result


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a value of any type."""

    name: ClassVar[str] = "delete"
    key: str

    async def run(self, store: Store) -> dict[str, Json]:
        """Whether there was one."""
        return {"result": await store.delete(self.key)}


@dataclass(frozen=True, slots=True)
class Keys:
    """List keys by a glob."""

    name: ClassVar[str] = "keys"
    pattern: str = "*"

    async def run(self, store: Store) -> dict[str, Json]:
        """The first `LIMIT`."""
        keys = await store.keys(self.pattern, LIMIT + 1)  # one more tells whether there are more
        return {"result": list(keys[:LIMIT]), "truncated": len(keys) > LIMIT}


@dataclass(frozen=True, slots=True)
class All:
    """List keys with their values, by a glob."""

    name: ClassVar[str] = "all"
    pattern: str = "*"

    async def run(self, store: Store) -> dict[str, Json]:
        """The first `LIMIT`, or less when they are long."""
        listing = await store.all(LIMIT, self.pattern)
        result: dict[str, Json] = {"result": dict(listing.values), "truncated": listing.is_cut}
        return result | ({"left_out": listing.left_out} if listing.left_out else {})


@dataclass(frozen=True, slots=True)
class Mset:
    """Store several values at once."""

    name: ClassVar[str] = "mset"
    data: Mapping[str, Json]
    ttl: int | None = None

    async def run(self, store: Store) -> dict[str, Json]:
        """How many there were."""
        return {"result": await store.mset(self.data, self.ttl)}


@dataclass(frozen=True, slots=True)
class Info:
    """Describe the server."""

    name: ClassVar[str] = "info"

    async def run(self, store: Store) -> dict[str, Json]:
        """See `Store.info`."""
        return {"result": dict(await store.info())}


Operation = Set | Get | Delete | Keys | All | Mset | Info
