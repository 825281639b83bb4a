"""Route `POST /redis/direct`: key-value operations."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot.chat import StorageDown
from bot.commands.redis import OPERATIONS, NotAllowed, Operation, Operations, RedisCaller
from bot.http import bodies, texts
from bot.http.callers import CALLER
from bot.http.errors import Refusal, not_now

SHAPES: dict[str, TypeAdapter[Operation]] = {each.name: TypeAdapter(each) for each in OPERATIONS}


class _OperationName(BaseModel):
    operation: Any


_NAMED = TypeAdapter(_OperationName)


async def run(operations: Operations, request: web.Request) -> web.Response:
    """Handle `POST /redis/direct`."""
    body = await bodies.read(request)
    name = bodies.parse(_NAMED, body).operation
    if not isinstance(name, str) or name not in SHAPES:
        raise Refusal(400, texts.UNKNOWN_OPERATION, details={"operations": list(SHAPES)})
    operation = bodies.parse(SHAPES[name], body)
    user = request[CALLER]
    caller = RedisCaller(user.author, request.remote or "", is_operator=user.is_operator)
    try:
        answer = await operations.run(operation, caller)
    except NotAllowed as error:
        raise Refusal(403, str(error)) from error
    except StorageDown as error:  # its text is for administrators, who are the only callers
        raise not_now(str(error)) from error
    return web.json_response({"status": "success", "operation": name, **answer.fields})
