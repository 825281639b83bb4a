"""The agent with its real memory in Redis, and turns for it."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import SecretStr
from redis.asyncio import Redis

from bot.agent import Agent, offline_model, open_agent
from bot.agent.models.openai_service import open_model
from bot.chat import Message, Part, Requests, Text, ThreadId, Turn
from tests.servers.model import KEY, ModelServer
from tests.support.approval_requests import approvals


def query_tool(attempts: list[str] | None = None) -> BaseTool:
    """Return a tool that answers each query except two; `attempts` collects the queries."""

    @tool
    async def sql_query(query: str) -> str:
        """Run a query."""
        if attempts is not None:
            attempts.append(query)
        if query == "wrong":
            raise ToolException('syntax error at or near "wrong"')
        if query == "bug":
            raise RuntimeError("a bug in the tool")
        return f"| rows of {query} |"

    return sql_query


def a_turn(text: str, *, thread: str = "t1", attempt: int = 1, id: str = "") -> Turn:
    message = Message(
        id=id or f"test:{thread}:{text}",
        thread=ThreadId("test", "space", thread),
        author="test:ada",
        text=text,
        sent_at=time.time(),
        addressed=True,
    )
    return Turn(id=message.id, thread=message.thread, messages=(message,), attempt=attempt)


@asynccontextmanager
async def an_agent(
    redis: Redis,
    model: ModelServer | None,
    *,
    tools: Sequence[BaseTool] = (query_tool(),),
    fallback: str | None = None,
    timeout: float = 5,
    requests: Requests | None = None,
    **options: Any,
) -> AsyncIterator[Agent]:
    settings: dict[str, Any] = {
        "max_iterations": 5,
        "history_tokens": 8000,
        "ttl_days": 1,
        "has_memory": True,
    }
    async with AsyncExitStack() as stack:
        asked = offline_model(tools)
        if model:
            asked = await stack.enter_async_context(
                open_model(
                    name="main-model",
                    fallback=fallback,
                    api_key=SecretStr(KEY),
                    base_url=model.base_url,
                    timeout=timeout,
                    tools=tools,
                )
            )
        yield await stack.enter_async_context(
            open_agent(
                redis,
                asked,
                tools,
                requests or without_approvers(redis),
                **settings | options,
            )
        )


def without_approvers(redis: Redis) -> Requests:
    """Return requests for approval that nobody can decide."""
    return approvals(redis, approvers=set())


async def parts_of(agent: Agent, turn: Turn) -> list[Part]:
    return [part async for part in agent.answer(turn)]


def joined(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with each text in one piece: where the pieces end depends on the time."""
    whole: list[Part] = []
    for part in parts:
        if whole and isinstance(part, Text) and isinstance(before := whole[-1], Text):
            whole[-1] = Text(before.text + part.text)
        else:
            whole.append(part)
    return whole


async def text_of(agent: Agent, turn: Turn) -> str:
    return "".join(part.text for part in await parts_of(agent, turn) if isinstance(part, Text))
