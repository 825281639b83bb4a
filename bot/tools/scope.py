"""For whom a tool works: what it may see follows from the turn, never from what the model says."""

from typing import cast

from langchain_core.runnables import RunnableConfig

from bot.chat import Turn

_TURN = "turn"


def for_tools(config: RunnableConfig, turn: Turn) -> RunnableConfig:
    """The config that the tools of `turn` are called with; `turn_of` reads it."""
    return {**config, "configurable": {**config.get("configurable", {}), _TURN: turn}}


def turn_of(config: RunnableConfig) -> Turn:
    """The turn that a tool works for. Raises `KeyError` when `for_tools` was not used."""
    return cast(Turn, config["configurable"][_TURN])
