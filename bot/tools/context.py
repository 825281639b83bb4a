"""For whom a tool works: what it may see follows from the turn, never from what the model says."""

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
    """The config that a tool of `turn` is called with, which `turn_of` and `proposal_of` read.

    `proposal` is what a person has approved, if the tool needs that.
    """
    given = {**config.get("configurable", {}), _TURN: turn, _PROPOSAL: proposal}
    return {**config, "configurable": given}


def turn_of(config: RunnableConfig) -> Turn:
    """The turn that a tool works for. Raises `KeyError` when `tool_config` was not used."""
    return cast(Turn, config["configurable"][_TURN])


def proposal_of(config: RunnableConfig) -> Proposal:
    """The approved call that a `GuardedTool` carries out. Raises `KeyError` when nothing was approved."""
    proposal = config["configurable"][_PROPOSAL]
    if proposal is None:
        raise KeyError(_PROPOSAL)
    return cast(Proposal, proposal)


@contextmanager
def use_asker(turn: Turn) -> Iterator[None]:
    """Let a tool that runs, or prepares a call, know for whom, by `asker`: who wrote the newest message."""
    token = _asker.set(turn.messages[-1].author if turn.messages else "")
    try:
        yield
    finally:
        _asker.reset(token)


def asker() -> str:
    """Return the person for whom a tool works; empty when nobody has said."""
    return _asker.get()
