"""Route `POST /redis/direct`: key-value operations."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.chat import Json
from bot.commands.redis import (
    All,
    Caller,
    Delete,
    Get,
    Info,
    Keys,
    Mset,
    Operation,
    Operations,
    Set,
    describe,
)
from bot.http import bodies
from bot.http.chat import AUTHOR
from bot.http.errors import Refusal

_KINDS: Mapping[str, TypeAdapter[Operation]] = {
    kind.name: TypeAdapter(kind) for kind in (Set, Get, Delete, Keys, All, Mset, Info)
}


class _Named(BaseModel):
    operation: Any


_NAMED = TypeAdapter(_Named)


async def run(request: web.Request, operations: Operations) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_NAMED, body).operation
    if not isinstance(name, str) or name not in _KINDS:
        raise Refusal(400, "Invalid operation", details={"operations": list(_KINDS)})
    operation = bodies.parse(_KINDS[name], body)
    result = await operations.run(operation, Caller(AUTHOR, request.remote or ""))
    return web.json_response(
        {"status": "success", "operation": name, **result, **_details(operation, result)}
    )


def _details(operation: Operation, result: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields beside the result: the value as JSON, or a sentence about the operation."""
    match operation:
        case Get():
            is_document = result.get("type") == "json"
            return {"value": json.loads(result["result"]) if is_document else result["result"]}
        case Set() | Delete() | Mset():
            return {"message": describe(operation, result)}
        case _:
            return {}
