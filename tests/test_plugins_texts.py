"""Names, descriptions, schemas and results of foreign tools, made fit for the model."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.text import find_padding, one_line, visible
from bot.tools.plugins.builder import limit_text
from bot.tools.plugins.schemas import Unusable, usable
from bot.tools.plugins.tool import public_name
from tests.servers.model import schema_refusal

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "anyOf", "$ref", "$defs", "required", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.text(), st.text())
def test_names_are_what_openai_takes_and_never_the_same(one: str, other: str) -> None:
    """Whatever a server calls its tools."""
    names = {public_name("shop", one), public_name("shop", other), public_name("shop-2", one)}
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in names)
    assert len(names) == (2 if one == other else 3)


@given(st.dictionaries(st.sampled_from(["type", "properties", "anyOf", "required", "$ref"]), json_values))
def test_a_schema_is_usable_or_refused_with_words(schema: dict[str, Any]) -> None:
    """No other error, and what comes out is what OpenAI takes."""
    try:
        made = usable(schema)
    except Unusable:
        return
    assert schema_refusal(made) is None
    assert json.dumps(made, allow_nan=False, ensure_ascii=False).encode()


def test_a_description_beside_a_reference_is_kept() -> None:
    """It describes this argument, what is referred to describes the type."""
    day = {"type": "string", "description": "A day.", "format": "date"}
    due = {"$ref": "#/$defs/Day", "description": "The last day to pay."}
    made = usable({"properties": {"due": due, "other": {"$ref": "#/$defs/Day"}}, "$defs": {"Day": day}})
    assert made["properties"] == {"due": day | {"description": "The last day to pay."}, "other": day}


def test_references_are_put_in_place_without_growing_without_end() -> None:
    """One to itself becomes anything; a tree of them that would fill the memory is refused."""
    itself = {"properties": {"c": {"$ref": "#/$defs/T"}}}
    tree = {"properties": {"child": {"$ref": "#/$defs/T"}}, "$defs": {"T": itself}}
    assert usable(tree) == {"type": "object", "properties": {"child": {"properties": {"c": {}}}}}
    doubled = {
        f"T{level}": {"properties": {key: {"$ref": f"#/$defs/T{level + 1}"} for key in "ab"}}
        for level in range(9)
    } | {"T9": {"type": "string"}}
    bomb = {"properties": {"x": {"$ref": "#/$defs/T0"}}, "$defs": doubled}
    with pytest.raises(Unusable, match="too large"):
        usable(bomb)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("text", "not a JSON schema"),
        ({"type": "string"}, "not an object"),
        ({"anyOf": [{"type": "object"}]}, "a choice of forms"),
        ({"properties": {"a": {"$ref": "https://h/s.json"}}}, "another document"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "a missing definition"),
        ({"properties": {"a" * 65: {}}}, "an argument's name"),
        ({"properties": {"a": {"enum": ["x" * 20_000]}}}, "the description of its arguments is too long"),
        ({"properties": {"a": {"default": float("inf")}}}, "NaN, infinity"),
        ({"properties": {"a": {"minimum": float("nan")}}}, "NaN, infinity"),
        ({"properties": {"a": {"enum": ["\ud83d"]}}}, "half a character"),
    ],
)
def test_what_cannot_be_mended_is_left_out_with_a_reason(schema: Any, why: str) -> None:
    """The sentence is for the operator."""
    with pytest.raises(Unusable, match=why):
        usable(schema)


def test_what_openai_refuses_is_mended() -> None:
    """No type, no properties, a choice beside them, a list of nothing, required and not there."""
    assert usable(None) == usable({}) == {"type": "object", "properties": {}}
    made = usable({"properties": {"l": {"type": "array"}}, "oneOf": [{}], "required": ["m"], "$schema": "x"})
    assert made == {"type": "object", "properties": {"l": {"type": "array", "items": {}}}}


def test_texts_lose_what_cannot_be_seen_and_what_is_too_much() -> None:
    """Controls, marks of direction, halves of characters."""
    assert visible("a\u202eb\u200bc\x07", 10) == "a b c"
    assert visible("abcdef", 4) == "abc…"
    assert one_line(visible("a\nb", 10)) == "a b"
    assert limit_text("a\0\ud800b", 10) == "a \ufffdb"
    assert limit_text("abcdef", 4) == "abcd\n[cut here: 2 more characters; ask for less]"


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        ("id = 17" + " " * 1_300 + "or true", "1300 blanks in a row"),
        ("id = 17\t" * 2 + "\t" * 60 + "or true", "61 blanks in a row"),
        ("id = 17\n\n \n\t\nor true", "more than 2 empty lines in a row"),
        ("{\n" + " " * 40 + '"a": 1\n\n\n}', ""),
        ("", ""),
    ],
)
def test_blanks_that_push_the_end_out_of_sight_are_found(text: str, hides: str) -> None:
    """A person who is to approve something would take it to end before them; indentation is none."""
    assert find_padding(text) == hides
