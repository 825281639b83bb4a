"""The parts of the model's reader: however a stream is cut, and whatever is in it, in linear time."""

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.agent.models.arguments import Unreadable, read_arguments
from bot.agent.models.completion import LONGEST_ANSWER, WIRE, Completion
from bot.agent.models.errors import CallFailed, of_error, of_status
from bot.agent.models.openai_service import wire_id
from bot.agent.models.reasoning import ReasoningParser
from bot.agent.models.sse import (
    LONGEST_EVENT,
    Event,
    EventReader,
    TooLong,
)
from bot.agent.models.tool_calls import MOST_CALLS, CallPieces
from bot.chat import Text, Tokens

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "id index choices delta message content finish_reason tool_calls function name arguments usage error "
    "reasoning_content refusal text type prompt_tokens completion_tokens function_call"
)
fields = st.sampled_from(FIELDS.split())
chunks = st.recursive(
    st.none() | st.integers(-1, 2) | st.sampled_from(["stop", "<think>", "</think>", "x", "{}", "\ud83d"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=20,
)
tagged = st.lists(
    st.sampled_from(["<think>", "</think>", "<thi", "`", "```", "\n", " ", "a", "b <", "[THINK]", "[/THINK]"])
).map("".join)


def events_of(pieces: Iterable[bytes]) -> list[Event]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.finish()]


def cut_at(content: bytes, places: Iterable[int]) -> list[bytes]:
    marks = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[start:end] for start, end in itertools.pairwise(marks)]


