"""REST layer for all requests: faults, token, rate limits, parsing, and the form of responses."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from aiohttp import BodyPartReader, web

from tests.servers.discord.rate_limits import Buckets, Fault, Faults
from tests.servers.discord.records import File, Json
from tests.servers.discord.rules import (
    Refusal,
    files,
    length,
    snowflake,
)
from tests.servers.steps import Steps, unobserved

PREFIX = "/api/v10"


@dataclass
class Call:
    """Received request, and the status of its response (0: none)."""

    method: str
    path: str
    at: float
    status: int = 0


@dataclass
class Request:
    """Request for a handler: names in the path, query, JSON body and files."""

    path: dict[str, str]
    query: dict[str, str]
    body: Json = None
    files: list[File] = field(default_factory=list)

    def id(self, name: str) -> int:
        return snowflake(self.path[name], name)


@dataclass(frozen=True)
class Reply:
    """Response of a handler; without data it is a 204."""

    data: Json = None
    status: int = 200


Handler = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """Route. `bucket` names the rate limit, counted per value of `major`; `public` routes take no token."""

    method: str
    path: str
    handler: Handler
    bucket: str = "other"
    major: str = "channel"
    public: bool = False


class Api:
    """Routes of the REST API; `violations` are refusals that are the client's fault, `refusals` are all."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.faults = Faults()
        self.buckets = Buckets()
        self.violations: list[str] = []
        self.tolerated: set[str] = set()
        self.refusals: list[str] = []
        self.calls: list[Call] = []
        self.rate_limited = 0
        self.steps: Steps = unobserved

    def add(self, app: web.Application, routes: list[Route]) -> None:
        for route in routes:
            app.router.add_route(route.method, PREFIX + route.path, partial(self._serve, route))

    def add_fallback(self, app: web.Application) -> None:
        """Answer all other paths; call it last."""
        unknown = Route("*", "", self._unknown, public=True)
        app.router.add_route("*", "/{rest:.*}", partial(self._serve, unknown))

    async def _unknown(self, request: Request) -> Reply:
        raise Refusal(404, 0, "404: Not Found", blame=True)

    async def _serve(self, route: Route, http: web.Request) -> web.StreamResponse:
        path = http.path.removeprefix(PREFIX)
        call = Call(http.method, path, time.monotonic())
        self.calls.append(call)
        is_form = http.content_type == "multipart/form-data"
        fault = self.faults.take(http.method, path, http.content_type if is_form else await http.text())
        if fault is None:
            async with self.steps(f"{http.method} {route.path}"):
                response: web.Response | None = await self._answer(route, http, path)
        else:
            response = await self._go_wrong(fault, route, http, path)
        if response is None:
            assert http.transport
            http.transport.abort()
            return web.Response()
        call.status = response.status
        return response

    async def _go_wrong(
        self, fault: Fault, route: Route, http: web.Request, path: str
    ) -> web.Response | None:
        response = await self._answer(route, http, path) if fault.after_applying else None
        await asyncio.sleep(fault.delay)
        if fault.drop:
            return None
        if fault.status is not None:
            return _faulty(fault)
        return response or await self._answer(route, http, path)

    async def _answer(self, route: Route, http: web.Request, path: str) -> web.Response:
        headers: dict[str, str] = {}
        try:
            if not route.public:
                self._check_token(http)
                self._limit_globally()
            verdict = self.buckets.count(route.bucket, http.match_info.get(route.major, ""))
            headers |= verdict.headers
            if verdict.retry_after is not None:
                return self._too_many(verdict.retry_after, headers)
            reply = await route.handler(await _read(http))
        except _TooMany as excess:
            return self._too_many(excess.retry_after, {"X-RateLimit-Global": "true"})
        except Refusal as refusal:
            self.note(f"{http.method} {path}: {refusal}", blame=refusal.blame)
            return _json(refusal.body, refusal.status, headers)
        if reply.data is None:
            return web.Response(status=204, headers=headers)
        return _json(reply.data, reply.status, headers)

    def note(self, refusal: str, *, blame: bool) -> None:
        self.refusals.append(refusal)
        if blame and not any(each in refusal for each in self.tolerated):
            self.violations.append(refusal)

    def _check_token(self, http: web.Request) -> None:
        if http.headers.get("Authorization") != f"Bot {self._token}":
            raise Refusal(401, 0, "401: Unauthorized", blame=True)

    def _limit_globally(self) -> None:
        retry_after = self.buckets.count_globally()
        if retry_after is not None:
            raise _TooMany(retry_after)

    def _too_many(self, retry_after: float, headers: dict[str, str]) -> web.Response:
        self.rate_limited += 1
        return _rate_limited(retry_after, headers)


class _TooMany(Exception):
    def __init__(self, retry_after: float) -> None:
        super().__init__()
        self.retry_after = retry_after


def _json(data: Json, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # a body in bytes: for a text aiohttp would add a charset, and discord.py would not read the JSON
    body = json.dumps(data).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _rate_limited(retry_after: float, headers: dict[str, str]) -> web.Response:
    is_global = "X-RateLimit-Global" in headers
    body = {"message": "You are being rate limited.", "retry_after": retry_after, "global": is_global}
    # without `Via` discord.py takes a 429 for a ban by the proxy in front
    headers = headers | {"Via": "1.1 google", "Retry-After": str(int(retry_after) + 1)}
    return _json(body, 429, headers)


def _faulty(fault: Fault) -> web.Response:
    assert fault.status
    if fault.status == 429:
        headers = {"X-RateLimit-Global": "true"} if fault.is_global else {}
        return _rate_limited(fault.retry_after or 0.0, headers)
    message = fault.message or f"{fault.status}: deliberate"
    if message.startswith("<"):  # the page of a proxy
        return web.Response(text=message, status=fault.status, content_type="text/html")
    return _json({"message": message, "code": fault.code}, fault.status)


async def _read(http: web.Request) -> Request:
    request = Request(dict(http.match_info), dict(http.query))
    if http.content_type == "multipart/form-data":
        await _read_parts(http, request)
        return request
    raw = await http.read()
    if not raw:
        return request
    if http.content_type != "application/json":
        raise Refusal(400, 50035, "Invalid Form Body: Expected application/json", blame=True)
    request.body = _parse(raw)
    return request


async def _read_parts(http: web.Request, request: Request) -> None:
    async for part in await http.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read(decode=False))
        if part.name == "payload_json":
            request.body = _parse(data)
        else:
            request.files.append(File(part.filename or "unknown", data))
    told = (request.body or {}).get("attachments") or []
    described = {str(each.get("id")): each.get("description") or "" for each in told}
    for number, file in enumerate(request.files):
        description = length(described.get(str(number), ""), f"attachments.{number}.description", 0, 1024)
        request.files[number] = replace(file, description=description)
    files([file.data for file in request.files])


def _parse(raw: bytes) -> Json:
    try:
        return json.loads(raw)
    except ValueError:
        raise Refusal(400, 50109, "The request body contains invalid JSON.", blame=True) from None
