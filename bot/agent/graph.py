"""ReAct loop as a LangGraph graph: think -> act -> observe -> think … -> answer. Wiring, no I/O."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
from bot.agent.regeneration import without_answer
from bot.agent.silence import is_silent, may_be_silent, read_silence
from bot.agent.state import Context, ProposalOutcome, State, ToolTask, Update
from bot.agent.system_prompt import SystemPrompt
from bot.agent.waiting import (
    failure,
    invalid_arguments,
    is_about,
    make_request,
    open_questions,
    refusal,
    request_id,
)
from bot.chat import (
    Files,
    Meter,
    Proposal,
    Requests,
    Text,
    Turn,
)
from bot.tools.artifacts import artifacts_of, in_order, without_values
from bot.tools.context import tool_config, use_asker
from bot.tools.errors import ToolFailure
from bot.tools.toolset import OPEN_TOOLS, STAY_SILENT
from bot.tools.waiting import WaitingTool

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
    instructions: str = "",
) -> Graph:
    """Return the compiled graph, which emits the parts of the answer to its `Context`.

    `tools` is read for each use, because it may change while the graph runs. A turn for which `is_restricted`
    is true can use `OPEN_TOOLS` only. A model with vision receives the pictures in `pictures`. The
    `instructions` of the deployment are part of each request.

    A call of a `WaitingTool` makes a request through `requests` and interrupts the graph. To continue, run
    the graph with a turn whose decision is about that request. A turn whose words answer a question begins
    with `hear`, one that regenerates an answer with `take_back`; both go on like any other.
    """
    preparation = Preparation(model, history_tokens, meter)
    nodes = _Nodes(
        model,
        tools,
        max_iterations,
        history_tokens,
        requests,
        meter,
        pictures,
        is_restricted,
        instructions,
        preparation,
    )
    graph = StateGraph(State, Context)
    graph.add_node("hear", _step(nodes.hear))
    graph.add_node("take_back", _step(nodes.take_back))
    graph.add_node("summarise", _step(preparation.summarise))
    graph.add_node("think", _step(nodes.think))
    graph.add_node("propose", _step(nodes.propose))
    graph.add_node("act", _step(nodes.act), input_schema=ToolTask)
    graph.add_node("observe", _step(nodes.observe))
    next_steps = ["summarise", "think"]
    graph.add_conditional_edges(START, nodes.how_to_begin, ["hear", "take_back", *next_steps])
    graph.add_conditional_edges("take_back", preparation.next_step, next_steps)
    graph.add_conditional_edges("hear", preparation.next_step, next_steps)
    graph.add_edge("summarise", "think")
    graph.add_conditional_edges("think", nodes.what_to_do, ["propose", "act", END])
    graph.add_conditional_edges("propose", _tool_tasks, ["act"])
    graph.add_edge("act", "observe")
    graph.add_edge("observe", "think")
    return graph.compile(checkpointer=checkpointer)


def _step(function: Callable[..., Awaitable[Update]]) -> Callable[..., Awaitable[Update]]:
    """Return a step that langgraph does not search for subgraphs, which takes half of `build_graph`."""
    return partial(function)


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
        instructions: str,
        preparation: Preparation,
    ) -> None:
        self._instructions = instructions
        self._preparation = preparation
        self._is_restricted_turn = is_restricted
        self._model = model
        self._pictures = pictures
        self._requests = requests
        self._all_tools = tools
        self._max_iterations = max_iterations
        self._history_tokens = history_tokens
        self._meter = meter

    async def how_to_begin(self, state: State) -> str:
        if self._context and self._context.turn.regenerates:
            return "take_back"
        has_questions = open_questions(state["messages"], state.get("proposals") or {})
        return "hear" if has_questions else await self._preparation.next_step(state)

    async def take_back(self, state: State) -> Update:
        """Remove the answer that this turn replaces: the model must not see it."""
        turn = get_runtime(Context).context.turn
        waiting_tools = [each.name for each in self._all_tools if isinstance(each, WaitingTool)]
        return without_answer(state, turn.regenerates, turn.id, waiting_tools)

    async def hear(self, state: State) -> Update:
        """Take the words of this turn for the answer to an open question, if it is for their author."""
        context = get_runtime(Context).context
        proposals, newest = state["proposals"], state["messages"][-1]
        for call in open_questions(state["messages"], proposals):
            if self._requests and (answered := await self._requests.answer(context.turn, request_id(call))):
                context.emit(answered)
                marks = {**newest.additional_kwargs, history.ANSWERED_CALL: call["id"]}
                return {
                    "messages": [newest.model_copy(update={"additional_kwargs": marks})],
                    "proposals": {id: each for id, each in proposals.items() if id != call["id"]},
                }
        return {"proposals": proposals}

    async def think(self, state: State) -> Update:
        emit = get_runtime(Context).context.emit
        if parts.has_spoken(state["messages"]):
            emit = parts.new_paragraph(emit)
        conclude = state["iterations"] >= self._max_iterations
        waiting = state.get("proposals") or {}
        context, messages = get_runtime(Context).context, state["messages"]
        can_be_silent = may_be_silent(context.turn, context.channel, messages)
        system = SystemPrompt(
            instructions=self._instructions,
            channel_instructions=context.channel.instructions,
            is_restricted=self._is_restricted,
            may_be_silent=can_be_silent,
            asker=asker_description(context.turn),
        )
        summary, budget = state.get("summary", ""), self._history_tokens
        prompt = history.prompt(messages, summary, conclude, waiting.keys(), budget, system=system)
        if self._pictures:
            prompt = await add_pictures(prompt, self._pictures)
        manner: Manner = "conclude" if conclude else "act"
        tools = frozenset(self._tools) | ({STAY_SILENT} if can_be_silent else frozenset())
        answer = await self._model.answer(
            prompt, emit, self._call_meter(), manner, tools=tools, preferred=context.channel.model
        )
        if can_be_silent:
            answer = read_silence(answer)
        if conclude and not answer.text.strip() and not is_silent(answer):
            answer = AIMessage(self._partial_answer(messages), id=answer.id)
            emit(Text(answer.text))
        # earlier turns have ended: their users have the tables
        shown = [] if state["iterations"] else without_values(messages)
        return {"messages": [*shown, answer]}

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
        if any(call["name"] in self._waiting_tools for call in _calls(state)):
            return "propose"
        return await _tool_tasks(state) or END

    @property
    def _context(self) -> Context | None:
        """Return None while messages are removed from a thread in which another user's call waits."""
        return getattr(get_runtime(Context), "context", None)

    @property
    def _is_restricted(self) -> bool:
        context = self._context
        return bool(context and self._is_restricted_turn and self._is_restricted_turn(context.turn))

    @property
    def _tools(self) -> dict[str, BaseTool]:
        """Return the tools of the current turn by name; only these are offered, proposed or run."""
        of_channel = self._context.channel.tools if self._context else None
        of_turn = OPEN_TOOLS if self._is_restricted else None
        return {
            each.name: each
            for each in self._all_tools
            if each.name != STAY_SILENT
            and (of_channel is None or each.name in of_channel)
            and (of_turn is None or each.name in of_turn)
        }

    @property
    def _waiting_tools(self) -> dict[str, WaitingTool]:
        return {name: tool for name, tool in self._tools.items() if isinstance(tool, WaitingTool)}

    async def propose(self, state: State) -> Update:
        """Make requests, one call at a time: two requests at once are hard to tell apart in a chat."""
        context = get_runtime(Context).context
        ask = partial(make_request, self._requests, context.turn, context.emit)
        unreadable = _unreadable(state)
        proposals = dict(state.get("proposals") or {})
        asked = False
        for call in _calls(state):
            if call["id"] in unreadable:
                refused = unreadable[call["id"]]["refusal"]
            elif tool := self._waiting_tools.get(call["name"]):
                refused = prompts.ONE_AT_A_TIME if asked else await ask(tool, call)
                asked = asked or not refused
            else:  # its result would have to wait with the other one, or be lost
                refused = prompts.NOT_BESIDE
            proposals[call["id"] or ""] = ProposalOutcome(request=request_id(call), refusal=refused)
        return {"proposals": proposals}

    async def act(self, state: ToolTask, config: RunnableConfig) -> Update:
        call, proposed = state["call"], state.get("proposed")
        context = get_runtime(Context).context
        turn, emit, decision = context.turn, context.emit, context.turn.decision
        if task := asyncio.current_task():
            context.calls.add(task)
        if proposed and not proposed["refusal"] and not is_about(decision, proposed):
            # langgraph would store a resume value; a decision belongs to its turn alone
            interrupt(proposed["request"])
        titles = parts.titles_of(self._all_tools)
        emit(parts.started_step(call, titles))
        began = time.monotonic()
        with use_asker(turn):
            if proposed is None:
                result = await self._result(call, tool_config(config, turn))
            else:
                result = refusal(call, proposed, decision) or await self._run_decided(
                    call, proposed, config, turn
                )
        seconds = round(time.monotonic() - began, 3)
        result = parts.finished_result(call, result, seconds)
        log.info("tool ran", extra={"tool": call["name"], "status": result.status, "seconds": seconds})
        emit(parts.ended_step(call, result, titles))
        return {"messages": [result]}

    async def _run_decided(
        self, call: ToolCall, proposal: ProposalOutcome, config: RunnableConfig, turn: Turn
    ) -> ToolMessage:
        """Run an approved or answered call, if it is the one that was shown to the user."""
        found = self._requests and await self._requests.find(proposal["request"])
        if not found or (found[1].tool, found[1].arguments) != (call["name"], call["args"]):
            return failure(call, prompts.NOT_WHAT_WAS_SHOWN)
        approved = found[1] if isinstance(found[1], Proposal) else None
        return await self._result(call, tool_config(config, turn, approved))

    async def _result(self, call: ToolCall, config: RunnableConfig) -> ToolMessage:
        """Run the tool; return its result, or an error that lets the model fix its call."""
        tools = self._tools
        tool = tools.get(call["name"])
        if tool is None and call["name"] in [each.name for each in self._all_tools]:
            return failure(call, prompts.NOT_OFFERED)
        if tool is None:
            return failure(call, f"There is no tool {call['name']!r}.\nThe tools are {', '.join(tools)}.")
        try:
            result = await tool.ainvoke({**call, "type": "tool_call"}, config)
        except (ToolException, ToolFailure) as error:
            return failure(call, str(error))
        except ValidationError as error:
            return failure(call, invalid_arguments(error))
        except Exception:  # a bug in a tool or plug-in: logged, and the model continues without the result
            log.exception("tool failed unexpectedly", extra={"tool": call["name"]})
            return failure(call, "The tool failed with an internal error. The operator's log has more.")
        assert isinstance(result, ToolMessage)
        return result

    async def observe(self, state: State) -> Update:
        """Show the tables and files of the round, count it, and keep its newest error.

        Not in `act`: after a crash before the result is stored, the tool could create another file than the
        one that users see already.
        """
        emit = get_runtime(Context).context.emit
        results = history.newest_results(state["messages"])
        for part in in_order(part for result in results for part in artifacts_of(result)):
            emit(part)
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
