"""OpenAPI document: the routes of the whole bot do what it says, whatever is sent to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok

from bot.app import Bot
from tests.support.bot import http_port, run_bot

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ALL = list(HealthCheck)
EXAMPLES = 12
"""Examples of each operation and kind."""


@pytest.fixture
async def bot(redis: Redis, redis_url: str) -> AsyncIterator[Bot]:
    async with run_bot(redis_url=redis_url) as bot:
        yield bot


async def document(bot: Bot) -> dict[str, Any]:
    url = f"http://127.0.0.1:{http_port(bot)}/openapi.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
        return found


async def test_every_route_for_callers_is_in_the_document(bot: Bot) -> None:
    """All that docs/http.md names; pages and webhooks are for browsers and services."""
    paths = (await document(bot))["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert operations == {
        "POST /chat",
        "POST /approvals/{id}",
        "GET /threads",
        "GET /threads/{id}",
        "PATCH /threads/{id}",
        "DELETE /threads/{id}",
        "POST /threads/{id}/restore",
        "GET /threads/{id}/answer",
        "POST /threads/{id}/edit",
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/models/{id}",
        "GET /answers/{id}",
        "POST /answers/{id}/vote",
        "POST /answers/{id}/regenerate",
        "GET /files/{id}",
        "POST /redis/direct",
        "GET /memory",
        "DELETE /memory",
        "GET /memory/facts",
        "PATCH /memory/facts/{id}",
        "DELETE /memory/facts/{id}",
        "GET /health",
        "GET /usage",
        "GET /welcome",
        "GET /livez",
        "GET /readyz",
    }


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_no_request_gets_an_answer_that_the_document_does_not_name(
    bot: Bot, mode: GenerationMode
) -> None:
    """Valid requests and broken ones; no error of the bot's own."""
    schema = schemathesis.openapi.from_dict(await document(bot))
    url = f"http://127.0.0.1:{http_port(bot)}"

    def attack() -> int:
        sent = 0
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: schemathesis.Case[Any]) -> None:
                nonlocal sent
                sent += 1
                case.call_and_validate(base_url=url, checks=CHECKS)

            send()
        return sent

    assert await asyncio.to_thread(attack) > 5 * EXAMPLES
