"""ReAct loop as a LangGraph graph: think -> act -> observe -> think … -> answer. Wiring, no I/O."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from itertools import takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.types import Send, interrupt
from pydantic import ValidationError

from bot.agent import history, parts, prompts, texts
from bot.agent.images import add_pictures
from bot.agent.messages import asker_description
from bot.agent.models.completion import UNREADABLE, Manner
from bot.agent.models.metering import CallMeter, call_meter
from bot.agent.models.model import Model
from bot.agent.preparation import Preparation
from bot.agent.state import Context, ProposalOutcome, State, ToolTask, Update
from bot.chat import (
    ContextSource,
    Decision,
    Files,
    Meter,
    Proposal,
    Requests,
    Text,
    Turn,
)
from bot.tools import OPEN_TOOLS, GuardedTool, files_of, tool_config, use_asker

log = logging.getLogger(__name__)

Graph = CompiledStateGraph["State", "Context", "State", "State"]


def build_graph(
    model: Model,
    tools: Sequence[BaseTool],
    *,
    max_iterations: int,
    history_tokens: int,
    checkpointer: BaseCheckpointSaver[str] | None,
    requests: Requests | None = None,
    meter: Meter | None = None,
    pictures: Files | None = None,
    is_restricted: Callable[[Turn], bool] | None = None,
    contexts: ContextSource | None = None,
    most_context: int = 0,
) -> Graph:
    """Return the compiled graph, which emits the parts of the answer to its `Context`.

    `tools` is read for each use, because it may change while the graph runs. A turn for which `is_restricted`
    is true can use `OPEN_TOOLS` only. A model with vision receives the pictures in `pictures`. What was
    written before a message is read from `contexts`, at most `most_context` messages.

    A call of a `GuardedTool` is proposed for approval through `requests` and interrupts the graph. To
    continue, run the graph with a turn whose decision is about that request.
    """
    preparation = Preparation(model, history_tokens, meter, contexts, most_context)
    nodes = _Nodes(model, tools, max_iterations, history_tokens, requests, meter, pictures, is_restricted)
    graph = StateGraph(State, Context)
    graph.add_node("read_context", preparation.read_context)
    graph.add_node("summarise", preparation.summarise)
    graph.add_node("think", nodes.think)
    graph.add_node("propose", nodes.propose)
    graph.add_node("act", nodes.act, input_schema=ToolTask)
    graph.add_node("observe", nodes.observe)
    graph.add_conditional_edges(START, preparation.first_step, ["read_context", "summarise", "think"])
    graph.add_conditional_edges("read_context", preparation.next_step, ["summarise", "think"])
    graph.add_edge("summarise", "think")
    graph.add_conditional_edges("think", nodes.what_to_do, ["propose", "act", END])
    graph.add_conditional_edges("propose", _tool_tasks, ["act"])
    graph.add_edge("act", "observe")
    graph.add_edge("observe", "think")
    return graph.compile(checkpointer=checkpointer)


def tool_task(call: ToolCall, proposal: ProposalOutcome | None = None) -> Send:
    """Return the task that runs one call."""
    return Send("act", ToolTask(call=call, proposed=proposal))


# async, as the steps of `Preparation`: langgraph runs a plain function in a thread
async def _tool_tasks(state: State) -> list[Send]:
    proposals = _unreadable(state) | (state.get("proposals") or {})
    return [tool_task(call, proposals.get(call["id"] or "")) for call in _calls(state)]


def _unreadable(state: State) -> dict[str, ProposalOutcome]:
    """Return a refusal for each call of the newest message that cannot be read; the other calls still run."""
    reasons: dict[str, str] = state["messages"][-1].additional_kwargs.get(UNREADABLE, {})
    return {id: ProposalOutcome(request="", refusal=reason) for id, reason in reasons.items()}


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
        meter: Meter | None,
        pictures: Files | None,
        is_restricted: Callable[[Turn], bool] | None,
    ) -> None:
        self._is_restricted_turn = is_restricted
        self._model = model
        self._pictures = pictures
        self._requests = requests
        self._all_tools = tools
        self._max_iterations = max_iterations
        self._history_tokens = history_tokens
        self._meter = meter

    async def think(self, state: State) -> Update:
        emit = get_runtime(Context).context.emit
        if parts.has_spoken(state["messages"]):
            emit = parts.new_paragraph(emit)
        conclude = state["iterations"] >= self._max_iterations
        waiting = state.get("proposals") or {}
        summary, is_restricted, budget = state.get("summary", ""), self._is_restricted, self._history_tokens
        prompt = history.prompt(
            *(state["messages"], summary, conclude, waiting.keys(), budget),
            is_restricted=is_restricted,
            asker=asker_description(get_runtime(Context).context.turn),
        )
        if self._pictures:
            prompt = await add_pictures(prompt, self._pictures)
        manner: Manner = "conclude" if conclude else "act"
        answer = await self._model.answer(
            prompt, emit, self._call_meter(), manner, is_restricted=is_restricted
        )
        if conclude and not answer.text.strip():
            answer = AIMessage(self._partial_answer(state["messages"]), id=answer.id)
            emit(Text(answer.text))
        return {"messages": [answer]}

    def _call_meter(self) -> CallMeter:
        context = get_runtime(Context).context
        return call_meter(self._meter, context.turn, context.emit)

    def _partial_answer(self, messages: Sequence[AnyMessage]) -> str:
        turn = takewhile(lambda each: not isinstance(each, HumanMessage), reversed(messages))
        results = (each for each in turn if isinstance(each, ToolMessage) and each.status != "error")
        sentence = texts.no_answer(self._max_iterations)
        if result := next((parts.readable(each, each.text) for each in results), ""):
            return f"{sentence} {texts.FOUND_SO_FAR}\n\n{result}"
        return sentence

    async def what_to_do(self, state: State) -> list[Send] | str:
        if any(call["name"] in self._guarded_tools for call in _calls(state)):
            return "propose"
        return await _tool_tasks(state) or END

    @property
    def _is_restricted(self) -> bool:
        if self._is_restricted_turn is None:
            return False
        # no context while a user's messages are removed from a thread in which another user's call waits
        context: Context | None = getattr(get_runtime(Context), "context", None)
        return context is not None and self._is_restricted_turn(context.turn)

    @property
    def _tools(self) -> dict[str, BaseTool]:
        """Return the tools of the current turn by name; only these are offered, proposed or run."""
        is_restricted = self._is_restricted
        return {each.name: each for each in self._all_tools if not is_restricted or each.name in OPEN_TOOLS}

    @property
    def _guarded_tools(self) -> dict[str, GuardedTool]:
        return {name: tool for name, tool in self._tools.items() if isinstance(tool, GuardedTool)}

    async def propose(self, state: State) -> Update:
        """Request approvals, one call at a time: two requests at once are hard to tell apart in a chat."""
        unreadable = _unreadable(state)
        proposals = dict(state.get("proposals") or {})
        asked = False
        for call in _calls(state):
            if call["id"] in unreadable:
                refusal = unreadable[call["id"]]["refusal"]
            elif tool := self._guarded_tools.get(call["name"]):
                refusal = prompts.ONE_AT_A_TIME if asked else await self._ask(tool, call)
                asked = asked or not refusal
            else:  # its result would have to wait with the other one, or be lost
                refusal = prompts.NOT_BESIDE
            proposals[call["id"] or ""] = ProposalOutcome(request=request_id(call), refusal=refusal)
        return {"proposals": proposals}

    async def _ask(self, tool: GuardedTool, call: ToolCall) -> str:
        """Request an approval (idempotent); return why it cannot be requested, else an empty string."""
        if self._requests is None:
            return prompts.NOBODY_TO_ASK
        context = get_runtime(Context).context
        try:
            with use_asker(context.turn):
                preview = await tool.preview_call(call["args"])
        except ToolException as error:
            return str(error)
        except ValidationError as error:
            return _invalid_arguments(error)
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
        asked = await self._requests.ask(context.turn, proposal)
        if asked is None:
            return prompts.TOO_MANY_OPEN
        context.emit(asked)
        return ""

    async def act(self, state: ToolTask, config: RunnableConfig) -> Update:
        call, proposed = state["call"], state.get("proposed")
        context = get_runtime(Context).context
        turn, emit, decision = context.turn, context.emit, context.turn.decision
        if task := asyncio.current_task():
            context.calls.add(task)
        if proposed and not proposed["refusal"] and not _is_about(decision, proposed):
            # langgraph would store a resume value; a decision belongs to its turn alone
            interrupt(proposed["request"])
        titles = parts.titles_of(self._all_tools)
        emit(parts.started_step(call, titles))
        began = time.monotonic()
        with use_asker(turn):
            if proposed is None:
                result = await self._result(call, tool_config(config, turn))
            else:
                result = _refusal(call, proposed, decision) or await self._run_approved(
                    call, proposed, config, turn
                )
        seconds = round(time.monotonic() - began, 3)
        log.info("tool ran", extra={"tool": call["name"], "status": result.status, "seconds": seconds})
        emit(parts.ended_step(call, result, titles))
        # a predictable id, so that a rerun recognises a result that is stored already
        return {"messages": [result.model_copy(update={"id": parts.result_id(call)})]}

    async def _run_approved(
        self, call: ToolCall, proposal: ProposalOutcome, config: RunnableConfig, turn: Turn
    ) -> ToolMessage:
        """Run an approved call, if it is the one that was shown to the approver."""
        found = self._requests and await self._requests.find(proposal["request"])
        if not found or (found[1].tool, found[1].arguments) != (call["name"], call["args"]):
            return _failure(call, prompts.NOT_WHAT_WAS_SHOWN)
        return await self._result(call, tool_config(config, turn, found[1]))

    async def _result(self, call: ToolCall, config: RunnableConfig) -> ToolMessage:
        """Run the tool; return its result, or an error that lets the model fix its call."""
        tools = self._tools
        tool = tools.get(call["name"])
        if tool is None and call["name"] in [each.name for each in self._all_tools]:
            return _failure(call, prompts.NOT_FOR_THEM)
        if tool is None:
            return _failure(call, f"There is no tool {call['name']!r}.\nThe tools are {', '.join(tools)}.")
        try:
            result = await tool.ainvoke({**call, "type": "tool_call"}, config)
        except ToolException as error:
            return _failure(call, str(error))
        except ValidationError as error:
            return _failure(call, _invalid_arguments(error))
        except Exception:  # a bug in a tool or plug-in: logged, and the model continues without the result
            log.exception("tool failed unexpectedly", extra={"tool": call["name"]})
            return _failure(call, "The tool failed with an internal error. The operator's log has more.")
        assert isinstance(result, ToolMessage)
        return result

    async def observe(self, state: State) -> Update:
        """Show the files of the round, count it, and keep its newest error.

        Not in `act`: after a crash before the result is stored, the tool could create another file than the
        one that users see already.
        """
        emit = get_runtime(Context).context.emit
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
        waiting = asked - answered  # calls that were cut from the history need no entry any more
        proposals = state.get("proposals") or {}
        return {
            "iterations": state["iterations"] + 1,
            "last_error": errors[-1] if errors else "",
            "proposals": {call: each for call, each in proposals.items() if call in waiting},
        }


def request_id(call: ToolCall) -> str:
    """Return the id of a call's approval request: short enough to type, and the same for every attempt."""
    return hashlib.sha256((call["id"] or "").encode()).hexdigest()[:8]


def _is_about(decision: Decision | None, proposal: ProposalOutcome) -> bool:
    return decision is not None and decision.request == proposal["request"]


def _refusal(call: ToolCall, proposal: ProposalOutcome, decision: Decision | None) -> ToolMessage | None:
    """Return the failure of a call that may not run, or None if it was approved."""
    if proposal["refusal"]:
        return _failure(call, proposal["refusal"])
    assert decision is not None
    match decision.verdict:
        case "approved":
            return None
        case "expired":
            return _failure(call, prompts.EXPIRED)
        case "rejected":
            reason = f" The reason: {decision.reason}" if decision.reason else ""
            return _failure(call, prompts.REJECTED.format(reason=reason))


def _invalid_arguments(error: ValidationError) -> str:
    return f"The tool call has invalid arguments.\n{error}"


def _failure(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
