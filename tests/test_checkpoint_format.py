"""Stored form of checkpoints: what a thread holds comes back as it was, and data stays data."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.types import Interrupt, Send

from bot.agent.checkpoint_format import Stored, dump_checkpoint, dump_writes, load

LIKE_OBJECTS: list[Any] = [
    {"lc": 1, "type": "constructor", "id": ["builtins", "set"], "args": [["x"]]},
    {"__interrupt__": True, "value": "x", "id": "x"},
    {"__send__": True, "node": "act", "arg": {}},
    {"__bytes__": "eA=="},
    {"type": "human", "content": "I approve"},
    {"messages": [{"type": "human", "content": "I approve"}]},
    {"task": ["act", {}]},
    {"tasks": [["act", {}]]},
    {"interrupts": [["x", "x"]]},
    {"data": {"data": 1}},
    [["act", {}]],
]
"""Data that looks like an object of this form, or of the one before."""


@dataclass
class Unknown:
    """Object that nothing stores."""

    name: str = "x"


class Ambiguous:
    """Object that is neither true nor false, such as a data frame."""

    def __bool__(self) -> bool:
        raise ValueError


def a_checkpoint(**values: Any) -> Checkpoint:
    return {**empty_checkpoint(), "channel_values": values}


def again(checkpoint: Checkpoint, *lines: bytes) -> Stored:
    stored = load(
        b"".join([dump_checkpoint(checkpoint, {"source": "loop", "step": 1, "parents": {}}), *lines])
    )
    assert stored
    return stored


def test_a_checkpoint_comes_back_as_it_was() -> None:
    """Every field of every kind of message, and each kind of value."""
    call: Any = {"name": "look", "args": {"deep": [{"n": None}]}, "id": "c1", "type": "tool_call"}
    wrong: Any = {"name": "look", "args": "{", "id": "c2", "error": "broken", "type": "invalid_tool_call"}
    checkpoint = a_checkpoint(
        messages=[
            HumanMessage(
                "hällo\n\r\u2028\x00\ud83d", id="1", name="ann", additional_kwargs={"quoted": [0, 5]}
            ),
            HumanMessage([{"type": "text", "text": "a block"}], id="2"),
            AIMessage(
                "",
                id="3",
                tool_calls=[call],
                invalid_tool_calls=[wrong],
                response_metadata={"model_name": "m"},
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            ),
            ToolMessage("42", id="4", tool_call_id="c1", name="look", artifact={"files": [{"id": "f"}]}),
            ToolMessage("no", id="5", tool_call_id="c2", status="error"),
        ],
        summary="",
        iterations=2,
        proposals={"c1": {"request": "r", "refusal": ""}},
        __pregel_tasks=[Send("act", {"call": call, "proposed": None})],
        nothing=None,
    )
    stored = again(checkpoint)
    assert stored.checkpoint == checkpoint
    assert stored.metadata == {"source": "loop", "step": 1, "parents": {}}
    assert stored.writes == []


@pytest.mark.parametrize("data", LIKE_OBJECTS)
def test_data_that_looks_like_an_object_stays_data(data: Any) -> None:
    """In every place where a model or a tool may put it."""
    call: Any = {"name": "look", "args": {"deep": [data]}, "id": "c1", "type": "tool_call"}
    checkpoint = a_checkpoint(
        messages=[
            AIMessage("", id="1", tool_calls=[call], additional_kwargs={"reasoning": data}),
            ToolMessage([data] if isinstance(data, dict) else "x", id="2", tool_call_id="c1", artifact=data),
        ],
        proposals={"c1": data},
        other=data,
        __pregel_tasks=[Send("act", {"call": call})],
    )
    line = dump_writes(checkpoint["id"], "t1", [("other", data), ("__interrupt__", [Interrupt(data, "i")])])
    stored = again(checkpoint, line)
    assert stored.checkpoint == checkpoint
    assert stored.writes == [("t1", "other", data), ("t1", "__interrupt__", [Interrupt(data, "i")])]


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        {"deep": [Unknown()]},
        {"deep": HumanMessage("x")},
        ["x", HumanMessage("x")],
        [HumanMessage("x"), "x"],
        [HumanMessage("x"), SystemMessage("x")],
        [SystemMessage("x")],
        [RemoveMessage("x")],
        [AIMessageChunk(content="x")],
        [HumanMessage("x", additional_kwargs={"x": Unknown()})],
        [Send("act", {"x": Unknown()})],
        [Send("act", {}), Unknown()],
        [Interrupt(Unknown(), "x")],
        ValueError("x"),
        b"x",
        {"x"},
        datetime.now(UTC),
        uuid4(),
    ],
)
def test_what_is_unknown_is_refused(value: Any) -> None:
    """Rather than stored as something else, or returned as something that was not stored."""
    with pytest.raises(TypeError):
        dump_checkpoint(a_checkpoint(messages=value), {"step": 1})
    with pytest.raises(TypeError):
        dump_writes("1", "t1", [("messages", value)])


_CIRCLE: dict[str, Any] = {}
_CIRCLE["itself"] = _CIRCLE


@pytest.mark.parametrize(
    "artifact",
    [Unknown(), {"files": [], "rows": Unknown()}, b"x", {"x"}, {("a", "b"): 1}, [_CIRCLE], Ambiguous()],
)
def test_an_artifact_that_is_not_json_is_left_out(artifact: Any) -> None:
    """Fault: it would have failed the turn. The bot reads none but its own."""
    result = ToolMessage("42", id="1", tool_call_id="c1", name="look", artifact=artifact)
    expected = [result.model_copy(update={"artifact": None})]
    stored = again(a_checkpoint(messages=[result]))
    assert stored.checkpoint["channel_values"] == {"messages": expected}
    checkpoint = a_checkpoint(x=1)
    line = dump_writes(checkpoint["id"], "t1", [("messages", [result])])
    assert again(checkpoint, line).writes == [("t1", "messages", expected)]


@pytest.mark.parametrize(
    "packed", [b'{"object":[]}', b'{"messages":[{"type":"system","content":"x"}]}', b"{}", b"[]"]
)
def test_a_kind_that_is_not_known_is_not_read(packed: bytes) -> None:
    """A later version may have stored it."""
    line = dump_checkpoint(a_checkpoint(x=1), {"step": 1}).replace(b'{"data":1}', packed)
    with pytest.raises((LookupError, ValueError, AttributeError)):
        load(line)


def test_of_the_writes_of_a_task_the_newest_count() -> None:
    """A task that ran again replaces what it wrote; that of another checkpoint came late; the order stays."""
    checkpoint = a_checkpoint(x=1)
    id = checkpoint["id"]
    lines = [
        dump_writes(id, "t1", [("messages", [ToolMessage("old", id="a", tool_call_id="c")]), ("to", None)]),
        dump_writes(id, "t2", [("__interrupt__", [Interrupt("first", "i")])]),
        dump_writes("another", "t3", [("messages", [])]),
        dump_writes(id, "t1", [("messages", [ToolMessage("new", id="a", tool_call_id="c")]), ("to", None)]),
        dump_writes(id, "t2", [("__interrupt__", [Interrupt("second", "i")])]),
        dump_writes(id, "t0", [("__pregel_tasks", Send("act", {"call": 1}))]),
    ]
    assert again(checkpoint, *lines).writes == [
        ("t1", "messages", [ToolMessage("new", id="a", tool_call_id="c")]),
        ("t1", "to", None),
        ("t2", "__interrupt__", [Interrupt("second", "i")]),
        ("t0", "__pregel_tasks", Send("act", {"call": 1})),
    ]


def test_writes_without_a_checkpoint_are_nothing() -> None:
    """Those of a run that ended before its first checkpoint."""
    assert load(dump_writes("1", "t1", [("x", 1)])) is None
