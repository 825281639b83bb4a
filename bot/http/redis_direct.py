"""Route `POST /redis/direct`: key-value operations."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.commands.redis import OPERATIONS, Caller, Operation, Operations
from bot.http import bodies
from bot.http.chat import AUTHOR
from bot.http.errors import Refusal

_SHAPES: dict[str, TypeAdapter[Operation]] = {each.name: TypeAdapter(each) for each in OPERATIONS}


class _Named(BaseModel):
    operation: Any


_NAMED = TypeAdapter(_Named)


async def run(request: web.Request, operations: Operations) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_NAMED, body).operation
    if not isinstance(name, str) or name not in _SHAPES:
        raise Refusal(400, "Invalid operation", details={"operations": list(_SHAPES)})
    operation = bodies.parse(_SHAPES[name], body)
    caller = Caller(AUTHOR, request.remote or "", is_operator=True)  # the guard let it in
    answer = await operations.run(operation, caller)
    return web.json_response({"status": "success", "operation": name, **answer.fields})
