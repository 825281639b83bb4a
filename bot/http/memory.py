"""Routes below `/memory`: export, deletion, and the facts about the caller."""

from typing import Annotated

from aiohttp import hdrs, web
from pydantic import BaseModel, StringConstraints, TypeAdapter

from bot.chat import Json
from bot.commands.memory import Caller, PersonalMemory
from bot.http import bodies, texts
from bot.http.callers import CALLER
from bot.http.errors import Refusal

_MOST_DIGITS = 9


class FactRequest(BaseModel):
    """Body of `PATCH /memory/facts/<id>`."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]


FACT_REQUEST = TypeAdapter(FactRequest)


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

    async def facts(self, request: web.Request) -> web.Response:
        """Handle `GET /memory/facts`: return some facts with their ids, the newest first."""
        first = request.query.get("first", "0")
        if not (first.isascii() and first.isdecimal() and len(first) < _MOST_DIGITS):
            raise Refusal(400, texts.not_a_number("first"))
        known = await self._memory.overview(_caller(request), int(first))
        facts: list[Json] = [each._asdict() for each in known.page]
        body = {"status": "success", "facts": facts, "first": known.first, "total": known.facts}
        body["is_on"] = known.is_on
        return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def correct_fact(self, request: web.Request) -> web.Response:
        """Handle `PATCH /memory/facts/<id>`."""
        body = bodies.parse(FACT_REQUEST, await bodies.read(request))
        return _words(await self._memory.correct_fact(_caller(request), request.match_info["id"], body.text))

    async def forget_fact(self, request: web.Request) -> web.Response:
        """Handle `DELETE /memory/facts/<id>`."""
        return _words(await self._memory.forget_fact(_caller(request), request.match_info["id"]))


def _words(words: str) -> web.Response:
    return web.json_response({"status": "success", "response": words})


def _caller(request: web.Request) -> Caller:
    return Caller(request[CALLER].author, request[CALLER].name)
