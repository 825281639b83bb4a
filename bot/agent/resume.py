"""Decision how to resume a turn from the state that its checkpoint holds. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall
from langchain_core.tools import BaseTool
from langgraph.types import Command, StateSnapshot

from bot.agent import parts
from bot.agent.graph import tool_task
from bot.agent.history import ANSWERED_CALL
from bot.agent.regeneration import AGAIN, end_of_question, place_of
from bot.agent.state import ProposalOutcome, State
from bot.agent.waiting import note_open_requests, request_id, request_of
from bot.chat import Part, Turn, WaitingCall
from bot.tools.waiting import WaitingTool

_MESSAGE = "message_"
_DECIDED = f"{_MESSAGE}{AGAIN}"
"""Prefix of the ids of the messages with a repeated call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePlan:
    """Plan of a resumed turn: `earlier` parts exist already, then the graph runs from `begin`.

    `begin` is None where the graph continues from its checkpoint; `is_over` means that nothing is left to
    run. `requests` are the requests of an earlier attempt, and those that the turn has answered.
    """

    begin: State | Command[None] | None = None
    earlier: Sequence[Part] = ()
    requests: Sequence[str] = ()
    is_over: bool = False


def plan_repetition(state: StateSnapshot, newest: str, tools: Sequence[BaseTool]) -> ResumePlan | None:
    """Return how to resume a turn whose last message is `newest`, or None if it must start again."""
    messages: list[AnyMessage] = state.values.get("messages", [])
    ids = [message.id for message in messages]
    if newest not in ids:
        return None
    made = _with_pending(state, messages[ids.index(newest) + 1 :])
    if not made and not state.tasks:  # Redis lost a step in a crash: nothing would answer any more
        return None
    proposals: dict[str, ProposalOutcome] = state.values.get("proposals") or {}
    waiting_tools = [tool.name for tool in tools if isinstance(tool, WaitingTool)]
    asked = takewhile(
        lambda each: isinstance(each, HumanMessage), reversed(messages[: ids.index(newest) + 1])
    )
    answered = [id for each in asked if (id := each.additional_kwargs.get(ANSWERED_CALL))]
    is_over = all(task.interrupts for task in state.tasks)
    replayed = parts.replay(made, parts.titles_of(tools), waiting_tools)
    return ResumePlan(
        earlier=[*replayed, *(note_open_requests(state.values) if is_over else ())],
        requests=[*map(request_of, answered), *_requests_of(made, proposals)],
        is_over=is_over,
    )


def plan_regeneration(state: StateSnapshot, turn: Turn, tools: Sequence[BaseTool]) -> ResumePlan | None:
    """Return how to answer a question again, or None if it is not the thread's last one any more."""
    messages: list[AnyMessage] = state.values.get("messages", [])
    waiting_tools = [tool.name for tool in tools if isinstance(tool, WaitingTool)]
    begun = place_of(messages, turn.id)
    if begun is not None:
        made = _with_pending(state, messages[begun + 1 :])
        return ResumePlan(
            earlier=list(parts.replay(made, parts.titles_of(tools), waiting_tools)),
            requests=_requests_of(made, state.values.get("proposals") or {}),
            is_over=all(task.interrupts for task in state.tasks),
        )
    is_last = end_of_question(messages, turn.regenerates, waiting_tools) is not None
    if not is_last or any(task.interrupts for task in state.tasks):  # a call may still wait for a user
        return None
    begin = {"messages": [], "iterations": 0, "last_error": ""}  # the graph takes the answer back
    return ResumePlan(begin=cast("State", begin))


def _requests_of(messages: Sequence[AnyMessage], proposals: Mapping[str, ProposalOutcome]) -> list[str]:
    """Return the requests that the calls in these messages have made."""
    calls = [call["id"] or "" for message in messages for call in _calls(message)]
    return [proposals[id]["request"] for id in calls if id in proposals and not proposals[id]["refusal"]]


def plan_after_decision(
    state: StateSnapshot,
    proposal: WaitingCall,
    author_fields: Mapping[str, str | bool],
    tools: Sequence[BaseTool],
) -> ResumePlan:
    """Return how the thread continues after the decision of a request.

    Usually the graph still waits at the call. If the conversation went on or its checkpoint is gone, the call
    is repeated at the end of the history, with the `author_fields` of the user who asked.
    """
    messages = _with_pending(state, state.values.get("messages", []))
    again = f"{AGAIN}{proposal.id}"
    calls = {call["id"]: call for message in messages for call in _calls(message)}
    call = calls.get(again) or next(
        (each for each in calls.values() if request_id(each) == proposal.id), None
    )
    if call:
        ids = [message.id for message in messages]
        result = parts.result_id(call)
        if result in ids:
            made = _until_next(messages[ids.index(result) :])
            earlier = parts.replay([_message(call), *made], parts.titles_of(tools), [proposal.tool])
            return ResumePlan(earlier=list(earlier), is_over=not state.tasks)
        if call["id"] == again or _waits(state, proposal.id):
            return ResumePlan()
    repeated = ToolCall(name=proposal.tool, args=dict(proposal.arguments), id=again, type="tool_call")
    proposed = ProposalOutcome(request=proposal.id, refusal="")
    known: dict[str, ProposalOutcome] = state.values.get("proposals") or {}
    waiting = {id: each for id, each in known.items() if each["request"] != proposal.id}
    update = {
        "messages": [_message(repeated).model_copy(update={"additional_kwargs": dict(author_fields)})],
        "iterations": 0,
        "last_error": "",
        "proposals": waiting,
    }
    return ResumePlan(begin=Command(update=update, goto=[tool_task(repeated, proposed)]))


def _until_next(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages of one decision: those before the next human message or decision."""
    return list(
        takewhile(lambda each: not isinstance(each, HumanMessage) and not _is_decided(each), messages)
    )


def _is_decided(message: AnyMessage) -> bool:
    return (message.id or "").startswith(_DECIDED)


def _message(call: ToolCall) -> AIMessage:
    return AIMessage("", tool_calls=[call], id=f"{_MESSAGE}{call['id']}")


def _waits(state: StateSnapshot, request: str) -> bool:
    return any(each.value == request for task in state.tasks for each in task.interrupts)


def _calls(message: AnyMessage) -> Sequence[ToolCall]:
    return message.tool_calls if isinstance(message, AIMessage) else ()


def _with_pending(state: StateSnapshot, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Add the messages of finished tasks, which langgraph shows in the state, in the tasks, or in both."""
    known = {message.id for message in messages}
    pending = [each for task in state.tasks for each in (task.result or {}).get("messages", [])]
    return [*messages, *(message for message in pending if message.id not in known)]
