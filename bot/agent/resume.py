"""Where a turn goes on, read off the state that earlier attempts and interrupts have left. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall
from langgraph.types import Command, StateSnapshot

from bot.agent import parts
from bot.agent.graph import Proposed, State, request_id, tool_task
from bot.chat import Part, Proposal

_AGAIN = "decided_"
_MESSAGE = "message_"
_DECIDED = f"{_MESSAGE}{_AGAIN}"
"""How the ids of a call that is made once more, and of the message that makes it, begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a turn is answered: `earlier` parts were made already, then the graph runs from `begin`.

    `begin` is None where the graph goes on from its checkpoint. `is_over`: there is nothing left to run.
    `asked` are the requests that an earlier attempt has made.
    """

    begin: State | Command[None] | None = None
    earlier: Sequence[Part] = ()
    asked: Sequence[str] = ()
    is_over: bool = False


def repeated_course(state: StateSnapshot, newest: str, guarded: Collection[str]) -> Course | None:
    """Return how a repeated turn goes on, whose last message is `newest`; None where it begins again."""
    messages: list[AnyMessage] = state.values.get("messages", [])
    ids = [message.id for message in messages]
    if newest not in ids:
        return None
    made = _with_pending(state, messages[ids.index(newest) + 1 :])
    if not made and not state.tasks:  # a Redis that died has lost a step: nothing would answer any more
        return None
    proposals: dict[str, Proposed] = state.values.get("proposals") or {}
    calls = [call["id"] for message in made for call in _calls(message)]
    asked = [proposals[id]["request"] for id in calls if id in proposals and not proposals[id]["refusal"]]
    return Course(
        earlier=list(parts.replay(made, guarded)),
        asked=asked,
        is_over=all(task.interrupts for task in state.tasks),
    )


def decided_course(state: StateSnapshot, proposal: Proposal, signed: Mapping[str, str]) -> Course:
    """How the thread goes on once a request is decided.

    Mostly the graph still waits at the call. When the conversation went on in the meantime, or nothing is
    remembered of it, the call is made once more, at the end of what was said, `signed` by who has asked.
    """
    messages = _with_pending(state, state.values.get("messages", []))
    again = f"{_AGAIN}{proposal.id}"
    calls = {call["id"]: call for message in messages for call in _calls(message)}
    call = calls.get(again) or next(
        (each for each in calls.values() if request_id(each) == proposal.id), None
    )
    if call:
        ids = [message.id for message in messages]
        result = parts.result_id(call)
        if result in ids:
            made = _until_next(messages[ids.index(result) :])
            return Course(
                earlier=list(parts.replay([_of(call), *made], [proposal.tool])), is_over=not state.tasks
            )
        if call["id"] == again or _waits(state, proposal.id):
            return Course()
    anew = ToolCall(name=proposal.tool, args=dict(proposal.arguments), id=again, type="tool_call")
    proposed = Proposed(request=proposal.id, refusal="")
    known: dict[str, Proposed] = state.values.get("proposals") or {}
    waiting = {id: each for id, each in known.items() if each["request"] != proposal.id}
    update = {
        "messages": [_of(anew).model_copy(update={"additional_kwargs": dict(signed)})],
        "iterations": 0,
        "last_error": "",
        "proposals": waiting,
    }
    return Course(begin=Command(update=update, goto=[tool_task(anew, proposed)]))


def _until_next(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """What belongs to one decision: all before somebody wrote, or before another one."""
    return list(
        takewhile(lambda each: not isinstance(each, HumanMessage) and not _is_decided(each), messages)
    )


def _is_decided(message: AnyMessage) -> bool:
    return (message.id or "").startswith(_DECIDED)


def _of(call: ToolCall) -> AIMessage:
    return AIMessage("", tool_calls=[call], id=f"{_MESSAGE}{call['id']}")


def _waits(state: StateSnapshot, request: str) -> bool:
    return any(each.value == request for task in state.tasks for each in task.interrupts)


def _calls(message: AnyMessage) -> Sequence[ToolCall]:
    return message.tool_calls if isinstance(message, AIMessage) else ()


def _with_pending(state: StateSnapshot, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages with those of finished tasks, which langgraph shows here or there, or in both places."""
    known = {message.id for message in messages}
    pending = [each for task in state.tasks for each in (task.result or {}).get("messages", [])]
    return [*messages, *(message for message in pending if message.id not in known)]
