"""Model services as they are: whatever one sends, people read one complete answer or one true sentence."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from pydantic import SecretStr

from bot.agent.graph import Context, build_graph
from bot.agent.model import Model
from bot.agent.openai_model import open_model
from bot.chat import AnswerError, Notice, Part, Text, ThreadId, Turn
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.model_quirks import QUIRKS, Quirk

TURN = Turn(id="question", thread=ThreadId("test", "space", "channel"), messages=())


@dataclass(slots=True)
class Bench:
    """A model with one tool that notes its queries."""

    model: Model
    tools: Sequence[BaseTool]
    queries: list[str] = field(default_factory=list)
    shown: list[Part] = field(default_factory=list)

    async def ask(self, messages: Sequence[AnyMessage] = (), **options: Any) -> dict[str, Any]:
        """Run one turn; returns the state it left. Raises `AnswerError`."""
        settings = {"max_iterations": 5, "history_tokens": 8000, "checkpointer": None} | options
        graph = build_graph(self.model, self.tools, **settings)
        begin: Any = {"messages": [*messages, HumanMessage("hi", id="question")], "iterations": 0}
        left: dict[str, Any] = {}
        stream: AsyncIterator[Any] = graph.astream(
            begin, context=Context(TURN), stream_mode=["custom", "values"]
        )
        async for mode, value in stream:
            if mode == "custom":
                self.shown.append(value)
            else:
                left = value
        return left

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.shown if isinstance(part, Text))

    @property
    def notices(self) -> list[str]:
        return [part.text for part in self.shown if isinstance(part, Notice)]


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


def serve(model: ModelServer, quirk: Quirk) -> None:
    model.script(*(Script(wire=wire) for wire in quirk.wires))
    last = quirk.then or Script(wire=quirk.wires[-1])
    model.respond = lambda request: last


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
async def test_one_answer_or_one_true_sentence(model: ModelServer, quirk: Quirk) -> None:
    """The row says what is read, how many requests that takes and which calls run; health counts failures."""
    serve(model, quirk)
    timeout = 0.3 if any(wire.ending == "hang" for wire in quirk.wires) else 5
    async with a_bench(model, timeout=timeout) as bench:
        if quirk.status is None:
            state = await bench.ask()
            assert bench.text == quirk.reads
            assert state["messages"][-1].text == (quirk.reads if not quirk.notice else "It is 42.")
            assert not bench.notices if not quirk.notice else quirk.notice in "".join(bench.notices)
        else:
            with pytest.raises(AnswerError, match=quirk.reads) as refused:
                await bench.ask()
            assert (refused.value.status, bench.text) == (quirk.status, "")
    assert (len(model.requests), bench.queries) == (quirk.requests, list(quirk.queries))
    assert not model.unused
