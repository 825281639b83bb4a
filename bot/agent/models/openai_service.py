"""OpenAI-compatible services: ChatOpenAI builds the request, aiohttp sends it, `Completion` reads the answer.

The import of ChatOpenAI takes over a second, so this module is imported only when a model is configured. The
SDK's stream costs several times as much and accepts only OpenAI's exact format (docs/models.md).
"""

import hashlib
import json
import logging
import os
import re
import string
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr
from yarl import URL

from bot.agent.models import errors, metering
from bot.agent.models.completion import WIRE, Completion, Manner, Offered
from bot.agent.models.dialect import Dialect, Lesson
from bot.agent.models.errors import CallFailed
from bot.agent.models.model import Model
from bot.agent.models.response import read_answer, read_rest
from bot.agent.models.session import open_session

log = logging.getLogger(__name__)

OPENAI = "https://api.openai.com/v1"
_LONGEST_ERROR = 64 * 1024
_LONGEST_HEADER = 64 * 1024
_MOST_OFFERS = 64
"""Most selections of tools whose descriptions are kept: each channel can have another one."""
_NOT_CONNECTED = (
    *(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL),
    UnicodeError,  # an invalid host name
)
_OPENS_THINKING = re.compile(r"(?:^|[^a-z])r1(?:[^a-z0-9]|$)|qwq|thinking")
"""Names of models whose template opens the reasoning, so that often only its end is sent."""

_TAKEN_EVERYWHERE = re.compile(r"[A-Za-z0-9]{9}")
_ALPHABET = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class _Offer:
    """Tool descriptions of a request, and their estimated tokens."""

    specs: list[dict[str, Any]]
    size: int


class OpenAIService:
    """One model of a service with OpenAI's chat completions API."""

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        url: URL,
        headers: Mapping[str, str],
        tools: Sequence[BaseTool],
        *,
        setting: str = "OPENAI_MODEL",
    ) -> None:
        self.name = name
        self._setting = setting
        self._session = session
        self._url = url
        self._headers = headers
        self._tools = tools
        # it builds requests only, so it needs no clients
        self._chat = ChatOpenAI(
            model=name,
            api_key=SecretStr("unused"),
            base_url=str(url),
            streaming=True,
            use_responses_api=False,
            client=_NO_CLIENT,
            async_client=_NO_CLIENT,
        )
        self._bound: tuple[BaseTool, ...] | None = None
        self._offers: dict[Offered, _Offer] = {}
        self._dialect = Dialect()
        self._holds = bool(_OPENS_THINKING.search(name.lower()))
        self._has_opened = False

    def tools_size(self, tools: Offered = None) -> int:
        """Return the estimated tokens that the tool descriptions take in each request."""
        return self._offer(tools).size

    def _offer(self, names: Offered) -> "_Offer":
        """Return the description of the current tools, rebuilt only when they change, since that is slow."""
        tools = tuple(self._tools)
        if self._bound is None or [*map(id, tools)] != [*map(id, self._bound)]:
            self._bound, self._offers = tools, {}
        if names not in self._offers:
            offered = [each for each in tools if names is None or each.name in names]
            specs = [_spec(tool) for tool in offered]
            if len(self._offers) >= _MOST_OFFERS:
                self._offers.clear()
            self._offers[names] = _Offer(specs, metering.tools_size(specs))
        return self._offers[names]

    async def stream(
        self,
        messages: Sequence[AnyMessage],
        manner: Manner,
        completion: Completion,
        tools: Offered = None,
    ) -> AsyncGenerator[None]:
        """Send the request and read the answer, as `bot.agent.models.model.Service` describes."""
        if self._holds or self._has_opened:
            completion.hold()
        payload = self._payload(messages, manner, tools)
        is_broken = False
        lessons: list[Lesson] = []
        try:
            while True:
                body = json.dumps(self._dialect.translate(payload), ensure_ascii=False).encode(
                    errors="replace"
                )
                async with self._session.post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    if response.status != 200:
                        failure = await self._refusal(response)
                        if lesson := self._dialect.learn(str(failure), payload):
                            lessons.append(lesson)
                            continue
                        self._dialect.forget(lessons)
                        raise failure
                    async with aclosing(read_answer(response, completion)) as answer:
                        async for _ in answer:
                            yield
                    await read_rest(response)
                    break
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            detail = f"{type(error).__name__}: {error}"
            if isinstance(error, _NOT_CONNECTED):
                raise CallFailed(errors.UNREACHABLE, detail) from None
            is_broken = True
            if not completion.is_ended:
                raise CallFailed(errors.BROKEN, detail) from None
        completion.finish(is_broken=is_broken)
        if completion.is_opened_by_template or completion.text.strip():  # the answer shows it
            # an answer without the tag resets it: any user could make a model write the tag
            self._has_opened = completion.is_opened_by_template
            self._holds = False

    def _payload(self, messages: Sequence[AnyMessage], manner: Manner, tools: Offered) -> dict[str, Any]:
        options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        specs = [] if manner == "plain" else self._offer(tools).specs
        if specs:
            options["tools"] = specs
        if manner == "conclude" and specs:
            options["tool_choice"] = "none"
        payload: dict[str, Any] = self._chat._get_request_payload(list(messages), **options)
        for message, sent in zip(messages, payload["messages"], strict=True):
            self._complete(message, sent)
        return payload

    def _complete(self, message: AnyMessage, wire_message: dict[str, Any]) -> None:
        """Set call ids that every service accepts, and the fields that this service wants back."""
        if "tool_call_id" in wire_message:
            wire_message["tool_call_id"] = wire_id(wire_message["tool_call_id"])
        fields = message.additional_kwargs.get(WIRE) if isinstance(message, AIMessage) else None
        kept: dict[str, Any] = fields if fields and fields.get("model") == self.name else {}
        wire_message |= kept.get("message", {})
        for call in wire_message.get("tool_calls") or ():
            extras = dict(kept.get("calls", {}).get(call["id"], {}))
            call["function"] |= extras.pop("function", {})
            call |= extras
            call["id"] = wire_id(call["id"])

    async def _refusal(self, response: aiohttp.ClientResponse) -> CallFailed:
        body = b""
        async for chunk in response.content.iter_any():
            body += chunk[: _LONGEST_ERROR - len(body)]
            if len(body) >= _LONGEST_ERROR:
                break
        headers = {name.lower(): value for name, value in response.headers.items()}
        failure = errors.of_status(response.status, headers, body.decode(errors="replace"))
        return failure.with_setting(self._setting)


