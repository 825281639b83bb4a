"""Context of a tool call: access follows from the turn and its users, never from the model's output."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from langchain_core.runnables import RunnableConfig

from bot.chat import Proposal, Turn

_asker: ContextVar[str] = ContextVar("asker", default="")

_TURN = "turn"
_PROPOSAL = "proposal"


def tool_config(config: RunnableConfig, turn: Turn, proposal: Proposal | None = None) -> RunnableConfig:
    """Return the config for a tool call of `turn`, which `turn_of` and `proposal_of` read.

    `proposal` is the approved call, if the tool needs an approval.
    """
    given = {**config.get("configurable", {}), _TURN: turn, _PROPOSAL: proposal}
    return {**config, "configurable": given}


def turn_of(config: RunnableConfig) -> Turn:
    """Return the turn of a tool call. Raises `KeyError` if `tool_config` was not used."""
    return cast(Turn, config["configurable"][_TURN])


def proposal_of(config: RunnableConfig) -> Proposal:
    """Return the approved call that a `GuardedTool` carries out. Raises `KeyError` if there is none."""
    proposal = config["configurable"][_PROPOSAL]
    if proposal is None:
        raise KeyError(_PROPOSAL)
    return cast(Proposal, proposal)


@contextmanager
def use_asker(turn: Turn) -> Iterator[None]:
    """Set the `asker` of tool calls and previews in the context: the author of the newest message."""
    token = _asker.set(turn.messages[-1].author if turn.messages else "")
    try:
        yield
    finally:
        _asker.reset(token)


def asker() -> str:
    """Return the user for whom a tool works, or an empty string outside of `use_asker`."""
    return _asker.get()
