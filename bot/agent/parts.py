"""Conversion of LangChain messages to the parts of an answer. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool

from bot.agent import texts
from bot.chat import Artifact, Part, Text, ToolStep
from bot.chat.text import one_line
from bot.tools.artifacts import artifacts_of, in_order, size_of

Titles = Mapping[str, Mapping[str, str]]
"""Metadata by the names of tools: `title` and `activity`. Other tools are shown by their names."""

_SECONDS = "seconds"
"""Key of a result's `additional_kwargs` with the time that its tool has taken."""

_LONGEST = 10**9
"""Seconds; a longer time is not one that was measured."""

_MAX_TITLE = 120

_STATES: dict[str, Literal["finished", "failed"]] = {"success": "finished", "error": "failed"}

PARAGRAPH = "\n\n"
"""Separator between the model's text before a tool call and its text after it."""


def new_paragraph(emit: Callable[[Part], None]) -> Callable[[Part], None]:
    """Return `emit` with a paragraph break before the first text."""
    is_first = True

    def emit_apart(part: Part) -> None:
        nonlocal is_first
        if is_first and isinstance(part, Text):
            is_first = False
            part = Text(PARAGRAPH + part.text)
        emit(part)

    return emit_apart


def has_spoken(messages: Sequence[AnyMessage]) -> bool:
    """Return True if the model has written text since the last human message."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return False
        if isinstance(message, AIMessage) and message.text:
            return True
    return False


def titles_of(tools: Iterable[BaseTool]) -> Titles:
    """Return the titles of tools, by name; those of plug-ins have none."""
    return {tool.name: tool.metadata for tool in tools if tool.metadata and "title" in tool.metadata}


def started_step(call: ToolCall, titles: Titles) -> ToolStep:
    """Return the step that shows a tool call as started."""
    return ToolStep(
        id=call["id"] or "",
        name=call["name"],
        state="started",
        title=_title(call, titles),
        activity=titles.get(call["name"], {}).get("activity") or texts.using(_plugin_title(call["name"])),
    )


def ended_step(call: ToolCall, result: ToolMessage, titles: Titles) -> ToolStep:
    """Return the step that shows a tool call with its result."""
    size = size_of(result) if result.status == "success" else None
    return replace(
        started_step(call, titles),
        state=_STATES[result.status],
        output=texts.table_size(size.rows, size.columns, is_cut=size.is_cut)
        if size
        else _first_line(result.text),
        rows=size.rows if size else None,
        seconds=_seconds_of(result),
    )


def finished_result(call: ToolCall, result: ToolMessage, seconds: float) -> ToolMessage:
    """Return a result as the checkpoint holds it, with the time that the tool has taken.

    A repeated attempt shows the same time. The id is predictable, so that a rerun recognises a result that is
    stored already.
    """
    more = {**result.additional_kwargs, _SECONDS: seconds}
    return result.model_copy(update={"id": result_id(call), "additional_kwargs": more})


def _seconds_of(result: ToolMessage) -> float | None:
    """Return the time that the tool has taken; an earlier version has stored none."""
    seconds = result.additional_kwargs.get(_SECONDS)
    return seconds if isinstance(seconds, int | float) and 0 <= seconds < _LONGEST else None


def result_id(call: ToolCall) -> str:
    """Return the id of the message that holds the call's result."""
    return f"result_{call['id']}"


def replay(
    messages: Sequence[AnyMessage], titles: Titles, guarded_tools: Collection[str] = ()
) -> Iterator[Part]:
    """Yield the parts that these messages were shown as.

    Calls of `guarded_tools` start when they are decided, all others at once. Tables and files of a round that
    has not ended come with its end.
    """
    calls: dict[str, ToolCall] = {}
    running: set[str] = set()
    shown: list[Artifact] = []
    has_spoken = False
    for message in messages:
        if isinstance(message, AIMessage):
            yield from in_order(shown)
            shown, running = [], {call["id"] or "" for call in message.tool_calls}
            if message.text:
                yield Text(PARAGRAPH + message.text if has_spoken else message.text)
                has_spoken = True
            for call in message.tool_calls:
                calls[call["id"] or ""] = call
                if call["name"] not in guarded_tools:
                    yield started_step(call, titles)
        elif isinstance(message, ToolMessage) and message.tool_call_id in calls:
            call = calls[message.tool_call_id]
            if call["name"] in guarded_tools:
                yield started_step(call, titles)
            yield ended_step(call, message, titles)
            shown += artifacts_of(message)
            running.discard(call["id"] or "")
            if not running:
                yield from in_order(shown)
                shown = []


def _title(call: ToolCall, titles: Titles) -> str:
    title = titles.get(call["name"], {}).get("title") or _plugin_title(call["name"])
    detail = next((str(value) for value in call["args"].values() if value), "")
    return f"{title}: {one_line(detail, _MAX_TITLE)}" if detail else title


def _plugin_title(name: str) -> str:
    """Return a title made of a tool's name: `github__create_issue` becomes "Create issue (github)"."""
    plugin, _, tool = name.rpartition("__")
    title = tool.replace("_", " ").capitalize()
    return f"{title} ({plugin})" if plugin else title


def _first_line(text: str) -> str:
    """Return the first line of a result; those after it may hold instructions to the model.

    The head of a table says nothing: a tool of an earlier version has not reported the number of its rows.
    """
    line = next((each for each in map(str.strip, text.splitlines()) if each), "")
    return "" if line.startswith("|") else one_line(line, _MAX_TITLE)


def readable(result: ToolMessage, text: str) -> str:
    """Return what a user can read of a result's text: of an error or a file only the first line."""
    is_for_model = result.status == "error" or artifacts_of(result)
    return text.split("\n", 1)[0] if is_for_model else text
