"""OpenAPI 3.1 document of the HTTP surface, from the models that check its requests.

https://spec.openapis.org/oas/v3.1.0
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from bot import __version__
from bot.chat import Json
from bot.http.errors import OPENAI_PATH, Handler
from bot.http.schemas import CompletionError, Failure

PATH = "/openapi.json"
_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_JSON = "application/json"
_STATUSES: Mapping[int, str] = {
    200: "Success",
    202: "It is stored, and handled later",
    400: "The request is not valid",
    401: "The token is missing or wrong",
    403: "The caller is not allowed to do this",
    404: "There is no such thing, or not any more",
    408: "The body did not arrive in time",
    409: "It is not possible any more",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "A limit or a budget is used up",
    500: "Something went wrong in the bot",
    502: "The model failed",
    503: "Not at the moment",
    504: "There was no answer in time",
}
OF_ALL = (400, 401, 403, 500, 503)
OF_BODIES = (408, 413, 415)
OF_ANSWERS = (429, 502, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Description of a route: its request, and its responses by status.

    `query` names the values of each parameter, none if it can be any text. `answer` is the model of the
    response, or its media type.
    """

    summary: str
    answer: type[BaseModel] | str
    body: TypeAdapter[Any] | Mapping[str, TypeAdapter[Any]] | None = None
    """Model of the body; with names, the field `operation` chooses the model."""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, Json] = field(default_factory=dict)
    statuses: Sequence[int] = ()
    """Statuses of errors beside those of all routes, and of all with a body."""
    also: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    """Models of errors that have another body."""
    streams: bool = False
    success: int = 200
    is_signed: bool = False
    """The request has a signature in place of a token."""


@dataclass(frozen=True, slots=True)
class Route:
    """Route of the server; without an `operation` it is not in the document."""

    method: str
    path: str
    handler: Handler
    operation: Operation | None = None
    id_pattern: str = ""
    """Regular expression of the parameter `id`; others are not found."""

    @property
    def definition(self) -> web.AbstractRouteDef:
        """Return the route for aiohttp; one for GET also takes HEAD, as monitors send it."""
        path = self.path.replace("{id}", f"{{id:{self.id_pattern}}}") if self.id_pattern else self.path
        if self.method == "GET":
            return web.get(path, self.handler)
        return web.route(self.method, path, self.handler)


class Document:
    """OpenAPI document of routes, made when it is asked for first."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._making = asyncio.Lock()
        self._text = ""

    async def send(self, request: web.Request) -> web.Response:
        """Handle `GET /openapi.json`."""
        async with self._making:
            if not self._text:  # takes tens of milliseconds
                self._text = await asyncio.to_thread(lambda: json.dumps(_Writer().write(self._routes)))
        return web.Response(text=self._text, content_type=_JSON)


class _Writer:
    def __init__(self) -> None:
        self._schemas: dict[str, Json] = {}

    def write(self, routes: Sequence[Route]) -> Json:
        paths: dict[str, dict[str, Json]] = {}
        for route in routes:
            if route.operation:
                paths.setdefault(route.path, {})[route.method.lower()] = self._operation(
                    route, route.operation
                )
        return {
            "openapi": "3.1.0",
            "info": {"title": "Threadmate", "version": __version__},
            "security": [{"token": []}, {}],
            "paths": paths,
            "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "schemas": self._schemas,
            },
        }

    def _operation(self, route: Route, operation: Operation) -> Json:
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": _text(route.id_pattern)}
            for name in _PARAMETER.findall(route.path)
        ]
        parameters += [
            {
                "name": name,
                "in": "query",
                "schema": {"type": "string", **({"enum": list(values)} if values else {})},
            }
            for name, values in operation.query.items()
        ]
        parameters += [
            {"name": name, "in": "header", "schema": schema} for name, schema in operation.headers.items()
        ]
        name = re.sub(r"\W+", "_", route.method.lower() + route.path).strip("_")
        body = {"requestBody": self._body(operation.body)} if operation.body else {}
        return {
            "operationId": name,
            "summary": operation.summary,
            **({"security": []} if operation.is_signed else {}),
            **({"parameters": parameters} if parameters else {}),
            **body,
            "responses": self._responses(route, operation),
        }

    def _body(self, body: TypeAdapter[Any] | Mapping[str, TypeAdapter[Any]]) -> Json:
        if isinstance(body, TypeAdapter):
            schema = self._schema(body)
        else:
            schema = {"oneOf": [self._chosen(name, each) for name, each in body.items()]}
        return {"required": True, "content": {_JSON: {"schema": schema}}}

    def _chosen(self, name: str, model: TypeAdapter[Any]) -> Json:
        """Return the schema of a model that the field `operation` chooses."""
        schema = self._inline(model)
        properties = {"operation": {"const": name}, **schema.get("properties", {})}
        return schema | {"properties": properties, "required": ["operation", *schema.get("required", [])]}

    def _responses(self, route: Route, operation: Operation) -> Json:
        if isinstance(operation.answer, str):
            content: Json = {operation.answer: {}}
        else:
            content = {_JSON: {"schema": self._schema(TypeAdapter(operation.answer))}}
        if operation.streams:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        failure = CompletionError if route.path.startswith(OPENAI_PATH) else Failure
        statuses = {*OF_ALL, *operation.statuses, *(OF_BODIES if operation.body else ())}
        success = {"description": _STATUSES[operation.success], "content": content}
        found = {str(operation.success): success}
        for status in sorted(statuses):
            model = TypeAdapter(operation.also.get(status, failure))
            schema = self._schema(model)
            found[str(status)] = {"description": _STATUSES[status], "content": {_JSON: {"schema": schema}}}
        return found

    def _schema(self, model: TypeAdapter[Any]) -> Json:
        """Return the schema of a model; those that it uses become components."""
        schema = self._inline(model)
        title = schema.get("title")
        if schema.get("type") != "object" or not title:
            return schema
        self._schemas[title] = schema
        return {"$ref": _REF.format(model=title)}

    def _inline(self, model: TypeAdapter[Any]) -> dict[str, Json]:
        schema = model.json_schema(ref_template=_REF)
        self._schemas |= schema.pop("$defs", {})
        return schema


def _text(pattern: str) -> Json:
    return {"type": "string", "minLength": 1, **({"pattern": f"^{pattern}$"} if pattern else {})}