def _spec(tool: BaseTool) -> dict[str, Any]:
    """Return the description of a tool for a request, made once in a process for each class of arguments."""
    arguments = tool.args_schema
    if isinstance(arguments, type) and issubclass(arguments, BaseModel):
        return _spec_of(tool.name, tool.description, arguments)
    return convert_to_openai_tool(tool)


@lru_cache
def _spec_of(name: str, description: str, arguments: type[BaseModel]) -> dict[str, Any]:
    tool = StructuredTool(name=name, description=description, args_schema=arguments)
    return convert_to_openai_tool(tool)


def wire_id(id: str) -> str:
    """Return a call id for a request: unchanged if every service accepts it, else nine derived characters."""
    if _TAKEN_EVERYWHERE.fullmatch(id):
        return id
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8])
    digits: list[str] = []
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


@asynccontextmanager
async def open_model(
    *,
    name: str,
    fallback: str | None,
    api_key: SecretStr | None,
    base_url: str | None,
    timeout: float,
    tools: Sequence[BaseTool],
    pause: float = 0.5,
    choices: Collection[str] = (),
) -> AsyncIterator[Model]:
    """Open a `Model` with `name` and then `fallback`; `timeout` and `pause` are in seconds.

    `choices` are models that channels can prefer.
    """
    url = endpoint(base_url)
    headers = service_headers(api_key, url)
    async with open_session(
        url,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, 10)),
        max_line_size=_LONGEST_HEADER,
        max_field_size=_LONGEST_HEADER,
    ) as session:
        services = [OpenAIService(name, session, url, headers, tools)]
        if fallback:
            services.append(
                OpenAIService(fallback, session, url, headers, tools, setting="OPENAI_FALLBACK_MODEL")
            )
        others = [
            OpenAIService(each, session, url, headers, tools, setting="CHANNEL_MODELS")
            for each in sorted(choices)
        ]
        yield Model(services, timeout, pause, others)


def service_headers(api_key: SecretStr | None, url: URL) -> dict[str, str]:
    """Return the headers of each request to the service."""
    key = (api_key.get_secret_value().strip() if api_key else "") or "none"
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # a compressed stream arrives in large blocks
        "User-Agent": "bot",
        **_account(),
    }
    if (url.host or "").endswith(".azure.com"):
        headers["api-key"] = key  # the only header that Azure's older addresses accept
    return headers


def endpoint(base_url: str | None, path: str = "chat/completions") -> URL:
    """Return the URL of an endpoint; a query such as Azure's `?api-version=` stays."""
    url = URL(base_url or OPENAI)
    return url.with_path(f"{url.path.rstrip('/')}/{path}").with_query(url.query)


def _account() -> dict[str, str]:
    """Return the headers for OpenAI's own environment variables, as its SDK reads them."""
    names = {"OPENAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    return {header: value for header, name in names.items() if (value := os.environ.get(name))}


_NO_CLIENT: Any = object()
