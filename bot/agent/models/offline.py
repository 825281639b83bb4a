"""Model for a bot without a model service: no network, no randomness, and it says that it is offline.

It understands the questions of `bot.agent.models.tour`, and commands such as `SQL: select …`.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

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

from bot.agent import prompts
from bot.agent.models import results, texts, tour
from bot.agent.models.completion import Completion, Manner, Offered
from bot.agent.spotlighting import SIGN
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
_MOST_COMPARED = 20
"""Most messages that are compared with a call to find its question."""

_KINDS = "line|bar|stacked|pie|scatter|histogram"


class OfflineService:
    """Chat model that says it is offline, answers the questions of the tour, and quotes the conversation.

    With `has_sample` the database is the embedded one, about which most of these questions are.
    """

    name = "offline"

    def __init__(self, tools: Sequence[BaseTool], *, has_sample: bool = False) -> None:
        self._tools = tools
        self._has_sample = has_sample

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
        for chunk in _chunks(self._respond(messages, names if manner == "act" else [])):
            completion.feed_chunk(chunk)
        yield
        completion.finish()

    def _respond(self, messages: Sequence[BaseMessage], tool_names: Sequence[str]) -> AIMessage:
        if isinstance(messages[0], SystemMessage) and messages[0].text == prompts.SUMMARISE:
            return AIMessage(_summary(messages[-1].text))
        last = next(message for message in reversed(messages) if not isinstance(message, SystemMessage))
        if isinstance(last, ToolMessage):
            return self._after(last, messages)
        if (call := _tool_call(last.text)) and call["name"] in tool_names:
            return AIMessage("", tool_calls=[call])
        understood = tour.understand(last.text, has_sample=self._has_sample)
        if understood is None:
            return AIMessage(self._not_understood(messages))
        if (wanted := understood.call) is None:
            return AIMessage(self._without_tool(understood.question, messages))
        if wanted.tool not in tool_names:
            return AIMessage(texts.offline_without(wanted.tool))
        return AIMessage("", tool_calls=[_call(wanted.tool, wanted.arguments)])

    def _after(self, result: ToolMessage, messages: Sequence[BaseMessage]) -> AIMessage:
        """Return the answer with a tool's result, or the next try."""
        call = _call_of(result, messages)
        if call is None or result.status == "error":
            if call and call["name"] == "memory_save" and call["args"].get("scope") == "private":
                return AIMessage("", tool_calls=[_call("memory_save", {**call["args"], "scope": "channel"})])
            return AIMessage(results.failure(result, call["name"] if call else ""))
        return AIMessage(results.answer(call["name"], result, self._question_of(call, messages)))

    def _question_of(self, call: ToolCall, messages: Sequence[BaseMessage]) -> tour.Understood | None:
        """Return the question for which a tool was called; its decision may have come much later."""
        asked = [message.text for message in messages if isinstance(message, HumanMessage)][-_MOST_COMPARED:]
        for text in reversed(asked):
            understood = tour.understand(text, has_sample=self._has_sample)
            if understood and understood.call == (call["name"], call["args"]):
                return understood
        return None

    def _without_tool(self, question: tour.Question, messages: Sequence[BaseMessage]) -> str:
        if question.shows == tour.READ_FILE:
            last = next(each for each in reversed(messages) if isinstance(each, HumanMessage))
            return results.file_answer(last.text)
        if question.shows == tour.EARLIER:
            return _recollection(messages) or texts.OFFLINE_NOTHING_EARLIER
        return texts.offline_capabilities(self._sentences())

    def _not_understood(self, messages: Sequence[BaseMessage]) -> str:
        last = next(each for each in reversed(messages) if isinstance(each, HumanMessage))
        if file := results.file_answer(last.text, or_none=True):
            return file
        earlier = _recollection(messages)
        said = tour.own_words(last.text)
        sentence = texts.offline_not_understood(_quote(said) if said else "", self._sentences())
        return f"{sentence}\n\n{earlier}" if earlier else sentence

    def _sentences(self) -> Sequence[str]:
        return [each.sentence for each in tour.SUGGESTIONS if self._has_sample or not each.needs_sample]


def _chunks(message: AIMessage) -> Iterator[Json]:
    """Yield a message in chunks, as a service sends it."""
    yield {"choices": [{"delta": {"content": message.text}}]}
    calls = [
        {"index": index, "function": {"name": call["name"], "arguments": call["args"]}}
        for index, call in enumerate(message.tool_calls)
    ]
    yield {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "stop"}]}


def _tool_call(text: str) -> ToolCall | None:
    match = re.match(rf"\s*({'|'.join(_COMMANDS)}):\s*(\S.*)", text, re.DOTALL | re.IGNORECASE)
    if not match:
        return None
    command, argument = match[1].upper(), match[2].strip()
    arguments = {"statement" if command == "EXECUTE" else "query": argument}
    if command == "CHART":
        kind = re.match(rf"({_KINDS})\b\s*(.*)", argument, re.DOTALL | re.IGNORECASE)
        arguments = {"query": kind[2], "kind": kind[1].lower()} if kind else arguments | {"kind": "bar"}
    return _call(_COMMANDS[command], arguments)


def _call(name: str, arguments: Mapping[str, str]) -> ToolCall:
    return ToolCall(name=name, args=dict(arguments), id="call", type="tool_call")


def _call_of(result: ToolMessage, messages: Sequence[BaseMessage]) -> ToolCall | None:
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                if call["id"] == result.tool_call_id:
                    return call
    return None


def _recollection(messages: Sequence[BaseMessage]) -> str:
    """Return the last of the earlier questions as a list, or an empty string."""
    *earlier, _ = [message.text.strip() for message in messages if isinstance(message, HumanMessage)]
    earlier = _earlier_questions(messages[0].text) + [tour.own_words(each) for each in earlier]
    return texts.offline_earlier("\n".join(f"- {_quote(each)}" for each in earlier[-3:])) if earlier else ""


def _earlier_questions(system: str) -> list[str]:
    """Return the questions in the running summary that `_summary` wrote."""
    return re.findall(rf"^{SIGN}asked: (.+)$", system, re.MULTILINE)


def _summary(transcript: str) -> str:
    questions = re.findall(r"^(?:human|Earlier summary: asked|asked): (.+)$", transcript, re.MULTILINE)
    return "\n".join(f"asked: {question[:150]}" for question in questions[-12:])


def _quote(text: str) -> str:
    return f"“{one_line(text, 120)}”"