@given(
    st.lists(st.sampled_from(["data: {}", "data:x", ": c", "event: e", "", "{", "é", "data: [DONE]"])),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_events_do_not_depend_on_where_the_stream_is_cut(
    lines: list[str], newline: str, places: list[int]
) -> None:
    """Not within a character, nor between the two halves of a line's end."""
    content = "".join(line + newline for line in lines).encode()
    assert events_of(cut_at(content, places)) == events_of([content])


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_stop_the_reader(pieces: list[bytes]) -> None:
    events_of(pieces)


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    reader = EventReader()
    for _ in range(LONGEST_EVENT // 2**16):
        assert not list(reader.feed(b"x" * 2**16))
    with pytest.raises(TooLong):
        list(reader.feed(b"x"))


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    """Each of its lines is short, and no blank line ends it."""
    reader = EventReader()
    line = b"data: " + b"x" * (2**16 - 7) + b"\n"
    for _ in range(LONGEST_EVENT // 2**16):
        assert not list(reader.feed(line))
    with pytest.raises(TooLong):
        list(reader.feed(line + line))


def test_what_a_service_wants_back_is_not_kept_for_ever() -> None:
    """Fields of a call, each under another name; small ones that are repeated in each piece stay."""
    pieces = CallPieces()
    for number in range(300):
        function = {"name": f"tool_{number % 2}", "arguments": ""}
        large = {f"field_{number}": "x" * 1_000} if number % 2 else {"signature": "x" * 1_000}
        pieces.feed({"index": number % 2, "id": str(number % 2), "function": function, **large})
    assert not pieces._calls[1].extras
    found = pieces.finish()
    repeated, many = (str(call["id"]) for call in found.calls)
    assert found.extras[repeated] == {"signature": "x" * 1_000}
    assert many not in found.extras


def test_a_refusal_in_parts_is_not_kept_for_ever() -> None:
    completion = Completion()
    delta = {"content": [{"type": "refusal", "refusal": "x" * 1_000}]}
    for _ in range(1_000):
        completion.feed_chunk({"choices": [{"delta": delta}]})
    assert len(completion._refusal) <= LONGEST_ANSWER // 1_000 + 1


def test_no_nesting_is_an_error_of_ours() -> None:
    """Also a chunk that can just be read, and not be written again; nor is it stored with the message."""
    for depth in range(850, 1_000):
        nest = "[" * depth + "]" * depth
        call = f'{{"index": 0, "more": {nest}, "function": {{"name": "x", "arguments": {{"a": {nest}}}}}}}'
        for chunk in (
            f'{{"error": {{"message": {nest}}}}}',
            f'{{"detail": {nest}}}',
            nest,
            f'{{"choices": [{{"delta": {{"reasoning_details": [{nest}], "tool_calls": [{call}]}}}}]}}',
            f'{{"choices": [{{"delta": {{"content": [{{"type": "thinking", "thinking": {nest}}}]}}}}]}}',
        ):
            assert of_status(400, {}, chunk).sentence
            for name in ("", "error"):
                completion = Completion()
                with contextlib.suppress(CallFailed):
                    completion.feed(Event(chunk, name))
                    completion.feed(Event('{"choices": [{"finish_reason": "stop"}]}'))
                    assert WIRE not in completion.message("m", "act").additional_kwargs


@given(st.lists(chunks, max_size=6))
def test_no_chunk_stops_the_answer(values: list[Any]) -> None:
    """Whatever JSON comes, there is a message or a failure of the service, and never a defect of ours."""
    completion = Completion()
    with contextlib.suppress(CallFailed):
        for value in values:
            completion.feed(Event(json.dumps(value)))
        completion.finish()
        message = completion.message("m", "act")
        message.text.encode()
        json.dumps(message.tool_calls, allow_nan=False).encode()
    completion.usage(Tokens(1, 1))


def visible_text(text: str, places: Iterable[int], *, held: bool = False) -> str:
    thinking = ReasoningParser(hold=held)
    marks = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    words = ""
    for start, end in itertools.pairwise(marks):
        piece = thinking.feed(text[start:end])
        words = piece if thinking.is_retracted else words + piece
        thinking.is_retracted = False
    return words + thinking.finish()


@given(tagged, st.lists(st.integers(0, 200), max_size=12), st.booleans())
def test_thinking_does_not_depend_on_where_it_is_cut(text: str, places: list[int], held: bool) -> None:
    assert visible_text(text, places, held=held) == visible_text(text, [], held=held)


@given(st.text(), st.lists(st.integers(0, 200), max_size=12))
def test_words_without_tags_are_said_as_they_are(text: str, places: list[int]) -> None:
    if not any(sign in text for sign in "<["):
        assert visible_text(text, places) == text


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_arguments_that_are_right_are_read_as_they_are(arguments: dict[str, Any]) -> None:
    """Nothing is repaired in what needs no repair."""
    try:
        text = json.dumps(arguments, allow_nan=False)
        expected = json.loads(text.encode("utf-8", "strict"))
    except ValueError:
        return
    with contextlib.suppress(Unreadable):  # for a number that no store takes
        assert read_arguments(text) == expected


@given(st.text() | st.lists(st.sampled_from(list('{}[]",:\\ \n1a'))).map("".join))
def test_arguments_are_read_or_told_to_be_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(read_arguments(text), dict)


@given(st.lists(json_values | st.dictionaries(fields, json_values, max_size=5), max_size=30))
def test_any_pieces_become_calls_with_ids_of_nine(pieces: list[Any]) -> None:
    calls = CallPieces()
    for piece in pieces:
        calls.feed(piece)
    found = calls.finish()
    assert len(found.calls) <= MOST_CALLS
    for call in found.calls:
        assert wire_id(call["id"] or "") == call["id"]
        assert 0 < len(call["name"]) <= 64


@given(st.text())
def test_an_id_is_the_same_each_time_it_is_sent(id: str) -> None:
    id = id.encode(errors="replace").decode()
    assert wire_id(id) == wire_id(id)
    assert len(wire_id(id)) == 9
    assert wire_id(wire_id(id)) == wire_id(id)


@given(json_values, st.integers(200, 600))
def test_any_error_has_a_sentence_and_a_status(value: Any, status: int) -> None:
    for failure in (
        of_error(value),
        of_status(status, {}, json.dumps(value)),
        of_status(status, {}, str(value)),
    ):
        assert failure.sentence.endswith(".")
        assert failure.cause.status in (429, 502, 503, 504)


def feed_events(pieces: Iterable[bytes]) -> None:
    events_of(pieces)


def feed_text(pieces: Iterable[str]) -> None:
    thinking = ReasoningParser()
    for piece in pieces:
        thinking.feed(piece)
    thinking.finish()


def feed_calls(pieces: Iterable[str], **more: str) -> None:
    calls = CallPieces()
    for index, piece in enumerate(pieces):
        calls.feed({"index": 0, "id": f"c{index}", "function": {"name": "t", "arguments": piece}, **more})
    calls.finish()


def read(text: str) -> None:
    with contextlib.suppress(Unreadable):
        read_arguments(text)


HOSTILE: dict[str, Callable[[int], None]] = {
    "bytes one by one": lambda size: feed_events([b"x"] * size),
    "data lines that do not end": lambda size: feed_events([b"data: {\n"] * size),
    "carriage returns": lambda size: feed_events([b"\r"] * size),
    "opening tags": lambda size: feed_text(["<think>"] * size),
    "closing tags": lambda size: feed_text(["</think>"] * size),
    "halves of tags": lambda size: feed_text(["<thin"] * size),
    "brackets in one piece": lambda size: feed_text(["<" * size]),
    "backticks": lambda size: feed_text(["`"] * size),
    "a new id for each piece": lambda size: feed_calls(['{"a":'] * size),
    "whole arguments in each piece": lambda size: feed_calls(['{"a": 1}'] * size),
    "quotes without end": lambda size: read('{"' + '\\"' * size + ",}"),
    "commas and blanks": lambda size: read("[" + ", " * size),
    "brackets": lambda size: read("{" * size),
    "encoded twice": lambda size: read(json.dumps("[" * size)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_takes_twice_the_steps_at_most(name: str) -> None:
    """Steps are lines that ran, so that a busy machine changes nothing; what C does is bounded elsewhere."""
    small, large = (steps(HOSTILE[name], size) for size in (1_000, 2_000))
    assert large <= 2.5 * small + 200


def steps(run: Callable[[int], None], size: int) -> int:
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(size)
    finally:
        sys.settrace(before)
    return count


def test_text_comes_as_soon_as_it_can_be_told_from_a_tag() -> None:
    """Nothing is held back that no tag begins with."""
    completion = Completion()
    shown = []
    for word in ("a <", "b", " c"):
        completion.feed_chunk({"choices": [{"delta": {"content": word}}]})
        shown.append(completion.take())
    assert shown == [[Text("a ")], [Text("<b")], [Text(" c")]]
