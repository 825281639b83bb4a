"""`POST /redis/direct`: key-value operations by hand."""

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, Field, StringConstraints

from bot.chat import Json
from bot.http import bodies

LIMIT = 1_000
"""Keys in one answer."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Ttl = Annotated[int, Field(gt=0, description="seconds")]


class Operations(Protocol):
    """Key-value operations on Redis, confined to the keys that people may touch.

    Raises `bot.chat.BotError` with a sentence for the caller.
    """

    async def set(self, key: str, value: str, ttl: int | None) -> None:
        """Store a value, for `ttl` seconds when given."""

    async def get(self, key: str) -> str | None:
        """The value, or None."""

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""

    async def keys(self, pattern: str, limit: int) -> list[str]:
        """At most `limit` keys that match a glob."""

    async def all(self, limit: int) -> dict[str, str]:
        """At most `limit` keys with their values."""

    async def mset(self, mapping: Mapping[str, str], ttl: int | None) -> int:
        """Store several values; how many there were."""

    async def info(self) -> dict[str, Json]:
        """What the server says of itself."""


class Set(BaseModel):
    """Store a value."""

    key: Key
    value: str
    ttl: Ttl | None = None

    async def run(self, operations: Operations) -> dict[str, Json]:
        await operations.set(self.key, self.value, self.ttl)
        return {"result": True}


class Get(BaseModel):
    """Read a value."""

    key: Key

    async def run(self, operations: Operations) -> dict[str, Json]:
        return {"result": await operations.get(self.key)}


class Delete(BaseModel):
    """Remove a value."""

    key: Key

    async def run(self, operations: Operations) -> dict[str, Json]:
        return {"result": await operations.delete(self.key)}


class Keys(BaseModel):
    """List keys by a glob."""

    pattern: Key = "*"

    async def run(self, operations: Operations) -> dict[str, Json]:
        keys = await operations.keys(self.pattern, LIMIT + 1)  # one more tells whether there are more
        return {"result": keys[:LIMIT], "truncated": len(keys) > LIMIT}


class All(BaseModel):
    """List keys with their values."""

    async def run(self, operations: Operations) -> dict[str, Json]:
        values = await operations.all(LIMIT + 1)
        return {"result": dict(list(values.items())[:LIMIT]), "truncated": len(values) > LIMIT}


class Mset(BaseModel):
    """Store several values at once."""

    data: Annotated[dict[Key, str], Field(min_length=1, max_length=LIMIT)]
    ttl: Ttl | None = None

    async def run(self, operations: Operations) -> dict[str, Json]:
        return {"result": await operations.mset(self.data, self.ttl)}


class Info(BaseModel):
    """Describe the server."""

    async def run(self, operations: Operations) -> dict[str, Json]:
        return {"result": await operations.info()}


Operation = Set | Get | Delete | Keys | All | Mset | Info

_MODELS: Mapping[str, type[Operation]] = {
    "set": Set,
    "get": Get,
    "delete": Delete,
    "keys": Keys,
    "all": All,
    "mset": Mset,
    "info": Info,
}


class _Named(BaseModel):
    operation: Literal["set", "get", "delete", "keys", "all", "mset", "info"]


async def run(request: web.Request, operations: Operations) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_Named, body).operation
    result = await bodies.parse(_MODELS[name], body).run(operations)
    return web.json_response({"status": "success", "operation": name} | result)
