"""Silence that the model chooses where users talk with each other. Pure."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage

from bot.agent.authors import author
from bot.chat import ChannelSettings, Turn
from bot.tools.toolset import STAY_SILENT

_SILENT = "silent"
"""Key of the `additional_kwargs` of an answer that shows nothing, and that no later prompt has."""


def may_be_silent(turn: Turn, channel: ChannelSettings, messages: Sequence[AnyMessage]) -> bool:
    """Return whether the model can choose not to answer: nobody mentions it, and several users write."""
    if channel.follow_up != "always" or any(each.addressed for each in turn.messages):
        return False
    return len({author(each) for each in messages} - {""}) > 1


def read_silence(answer: AIMessage) -> AIMessage:
    """Return the answer without its calls of `stay_silent`: what else it says or calls counts."""
    calls = [each for each in answer.tool_calls if each["name"] != STAY_SILENT]
    if len(calls) == len(answer.tool_calls):
        return answer
    if calls or answer.text.strip():
        return answer.model_copy(update={"tool_calls": calls})
    return AIMessage("", id=answer.id, additional_kwargs={_SILENT: True})


def is_silent(message: AnyMessage) -> bool:
    """Return whether a message stands for chosen silence."""
    return bool(message.additional_kwargs.get(_SILENT))
