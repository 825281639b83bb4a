"""Route `POST /redis/direct`: key-value operations."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.chat import StorageDown
from bot.commands.redis import TABLE, Caller, Delete, Get, Mset, Operation, Operations, Set
from bot.http import bodies, texts
from bot.http.chat import AUTHOR
from bot.http.errors import Refusal, not_now

_SHAPES: Mapping[str, TypeAdapter[Operation]] = {
    each.operation.name: TypeAdapter(each.operation) for each in TABLE
}


class _Named(BaseModel):
    operation: Any


_NAMED = TypeAdapter(_Named)


async def run(request: web.Request, operations: Operations) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_NAMED, body).operation
    if not isinstance(name, str) or name not in _SHAPES:
        raise Refusal(400, texts.UNKNOWN_OPERATION, details={"operations": list(_SHAPES)})
    operation = bodies.parse(_SHAPES[name], body)
    try:
        answer = {**await operations.run(operation, Caller(AUTHOR, request.remote or ""))}
    except StorageDown as error:  # its text is for administrators, who are the only callers
        raise not_now(str(error)) from error
    match operation:
        case Get():
            is_document = answer.get("type") == "json"
            answer["value"] = json.loads(answer["result"]) if is_document else answer["result"]
        case Set() | Delete() | Mset():
            answer["message"] = operation.describe(answer)
    return web.json_response({"status": "success", "operation": name, **answer})
