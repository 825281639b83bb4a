"""Stored form of a thread's memory: lines of JSON in which objects have known places and known types.

The first line is the checkpoint; each further line has the writes of one task that belong to it. Everything
else is data and is never interpreted, whatever keys it has: arguments of tool calls come from a model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    PendingWrite,
)
from langgraph.types import Interrupt, Send

from bot.chat import Json

_EVERY = ("content", "id", "name", "additional_kwargs", "response_metadata")
_MESSAGES: Mapping[str, tuple[type[AnyMessage], Sequence[str]]] = {
    "human": (HumanMessage, _EVERY),
    "ai": (AIMessage, (*_EVERY, "tool_calls", "invalid_tool_calls", "usage_metadata")),
    "tool": (ToolMessage, (*_EVERY, "tool_call_id", "status", "artifact")),
}
"""Types of messages that a thread can hold, by `BaseMessage.type`, with their stored fields."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Stored:
    """Checkpoint with the writes of those of its tasks that have ended."""

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    writes: list[PendingWrite]


def dump_checkpoint(checkpoint: Checkpoint, metadata: CheckpointMetadata) -> bytes:
    """Return the line of a checkpoint. Raises `TypeError` for a value of an unknown type."""
    values = {channel: _packed(value) for channel, value in checkpoint["channel_values"].items()}
    return _line({"checkpoint": {**checkpoint, "channel_values": values}, "metadata": metadata})


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
    return Stored(checkpoint, first["metadata"], list(newest.values()))


def _line(content: Json) -> bytes:
    return _ENCODER.encode(content).encode("utf-8", "surrogatepass") + b"\n"


def _packed(value: Any) -> Json:
    """Return a value of a channel under the name of its kind."""
    match value:
        case [BaseMessage(), *_]:
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
    if not isinstance(message, BaseMessage) or message.type not in _MESSAGES:
        raise TypeError(f"a thread cannot hold {type(message).__name__}")
    _, fields = _MESSAGES[message.type]
    filled = {name: value for name in fields if (value := getattr(message, name))}
    return {"type": message.type, **filled}


def _unpacked_message(packed: Json) -> AnyMessage:
    """Return a message without validating it again: it was valid when it was stored."""
    kind, fields = _MESSAGES[packed["type"]]
    stored = {name: packed[name] for name in fields if name in packed}
    return kind.model_construct(**{"content": "", **stored})


def _packed_task(task: Any) -> Json:
    if not isinstance(task, Send):
        raise TypeError(f"{type(task).__name__} is not a task")
    return task.node, task.arg
