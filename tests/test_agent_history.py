"""The real graph over many rounds and turns: what one request may hold."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from bot.agent import prompts
from bot.agent.graph import Graph, build_graph
from bot.agent.models.openai_service import open_model
from bot.agent.state import Context
from bot.chat import Message, ThreadId, Turn
from bot.tools.context import asker
from bot.tools.waiting import GuardedTool, Preview
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.model_quirks import call, calls, stream

TURN = Turn(id="question", thread=ThreadId("test", "space", "channel"), messages=())
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}


@tool
async def dig(query: str) -> str:
    """Dig."""
    return f"{query} " * 2_000


@asynccontextmanager
async def a_graph(
    model: ModelServer, *, history_tokens: int, tools: Sequence[BaseTool] = (dig,)
) -> AsyncIterator[Graph]:
    async with open_model(
        name="m",
        fallback=None,
        api_key=SecretStr(KEY),
        base_url=model.base_url,
        timeout=5,
        tools=tools,
    ) as asked:
        yield build_graph(
            asked,
            tools,
            max_iterations=6,
            history_tokens=history_tokens,
            checkpointer=InMemorySaver(),
        )


async def say(graph: Graph, text: str, turn: Turn = TURN) -> dict[str, Any]:
    begin: Any = {"messages": [HumanMessage(text)], "iterations": 0}
    left: dict[str, Any] = await graph.ainvoke(begin, CONFIG, context=Context(turn, lambda _: None))
    return left


def chars(request: dict[str, Any]) -> int:
    """The size of a request without the rules."""
    total = sum(len(str(each["content"] or "")) for each in request["messages"])
    return total - len(prompts.SYSTEM)


async def test_many_rounds_of_one_turn_stay_within_the_budget(model: ModelServer) -> None:
    """Each request holds the newest results whole, and the older ones only as far as they fit."""
    rounds = [
        Script(tool_calls=[("dig", {"query": f"{number}-{each}"}) for each in range(4)])
        for number in range(5)
    ]
    model.script(*rounds, "Found.")
    async with a_graph(model, history_tokens=8000) as graph:
        left = await say(graph, "dig")
    assert left["messages"][-1].text == "Found."
    newest = 4 * len("0-0 " * 2_000)
    assert [chars(request) <= newest + 4 * 8000 for request in model.requests] == [True] * 6
    last = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert [len(each) > 8_000 for each in last[-4:]] == [True] * 4
    assert sum(map(len, last[:-4])) < 8_000


async def test_a_summary_that_is_too_long_does_not_grow_the_requests(model: ModelServer) -> None:
    """A model that does not keep to 200 words makes no later request larger, nor what is stored."""

    def respond(request: dict[str, Any]) -> str:
        if request["messages"][0]["content"] == prompts.SUMMARISE:
            return f"{request['messages'][1]['content']} " + "more " * 2_000
        return "ok"

    model.respond = respond
    async with a_graph(model, history_tokens=2000) as graph:
        for _ in range(40):
            left = await say(graph, "x" * 480)
    assert len(left["summary"]) <= 2000
    sizes = [chars(request) for request in model.requests]
    assert max(sizes) <= 4 * 2000 + 1_000
    assert max(sizes[-20:]) <= max(sizes[:20]) * 1.25


async def test_a_tool_knows_the_person_it_works_for(model: ModelServer) -> None:
    """By whom the shares of the database are counted."""

    async def who() -> str:
        """Return the asker."""
        return asker()

    message = Message(id="q", thread=TURN.thread, author="test:ada", text="who?", sent_at=0, addressed=True)
    asked = StructuredTool.from_function(coroutine=who)
    model.script(Script(tool_calls=[("who", {})] * 3), "You.")
    async with a_graph(model, history_tokens=2000, tools=[asked]) as graph:
        left = await say(graph, "who?", replace(TURN, messages=(message,)))
    assert [each.text for each in left["messages"] if each.type == "tool"] == ["test:ada"] * 3


async def test_an_unreadable_call_of_a_tool_that_needs_approval_is_shown_to_nobody(
    model: ModelServer,
) -> None:
    """There is nothing to decide: the model gets the reason, and may call again."""

    async def write(statement: str) -> str:
        """Write."""
        raise AssertionError("it was not approved")

    async def preview(statement: str) -> Preview:
        raise AssertionError("it cannot be read")

    made = StructuredTool.from_function(coroutine=write)
    guarded = GuardedTool(
        **made.model_dump(exclude={"args_schema"}), args_schema=made.args_schema, preview=preview
    )
    broken = stream(calls(call('{"statement": "drop', name="write")))
    model.script(Script(wire=broken), "I will try again.")
    async with a_graph(model, history_tokens=2000, tools=[guarded]) as graph:
        left = await say(graph, "write it")
    assert left["messages"][-1].text == "I will try again."
    assert "not a JSON object" in model.requests[-1]["messages"][-1]["content"]
