"""The ReAct loop as a LangGraph graph: think -> act -> observe -> think … -> answer. Wiring, no I/O."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Send, interrupt
from pydantic import ValidationError

from bot.agent import history, parts, prompts
from bot.agent.images import See, see_nothing
from bot.agent.models.completion import UNREADABLE, Manner
from bot.agent.models.metering import Metered, metered
from bot.agent.models.model import Emit, Model
from bot.chat import (
    AnswerError,
    BudgetSpent,
    Decision,
    Meter,
    Proposal,
    Requests,
    Text,
    Turn,
    unmetered,
)
from bot.tools import OPEN_TOOLS, GuardedTool, files_of, tool_config, use_asker

log = logging.getLogger(__name__)

Graph = CompiledStateGraph["State", "Context", "State", "State"]
Update = dict[str, Any]


IsLimited = Callable[[Turn], bool]
"""Tells if a turn has `OPEN_TOOLS` alone."""


def nobody_is_limited(turn: Turn) -> bool:
    """Let every turn have all tools."""
    return False


class State(TypedDict):
    """A thread's memory. What can be derived from the messages is not stored beside them."""

    messages: Annotated[list[AnyMessage], add_messages]
    summary: str
    iterations: int
    last_error: str
    proposals: dict[str, "Proposed"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a run is given beside the state, and never stored."""

    turn: Turn


class Proposed(TypedDict):
    """What became of a call that needs leave: the request that a person decides, or why there is none."""

    request: str
    refusal: str


class ToolTask(TypedDict):
    """One tool call. Each is a task of its own, so that after a crash a finished one is not run again."""

    call: ToolCall
    proposed: Proposed | None


def build_graph(
    model: Model,
    tools: Sequence[BaseTool],
    *,
    max_iterations: int,
    history_tokens: int,
    checkpointer: BaseCheckpointSaver[str] | None,
    requests: Requests | None = None,
    meter: Meter = unmetered,
    see: See = see_nothing,
    is_limited: IsLimited = nobody_is_limited,
) -> Graph:
    """The compiled graph; stream it with `stream_mode="custom"` for the parts of the answer.

    `tools` is looked at whenever one is needed: it may change while the graph runs. A turn for which
    `is_limited` holds is offered `OPEN_TOOLS` alone, and can call no other.
    A call of a `GuardedTool` is proposed to a person by way of `requests` and interrupts the graph. Run it
    again, with a turn whose decision is about that request, to go on.
    """
    nodes = _Nodes(model, tools, max_iterations, history_tokens, requests, meter, see, is_limited)
    graph = StateGraph(State, Context)
    graph.add_node("summarise", nodes.summarise)
    graph.add_node("think", nodes.think)
    graph.add_node("propose", nodes.propose)
    graph.add_node("act", nodes.act, input_schema=ToolTask)
    graph.add_node("observe", nodes.observe)
    graph.add_conditional_edges(START, nodes.is_history_too_long, ["summarise", "think"])
    graph.add_edge("summarise", "think")
    graph.add_conditional_edges("think", nodes.what_to_do, ["propose", "act", END])
    graph.add_conditional_edges("propose", _tool_tasks, ["act"])
    graph.add_edge("act", "observe")
    graph.add_edge("observe", "think")
    return graph.compile(checkpointer=checkpointer)


def tool_task(call: ToolCall, proposed: Proposed | None = None) -> Send:
    """What runs one call."""
    return Send("act", ToolTask(call=call, proposed=proposed))


# async, as is_history_too_long: langgraph runs a plain function in a thread
async def _tool_tasks(state: State) -> list[Send]:
    proposals = _unreadable(state) | (state.get("proposals") or {})
    return [tool_task(call, proposals.get(call["id"] or "")) for call in _calls(state)]


def _unreadable(state: State) -> dict[str, Proposed]:
    """Return why calls of the newest message cannot be run, as refusals: the others run beside them."""
    reasons: dict[str, str] = state["messages"][-1].additional_kwargs.get(UNREADABLE, {})
    return {id: Proposed(request="", refusal=reason) for id, reason in reasons.items()}


def _calls(state: State) -> list[ToolCall]:
    newest = state["messages"][-1]
    return newest.tool_calls if isinstance(newest, AIMessage) else []


class _Nodes:
    def __init__(
        self,
        model: Model,
        tools: Sequence[BaseTool],
        max_iterations: int,
        history_tokens: int,
        requests: Requests | None,
        meter: Meter,
        see: See,
        is_limited: IsLimited,
    ) -> None:
        self._is_limited_turn = is_limited
        self._model = model
        self._see = see
        self._requests = requests
        self._all_tools = tools
        self._max_iterations = max_iterations
        self._history_tokens = history_tokens
        self._meter = meter

    async def is_history_too_long(self, state: State) -> str:
        budget = history.room(self._history_tokens, state.get("summary", ""))
        too_long = history.is_too_long(state["messages"], budget)
        return "summarise" if too_long and history.cut(state["messages"], budget) else "think"

    async def summarise(self, state: State) -> Update:
        """Replace the older messages by a summary; without one, forget them rather than fail the turn."""
        summary = history.bounded(state.get("summary", ""), self._history_tokens)
        budget = history.room(self._history_tokens, summary)
        older = state["messages"][: history.cut(state["messages"], budget)]
        try:
            request = history.transcript(older, summary, self._history_tokens)
            answer = await self._model.answer(request, lambda _: None, self._metered(), "plain")
            summary = history.bounded(answer.text.strip(), self._history_tokens) or summary
        except BudgetSpent:
            raise  # there will be no answer either, and nothing is to be forgotten for that
        except AnswerError as error:
            log.warning("history cut without a summary", extra={"error": str(error)})
        return {"messages": [RemoveMessage(id=message.id or "") for message in older], "summary": summary}

    async def think(self, state: State) -> Update:
        emit: Emit = get_stream_writer()
        if parts.has_spoken(state["messages"]):
            emit = parts.new_paragraph(emit)
        conclude = state["iterations"] >= self._max_iterations
        waiting = state.get("proposals") or {}
        summary, is_limited, budget = state.get("summary", ""), self._is_limited, self._history_tokens
        prompt = history.prompt(
            state["messages"], summary, conclude, waiting.keys(), budget, is_limited=is_limited
        )
        prompt = await self._see(prompt)
        manner: Manner = "conclude" if conclude else "act"
        answer = await self._model.answer(prompt, emit, self._metered(), manner, is_limited=is_limited)
        if conclude and not answer.text.strip():
            answer = AIMessage(self._what_is_known(state["messages"]), id=answer.id)
            emit(Text(answer.text))
        return {"messages": [answer]}

    def _metered(self) -> Metered:
        return metered(self._meter, get_runtime(Context).context.turn, get_stream_writer())

    def _what_is_known(self, messages: Sequence[AnyMessage]) -> str:
        turn = takewhile(lambda each: not isinstance(each, HumanMessage), reversed(messages))
        # errors are written for the model
        found = (each.text for each in turn if isinstance(each, ToolMessage) and each.status != "error")
        sentence = prompts.NO_ANSWER.format(rounds=self._max_iterations)
        if result := next(found, ""):
            return f"{sentence} {prompts.FOUND_SO_FAR}\n\n{result}"
        return sentence

    async def what_to_do(self, state: State) -> list[Send] | str:
        if any(call["name"] in self._guarded for call in _calls(state)):
            return "propose"
        return await _tool_tasks(state) or END

    @property
    def _is_limited(self) -> bool:
        # there is none while somebody's words are taken out of a thread in which another's call waits
        context: Context | None = getattr(get_runtime(Context), "context", None)
        return context is not None and self._is_limited_turn(context.turn)

    @property
    def _tools(self) -> dict[str, BaseTool]:
        """The tools of the turn under way, by name: all that is shown, proposed or run is one of these."""
        is_limited = self._is_limited
        return {each.name: each for each in self._all_tools if not is_limited or each.name in OPEN_TOOLS}

    @property
    def _guarded(self) -> dict[str, GuardedTool]:
        return {name: tool for name, tool in self._tools.items() if isinstance(tool, GuardedTool)}

    async def propose(self, state: State) -> Update:
        """Ask a person for leave, for one call at a time: two at once are hard to tell apart in a chat."""
        unreadable = _unreadable(state)
        proposals = dict(state.get("proposals") or {})
        asked = False
        for call in _calls(state):
            if call["id"] in unreadable:
                refusal = unreadable[call["id"]]["refusal"]
            elif tool := self._guarded.get(call["name"]):
                refusal = prompts.ONE_AT_A_TIME if asked else await self._ask(tool, call)
                asked = asked or not refusal
            else:  # what it gives would have to wait with the other one, or be lost
                refusal = prompts.NOT_BESIDE
            proposals[call["id"] or ""] = Proposed(request=request_id(call), refusal=refusal)
        return {"proposals": proposals}

    async def _ask(self, tool: GuardedTool, call: ToolCall) -> str:
        """Ask for leave, which may be done again; returns why it is not asked, if it is not."""
        if self._requests is None:
            return prompts.NOBODY_TO_ASK
        turn = get_runtime(Context).context.turn
        try:
            with use_asker(turn):
                preview = await tool.preview_call(call["args"])
        except ToolException as error:
            return str(error)
        except ValidationError as error:
            return _misfit(error)
        proposal = Proposal(
            id=request_id(call),
            tool=call["name"],
            arguments=call["args"],
            title=preview.title,
            action=preview.action,
            effect=preview.effect,
            language=preview.language,
            facts=preview.facts,
        )
        asked = await self._requests.ask(turn, proposal)
        if asked is None:
            return prompts.TOO_MANY_OPEN
        emit = get_stream_writer()
        emit(asked)
        return ""

    async def act(self, state: ToolTask, config: RunnableConfig) -> Update:
        call, proposed = state["call"], state.get("proposed")
        turn = get_runtime(Context).context.turn
        decision = turn.decision
        if proposed and not proposed["refusal"] and not _is_about(decision, proposed):
            # an answer that langgraph would store is not used: a decision belongs to its turn alone
            interrupt(proposed["request"])
        emit = get_stream_writer()
        emit(parts.started(call))
        began = time.monotonic()
        with use_asker(turn):
            if proposed is None:
                result = await self._result(call, tool_config(config, turn))
            else:
                result = _not_allowed(call, proposed, decision) or await self._approved(
                    call, proposed, config, turn
                )
        seconds = round(time.monotonic() - began, 3)
        log.info("tool ran", extra={"tool": call["name"], "status": result.status, "seconds": seconds})
        emit(parts.ended(call, result))
        # an id that is known before the result is stored, so that a rerun can tell what it has seen
        return {"messages": [result.model_copy(update={"id": parts.result_id(call)})]}

    async def _approved(
        self, call: ToolCall, proposed: Proposed, config: RunnableConfig, turn: Turn
    ) -> ToolMessage:
        """What comes of a call that a person has allowed, if it is the one that was shown."""
        found = self._requests and await self._requests.find(proposed["request"])
        if not found or (found[1].tool, found[1].arguments) != (call["name"], call["args"]):
            return _failure(call, prompts.NOT_WHAT_WAS_SHOWN)
        return await self._result(call, tool_config(config, turn, found[1]))

    async def _result(self, call: ToolCall, config: RunnableConfig) -> ToolMessage:
        """What the tool returns, or why it failed, in words that let the model mend its call."""
        tools = self._tools
        tool = tools.get(call["name"])
        if tool is None and call["name"] in [each.name for each in self._all_tools]:
            return _failure(call, prompts.NOT_FOR_THEM)
        if tool is None:
            return _failure(call, f"There is no tool {call['name']!r}; there are {', '.join(tools)}.")
        try:
            result = await tool.ainvoke({**call, "type": "tool_call"}, config)
        except ToolException as error:
            return _failure(call, str(error))
        except ValidationError as error:
            return _failure(call, _misfit(error))
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
        answered = {message.tool_call_id for message in state["messages"] if isinstance(message, ToolMessage)}
        asked = {
            call["id"]
            for each in state["messages"]
            if isinstance(each, AIMessage)
            for call in each.tool_calls
        }
        waiting = asked - answered  # one that is cut from the history needs no mark any more
        proposals = state.get("proposals") or {}
        return {
            "iterations": state["iterations"] + 1,
            "last_error": errors[-1] if errors else "",
            "proposals": {call: each for call, each in proposals.items() if call in waiting},
        }


def request_id(call: ToolCall) -> str:
    """The name of the request for a call's leave: short enough to be typed, the same whenever it is asked."""
    return hashlib.sha256((call["id"] or "").encode()).hexdigest()[:8]


def _is_about(decision: Decision | None, proposed: Proposed) -> bool:
    return decision is not None and decision.request == proposed["request"]


def _not_allowed(call: ToolCall, proposed: Proposed, decision: Decision | None) -> ToolMessage | None:
    """Why a call that needs leave does not run; None when it may."""
    if proposed["refusal"]:
        return _failure(call, proposed["refusal"])
    assert decision is not None
    match decision.verdict:
        case "approved":
            return None
        case "expired":
            return _failure(call, prompts.EXPIRED)
        case "rejected":
            reason = f" The reason: {decision.reason}" if decision.reason else ""
            return _failure(call, prompts.REJECTED.format(reason=reason))


def _misfit(error: ValidationError) -> str:
    return f"The arguments do not fit: {error}"


def _failure(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
