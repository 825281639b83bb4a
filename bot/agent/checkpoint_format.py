"""Stored form of a thread's memory: lines of JSON in which objects have known places and known types.

The first line is the checkpoint; each further line has the writes of one task that belong to it. Everything
else is data and is never interpreted, whatever keys it has: arguments of tool calls come from a model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    PendingWrite,
)
from langgraph.types import Interrupt, Send

from bot.agent.authors import AUTHOR
from bot.chat import Json

_EVERY: Mapping[str, type[Any]] = {
    "content": str,
    "id": NoneType,
    "name": NoneType,
    "additional_kwargs": dict,
    "response_metadata": dict,
}
_FIELDS: Mapping[type[Any], Mapping[str, type[Any]]] = {
    HumanMessage: _EVERY,
    AIMessage: {**_EVERY, "tool_calls": list, "invalid_tool_calls": list, "usage_metadata": NoneType},
    ToolMessage: {**_EVERY, "tool_call_id": str, "status": str, "artifact": NoneType},
}
"""Stored fields of each type of message, with the type of the value that a field has if it is empty."""

_TYPES: Mapping[str, type[AnyMessage]] = {"human": HumanMessage, "ai": AIMessage, "tool": ToolMessage}

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Stored:
    """Checkpoint with the writes of those of its tasks that have ended.

    `authors_at` is the time when the thread's authors were stored last (Unix seconds, 0: not known).
    """

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    writes: list[PendingWrite]
    authors_at: int

    @property
    def authors(self) -> frozenset[str]:
        """Return the digests of the authors of its messages."""
        messages = self.checkpoint["channel_values"].get("messages", ())
        return frozenset(filter(None, (each.additional_kwargs.get(AUTHOR) for each in messages)))


def dump_checkpoint(checkpoint: Checkpoint, metadata: CheckpointMetadata, authors_at: int = 0) -> bytes:
    """Return the line of a checkpoint. Raises `TypeError` for a value of an unknown type."""
    values = {channel: _packed(value) for channel, value in checkpoint["channel_values"].items()}
    stored = {"checkpoint": {**checkpoint, "channel_values": values}, "metadata": metadata}
    return _line({**stored, "authors_at": authors_at} if authors_at else stored)


def dump_writes(checkpoint_id: str, task_id: str, writes: Sequence[tuple[str, Any]]) -> bytes:
    """Return the line of a task's writes. Raises `TypeError` for a value of an unknown type."""
    packed = [(channel, _packed(value)) for channel, value in writes]
    return _line({"of": checkpoint_id, "task": task_id, "writes": packed})


def load(stored: bytes) -> Stored | None:
    """Return what the lines hold, or None if there is no checkpoint."""
    first, *others = (json.loads(line) for line in stored.splitlines())
    if "checkpoint" not in first:
        return None
    checkpoint: Checkpoint = first["checkpoint"]
    values = checkpoint["channel_values"]
    checkpoint["channel_values"] = {channel: _unpacked(value) for channel, value in values.items()}
    # a task may have run twice, or have ended late, after the next checkpoint was written
    newest: dict[tuple[str, int], PendingWrite] = {}
    for each in others:
        if each["of"] == checkpoint["id"]:
            for place, (channel, value) in enumerate(each["writes"]):
                index = WRITES_IDX_MAP.get(channel, place)
                newest[each["task"], index] = (each["task"], channel, _unpacked(value))
    return Stored(checkpoint, first["metadata"], list(newest.values()), first.get("authors_at", 0))


def _line(content: Json) -> bytes:
    return _ENCODER.encode(content).encode("utf-8", "surrogatepass") + b"\n"


def _packed(value: Any) -> Json:
    """Return a value of a channel under the name of its kind."""
    match value:
        case [first, *_] if type(first) in _FIELDS:
            return {"messages": [_packed_message(each) for each in value]}
        case [Send(), *_]:
            return {"tasks": [_packed_task(each) for each in value]}
        case Send():
            return {"task": _packed_task(value)}
        case [Interrupt(), *_]:
            return {"interrupts": [(each.value, each.id) for each in value]}
        case _:
            return {"data": value}


def _unpacked(packed: Json) -> Any:
    ((kind, content),) = packed.items()
    match kind:
        case "messages":
            return [_unpacked_message(each) for each in content]
        case "tasks":
            return [Send(node, argument) for node, argument in content]
        case "task":
            return Send(*content)
        case "interrupts":
            return [Interrupt(value, id) for value, id in content]
        case "data":
            return content
    raise LookupError(kind)


def _packed_message(message: Any) -> Json:
    fields = _FIELDS.get(type(message))
    if fields is None:
        raise TypeError(f"a thread cannot hold {type(message).__name__}")
    values = vars(message)
    if not _is_json(values.get("artifact")):  # whatever a tool returns; the bot reads only its own artifacts
        values = {**values, "artifact": None}
    return {"type": message.type, **{name: values[name] for name in fields if values[name]}}


def _is_json(value: Any) -> bool:
    if value is None:
        return True
    try:
        _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _unpacked_message(packed: Json) -> AnyMessage:
    """Return a message without validating it again: it was valid when it was stored.

    All fields are passed: for each other one, pydantic inspects the signature of its default factory.
    """
    kind = _TYPES[packed["type"]]
    fields = _FIELDS[kind].items()
    values = {name: packed[name] if name in packed else empty() for name, empty in fields}
    return kind.model_construct(type=packed["type"], **values)


def _packed_task(task: Any) -> Json:
    if not isinstance(task, Send):
        raise TypeError(f"{type(task).__name__} is not a task")
    return task.node, task.arg
