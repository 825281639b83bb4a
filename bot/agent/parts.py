"""Conversion of LangChain messages to the parts of an answer. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool

from bot.agent import texts
from bot.chat import Artifact, Part, Table, Text, ToolStep
from bot.chat.text import one_line
from bot.tools.artifacts import artifacts_of, in_order

Titles = Mapping[str, str]
"""Titles by the names of tools, shown to users while a tool runs. Other tools are shown by their names."""

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
    return {tool.name: tool.metadata["title"] for tool in tools if tool.metadata and "title" in tool.metadata}


def started_step(call: ToolCall, titles: Titles) -> ToolStep:
    """Return the step that shows a tool call as started."""
    return ToolStep(id=call["id"] or "", name=call["name"], state="started", title=_title(call, titles))


def ended_step(call: ToolCall, result: ToolMessage, titles: Titles) -> ToolStep:
    """Return the step that shows a tool call with its result."""
    lines = _lines(result.text)
    return ToolStep(
        id=call["id"] or "",
        name=call["name"],
        state=_STATES[result.status],
        title=_title(call, titles),
        output=_outcome(lines),
        rows=_row_count(lines) if _is_table(lines) else _shown_rows(result),
    )


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
    title = titles.get(call["name"]) or _plugin_title(call["name"])
    detail = next((str(value) for value in call["args"].values() if value), "")
    return f"{title}: {one_line(detail, _MAX_TITLE)}" if detail else title


def _plugin_title(name: str) -> str:
    """Return a title made of a tool's name: `github__create_issue` becomes "Create issue (github)"."""
    plugin, _, tool = name.rpartition("__")
    title = tool.replace("_", " ").capitalize()
    return f"{title} ({plugin})" if plugin else title


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_table(lines: Sequence[str]) -> bool:
    return len(lines) > 1 and lines[0].startswith("|") and set(lines[1]) <= set("|-: ")


def _row_count(lines: Sequence[str]) -> int:
    return sum(line.startswith("|") for line in lines) - 2


def _shown_rows(result: ToolMessage) -> int:
    return sum(len(part.rows) for part in artifacts_of(result) if isinstance(part, Table))


def _outcome(lines: Sequence[str]) -> str:
    """Return a result in one line for the user: the size of a table, else the first line.

    The lines after the first may hold instructions to the model, which are never shown.
    """
    return _table_size(lines) if _is_table(lines) else one_line(lines[0] if lines else "", _MAX_TITLE)


def readable(result: ToolMessage, text: str) -> str:
    """Return what a user can read of a result's text: of an error or a file only the first line."""
    is_for_model = result.status == "error" or artifacts_of(result)
    return text.split("\n", 1)[0] if is_for_model else text


def _table_size(lines: Sequence[str]) -> str:
    """Return the rows and columns of a Markdown table that `bot.tools.sql.format` wrote."""
    rows = _row_count(lines)
    columns = lines[0].replace("\\|", "").count("|") - 1
    is_cut = "there are more" in lines[-1] and not lines[-1].startswith("|")
    return texts.table_size(rows, columns, is_cut=is_cut)
