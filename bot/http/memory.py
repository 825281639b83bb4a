"""Routes `GET /memory` and `DELETE /memory`: export and deletion of everything stored about a caller."""

from aiohttp import hdrs, web

from bot.commands.memory import Caller, PersonalMemory
from bot.http import texts
from bot.http.callers import CALLER
from bot.http.errors import Refusal


class MemoryRoutes:
    """Memory routes; the guard has authenticated the caller already."""

    def __init__(self, memory: PersonalMemory) -> None:
        self._memory = memory

    async def export(self, request: web.Request) -> web.Response:
        """Handle `GET /memory`: return all data as JSON."""
        data = await self._memory.export(_caller(request))
        return web.Response(
            body=data, content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-store"}
        )

    async def forget(self, request: web.Request) -> web.Response:
        """Handle `DELETE /memory?confirm=everything`."""
        is_confirmed = request.query.get("confirm") == "everything"
        words = await self._memory.forget(_caller(request), is_confirmed=is_confirmed)
        if not is_confirmed:
            raise Refusal(400, texts.NOT_CONFIRMED)
        return web.json_response({"status": "success", "message": words})


def _caller(request: web.Request) -> Caller:
    return Caller(request[CALLER].author, request[CALLER].name)
