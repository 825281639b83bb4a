"""The ReAct loop as a LangGraph graph: think -> act -> observe -> think … -> answer. Wiring, no I/O."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Send
from pydantic import ValidationError

from bot.agent import history, parts, prompts
from bot.agent.model import Emit, Model
from bot.agent.pictures import See, see_nothing
from bot.chat import AnswerError, Text, Turn
from bot.tools import files_of, for_tools

log = logging.getLogger(__name__)

Graph = CompiledStateGraph["State", "Context", "State", "State"]
Update = dict[str, Any]


class State(TypedDict):
    """A thread's memory. What can be derived from the messages is not stored beside them."""

    messages: Annotated[list[AnyMessage], add_messages]
    summary: str
    iterations: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a run is given beside the state, and never stored."""

    turn: Turn


class ToolTask(TypedDict):
    """One tool call. Each is a task of its own, so that after a crash a finished one is not run again."""

    call: ToolCall


def build_graph(
    model: Model,
    tools: Sequence[BaseTool],
    *,
    max_iterations: int,
    history_tokens: int,
    checkpointer: BaseCheckpointSaver[str] | None,
    see: See = see_nothing,
) -> Graph:
    """The compiled graph; stream it with `stream_mode="custom"` for the parts of the answer."""
    nodes = _Nodes(model, {tool.name: tool for tool in tools}, max_iterations, history_tokens, see)
    graph = StateGraph(State, Context)
    graph.add_node("summarise", nodes.summarise)
    graph.add_node("think", nodes.think)
    graph.add_node("act", nodes.act, input_schema=ToolTask)
    graph.add_node("observe", nodes.observe)
    graph.add_conditional_edges(START, nodes.is_history_too_long, ["summarise", "think"])
    graph.add_edge("summarise", "think")
    graph.add_conditional_edges("think", _tool_tasks, ["act", END])
    graph.add_edge("act", "observe")
    graph.add_edge("observe", "think")
    return graph.compile(checkpointer=checkpointer)


# async, as is_history_too_long: langgraph runs a plain function in a thread
async def _tool_tasks(state: State) -> list[Send] | str:
    newest = state["messages"][-1]
    calls = newest.tool_calls if isinstance(newest, AIMessage) else []
    return [Send("act", ToolTask(call=call)) for call in calls] or END


class _Nodes:
    def __init__(
        self,
        model: Model,
        tools: dict[str, BaseTool],
        max_iterations: int,
        history_tokens: int,
        see: See,
    ) -> None:
        self._model = model
        self._see = see
        self._tools = tools
        self._max_iterations = max_iterations
        self._history_tokens = history_tokens

    async def is_history_too_long(self, state: State) -> str:
        too_long = history.is_too_long(state["messages"], self._history_tokens)
        return "summarise" if too_long and history.cut(state["messages"], self._history_tokens) else "think"

    async def summarise(self, state: State) -> Update:
        """Replace the older messages by a summary; without one, forget them rather than fail the turn."""
        older = state["messages"][: history.cut(state["messages"], self._history_tokens)]
        summary = state.get("summary", "")
        try:
            request = history.transcript(older, summary)
            summary = (await self._model.answer(request, lambda _: None, "plain")).text or summary
        except AnswerError as error:
            log.warning("history cut without a summary", extra={"error": str(error)})
        return {"messages": [RemoveMessage(id=message.id or "") for message in older], "summary": summary}

    async def think(self, state: State) -> Update:
        emit: Emit = get_stream_writer()
        if parts.has_spoken(state["messages"]):
            emit = parts.new_paragraph(emit)
        conclude = state["iterations"] >= self._max_iterations
        prompt = history.prompt(state["messages"], state.get("summary", ""), conclude)
        prompt = await self._see(prompt)
        answer = await self._model.answer(prompt, emit, "conclude" if conclude else "act")
        if conclude and not answer.text.strip():
            answer = AIMessage(self._what_is_known(state["messages"]), id=answer.id)
            emit(Text(answer.text))
        return {"messages": [answer]}

    def _what_is_known(self, messages: Sequence[AnyMessage]) -> str:
        results = [message.text for message in messages if isinstance(message, ToolMessage)]
        return "\n\n".join([prompts.NO_ANSWER.format(rounds=self._max_iterations), *results[-1:]])

    async def act(self, state: ToolTask, config: RunnableConfig) -> Update:
        emit = get_stream_writer()
        call = state["call"]
        emit(parts.started(call))
        began = time.monotonic()
        result = await self._result(call, for_tools(config, get_runtime(Context).context.turn))
        seconds = round(time.monotonic() - began, 3)
        log.info("tool ran", extra={"tool": call["name"], "status": result.status, "seconds": seconds})
        emit(parts.ended(call, result))
        # an id that is known before the result is stored, so that a rerun can tell what it has seen
        return {"messages": [result.model_copy(update={"id": f"result_{call['id']}"})]}

    async def _result(self, call: ToolCall, config: RunnableConfig) -> ToolMessage:
        """What the tool returns, or why it failed, in words that let the model mend its call."""
        tool = self._tools.get(call["name"])
        if tool is None:
            return _failure(call, f"There is no tool {call['name']!r}; there are {', '.join(self._tools)}.")
        try:
            result = await tool.ainvoke({**call, "type": "tool_call"}, config)
        except ToolException as error:
            return _failure(call, str(error))
        except ValidationError as error:
            return _failure(call, f"The arguments do not fit: {error}")
        except Exception:  # whatever a tool raises must not end the turn: the model goes on without it
            log.exception("tool failed unexpectedly", extra={"tool": call["name"]})
            return _failure(call, "The tool failed for a reason of its own; the operator's log has it.")
        assert isinstance(result, ToolMessage)
        return result

    async def observe(self, state: State) -> Update:
        """Show the files that the round has made, count it, and keep the newest error of it.

        Not in `act`: there a crash could come before the result is stored, and the tool might then make
        another file than the one that people see already.
        """
        emit = get_stream_writer()
        results = history.newest_results(state["messages"])
        for result in results:
            for file in files_of(result):
                emit(file)
        errors = [result.text for result in results if result.status == "error"]
        return {"iterations": state["iterations"] + 1, "last_error": errors[-1] if errors else ""}


def _failure(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
