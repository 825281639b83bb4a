"""Model for a bot without a model service: no network, no randomness, and it says that it is offline."""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.tools import BaseTool

from bot.agent import parts, prompts
from bot.agent.models import texts
from bot.agent.models.completion import Completion, Manner, Offered
from bot.agent.spotlighting import SIGN, unmark
from bot.chat import Json
from bot.chat.text import one_line

_COMMANDS = {
    "SQL": "sql_query",
    "TABLE": "table",
    "EXPORT": "export",
    "CHART": "chart",
    "EXECUTE": "sql_execute",
    "SEARCH": "memory_search",
}
_KINDS = "line|bar|stacked|pie|scatter|histogram"


class OfflineService:
    """Chat model that says it is offline, runs the commands of `_COMMANDS`, and quotes the conversation."""

    name = "offline"

    def __init__(self, tools: Sequence[BaseTool]) -> None:
        self._tools = tools

    def tools_size(self, tools: Offered = None) -> int:
        """Return 0: nobody pays for these tokens."""
        return 0

    async def stream(
        self,
        messages: Sequence[AnyMessage],
        manner: Manner,
        completion: Completion,
        tools: Offered = None,
    ) -> AsyncGenerator[None]:
        """Answer at once, as `bot.agent.models.model.Service` describes."""
        completion.trust()
        names = [tool.name for tool in self._tools if tools is None or tool.name in tools]
        for chunk in _chunks(_respond(messages, names if manner == "act" else [])):
            completion.feed_chunk(chunk)
        yield
        completion.finish()


def _chunks(message: AIMessage) -> Iterator[Json]:
    """Yield a message in chunks, as a service sends it."""
    yield {"choices": [{"delta": {"content": message.text}}]}
    calls = [
        {"index": index, "function": {"name": call["name"], "arguments": call["args"]}}
        for index, call in enumerate(message.tool_calls)
    ]
    yield {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "stop"}]}


def _respond(messages: Sequence[BaseMessage], tool_names: Sequence[str]) -> AIMessage:
    if isinstance(messages[0], SystemMessage) and messages[0].text == prompts.SUMMARISE:
        return AIMessage(_summary(messages[-1].text))
    last = next(message for message in reversed(messages) if not isinstance(message, SystemMessage))
    if isinstance(last, ToolMessage):
        return AIMessage(_report(last))
    call = _tool_call(last.text)
    if call and call["name"] in tool_names:
        return AIMessage("", tool_calls=[call])
    return AIMessage(_recollection(messages))


def _tool_call(text: str) -> ToolCall | None:
    match = re.match(rf"\s*({'|'.join(_COMMANDS)}):\s*(\S.*)", text, re.DOTALL | re.IGNORECASE)
    if not match:
        return None
    command, argument = match[1].upper(), match[2].strip()
    arguments = {"statement" if command == "EXECUTE" else "query": argument}
    if command == "CHART":
        kind = re.match(rf"({_KINDS})\b\s*(.*)", argument, re.DOTALL | re.IGNORECASE)
        arguments = {"query": kind[2], "kind": kind[1].lower()} if kind else arguments | {"kind": "bar"}
    return ToolCall(name=_COMMANDS[command], args=arguments, id="call", type="tool_call")


def _report(result: ToolMessage) -> str:
    text = parts.readable(result, unmark(result.text))
    return texts.offline_failure(text) if result.status == "error" else text


def _recollection(messages: Sequence[BaseMessage]) -> str:
    *earlier, latest = [message.text.strip() for message in messages if isinstance(message, HumanMessage)]
    earlier = _earlier_questions(messages[0].text) + earlier
    if not earlier:
        return texts.offline_first(_quote(latest))
    return texts.offline_later("\n".join(f"- {_quote(each)}" for each in earlier[-3:]))


def _earlier_questions(system: str) -> list[str]:
    """Return the questions in the running summary that `_summary` wrote."""
    return re.findall(rf"^{SIGN}asked: (.+)$", system, re.MULTILINE)


def _summary(transcript: str) -> str:
    questions = re.findall(r"^(?:human|Earlier summary: asked|asked): (.+)$", transcript, re.MULTILINE)
    return "\n".join(f"asked: {question[:150]}" for question in questions[-12:])


def _quote(text: str) -> str:
    return f"“{one_line(text, 120)}”"
