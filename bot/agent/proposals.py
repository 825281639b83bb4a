"""Proposals of tool calls for approval, and results of calls that do not run. Pure."""

import hashlib
from typing import TypedDict

from langchain_core.messages import ToolCall, ToolMessage
from pydantic import ValidationError

from bot.agent import prompts
from bot.chat import Decision


class ProposalOutcome(TypedDict):
    """Outcome of proposing a call for approval: the request's id, or the reason why there is no request."""

    request: str
    refusal: str


def request_id(call: ToolCall) -> str:
    """Return the id of a call's approval request: short enough to type, and the same for every attempt."""
    return hashlib.sha256((call["id"] or "").encode()).hexdigest()[:8]


def is_about(decision: Decision | None, proposal: ProposalOutcome) -> bool:
    """Return whether a decision is about this proposal."""
    return decision is not None and decision.request == proposal["request"]


def refusal_of(call: ToolCall, proposal: ProposalOutcome, decision: Decision | None) -> ToolMessage | None:
    """Return the failure of a call that may not run, or None if it was approved."""
    if proposal["refusal"]:
        return failure(call, proposal["refusal"])
    assert decision is not None
    match decision.verdict:
        case "approved":
            return None
        case "expired":
            return failure(call, prompts.EXPIRED)
        case "rejected":
            reason = f" The reason: {decision.reason}" if decision.reason else ""
            return failure(call, prompts.REJECTED.format(reason=reason))


def invalid_arguments(error: ValidationError) -> str:
    """Return the failure of a call whose arguments do not fit, for the model."""
    return f"The tool call has invalid arguments.\n{error}"


def failure(call: ToolCall, text: str) -> ToolMessage:
    """Return the result of a call that failed or did not run."""
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
