"""Calls that wait for a user: their requests, and what the model reads of the decisions."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.tools import ToolException
from pydantic import ValidationError

from bot.agent import prompts
from bot.agent.state import ProposalOutcome
from bot.chat import Decision, OpenRequests, Part, Requests, Turn
from bot.tools.context import use_asker
from bot.tools.errors import ToolFailure
from bot.tools.questions import ASK_USER
from bot.tools.waiting import WaitingTool


def request_id(call: ToolCall) -> str:
    """Return the id of a call's request: short enough to type, and the same for every attempt."""
    return request_of(call["id"] or "")


def request_of(call_id: str) -> str:
    """Return the id of the request of the call with that id."""
    return hashlib.sha256(call_id.encode()).hexdigest()[:8]


def note_open_requests(values: Mapping[str, Any]) -> Sequence[Part]:
    """Return the sign that requests of a thread are open, if they are; `values` are those of its state."""
    proposals: Mapping[str, ProposalOutcome] = values.get("proposals") or {}
    return [OpenRequests()] if any(not each["refusal"] for each in proposals.values()) else []


def open_questions(
    messages: Sequence[AnyMessage], proposals: Mapping[str, ProposalOutcome]
) -> list[ToolCall]:
    """Return the calls whose questions wait for an answer, the newest first."""
    waiting = {id for id, each in proposals.items() if not each["refusal"]}
    if not waiting:
        return []
    answers = [each for each in reversed(messages) if isinstance(each, AIMessage)]
    calls = [call for each in answers for call in each.tool_calls]
    return [each for each in calls if each["name"] == ASK_USER and each["id"] in waiting]


async def make_request(
    requests: Requests | None, turn: Turn, emit: Callable[[Part], None], tool: WaitingTool, call: ToolCall
) -> str:
    """Make and show the request of a call (idempotent); return why there is none, else an empty string."""
    if requests is None:
        return prompts.NOBODY_TO_ASK
    try:
        with use_asker(turn):
            waiting = await tool.waiting_call(request_id(call), call["args"])
    except (ToolException, ToolFailure) as error:
        return str(error)
    except ValidationError as error:
        return invalid_arguments(error)
    asked = await requests.ask(turn, waiting)
    if asked is None:
        return prompts.TOO_MANY_QUESTIONS if call["name"] == ASK_USER else prompts.TOO_MANY_OPEN
    emit(asked)
    return ""


def is_about(decision: Decision | None, proposal: ProposalOutcome) -> bool:
    """Return whether a decision is about the request of a call."""
    return decision is not None and decision.request == proposal["request"]


def refusal(call: ToolCall, proposal: ProposalOutcome, decision: Decision | None) -> ToolMessage | None:
    """Return the failure of a call that may not run, or None if it was approved or answered."""
    if proposal["refusal"]:
        return failure(call, proposal["refusal"])
    assert decision is not None
    match decision.verdict:
        case "approved" | "answered":
            return None
        case "expired":
            return failure(call, prompts.UNANSWERED if call["name"] == ASK_USER else prompts.EXPIRED)
        case "withdrawn":  # its turn ends before the graph runs
            return failure(call, prompts.WITHDRAWN_QUESTION)
        case "rejected":
            reason = f" The reason: {decision.reason}" if decision.reason else ""
            return failure(call, prompts.REJECTED.format(reason=reason))


def invalid_arguments(error: ValidationError) -> str:
    """Return the result of a call with wrong arguments."""
    return f"The tool call has invalid arguments.\n{error}"


def failure(call: ToolCall, text: str) -> ToolMessage:
    """Return the result of a call that failed with this text."""
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
