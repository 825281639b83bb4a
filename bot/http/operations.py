"""`POST /redis/direct`: key-value operations by hand."""

from collections.abc import Mapping
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.http import bodies
from bot.http.conversation import AUTHOR
from bot.operations import All, Caller, Delete, Get, Info, Keys, Mset, Operation, Operations, Set

_KINDS: Mapping[str, TypeAdapter[Operation]] = {
    kind.name: TypeAdapter(kind) for kind in (Set, Get, Delete, Keys, All, Mset, Info)
}


class _Named(BaseModel):
    operation: Literal["set", "get", "delete", "keys", "all", "mset", "info"]


_NAMED = TypeAdapter(_Named)


async def run(request: web.Request, operations: Operations) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_NAMED, body).operation
    operation = bodies.parse(_KINDS[name], body)
    result = await operations.run(operation, Caller(AUTHOR, request.remote or ""))
    return web.json_response({"status": "success", "operation": name} | result)
