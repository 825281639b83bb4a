"""Model with one tool, and one turn of the real graph with it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from pydantic import SecretStr

from bot.agent.graph import build_graph
from bot.agent.models.model import Model
from bot.agent.models.openai_service import open_model
from bot.agent.state import Context
from bot.chat import Notice, Part, Text, ThreadId, Turn
from tests.servers.model import KEY, ModelServer

TURN = Turn(id="question", thread=ThreadId("test", "space", "channel"), messages=())


@dataclass(slots=True)
class Bench:
    """Model with one tool that records its queries."""

    model: Model
    tools: Sequence[BaseTool]
    queries: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    async def ask(self, messages: Sequence[AnyMessage] = (), **options: Any) -> dict[str, Any]:
        """Run one turn and return its state. Raises `AnswerError`."""
        settings = {"max_iterations": 5, "history_tokens": 8000, "checkpointer": None} | options
        graph = build_graph(self.model, self.tools, **settings)
        begin: Any = {"messages": [*messages, HumanMessage("hi", id="question")], "iterations": 0}
        left: dict[str, Any] = await graph.ainvoke(begin, context=Context(TURN, self.parts.append))
        return left

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def notices(self) -> list[str]:
        return [part.text for part in self.parts if isinstance(part, Notice)]


@asynccontextmanager
async def a_bench(
    model: ModelServer, *, name: str = "m", fallback: str | None = None, timeout: float = 5
) -> AsyncIterator[Bench]:
    queries: list[str] = []

    @tool
    async def sql_query(query: str) -> str:
        """Run a query."""
        queries.append(query)
        return "| 42 |"

    async with open_model(
        name=name,
        fallback=fallback,
        api_key=SecretStr(KEY),
        base_url=model.base_url,
        timeout=timeout,
        tools=[sql_query],
        pause=0.01,
    ) as asked:
        yield Bench(asked, [sql_query], queries)
