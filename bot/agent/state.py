"""State of the graph, as the checkpoint stores it, and the input of its runs and tasks."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage, ToolCall
from langgraph.graph import add_messages

from bot.agent.models.model import Emit
from bot.chat import ChannelSettings, Turn

Update = dict[str, Any]
"""Changes of the state that a node returns."""


class State(TypedDict):
    """Thread memory, as the checkpoint stores it. Nothing that the messages imply is stored twice."""

    messages: Annotated[list[AnyMessage], add_messages]
    summary: str
    iterations: int
    last_error: str
    proposals: dict[str, "ProposalOutcome"]


@dataclass(frozen=True, slots=True)
class Context:
    """Input of a run beside the state; it is never stored. `emit` shows a part of the answer at once."""

    turn: Turn
    emit: Emit
    channel: ChannelSettings = field(default_factory=ChannelSettings)
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    """Tasks of tool calls: langgraph leaves several running when a run is cancelled for the second time."""


class ProposalOutcome(TypedDict):
    """Outcome of a request for a waiting call: the request's id, or the reason why there is no request."""

    request: str
    refusal: str


class ToolTask(TypedDict):
    """Input of one tool call. Each call is its own task, so that a crash never repeats a finished one."""

    call: ToolCall
    proposed: ProposalOutcome | None
