"""Argument schemas of foreign tools in the form that OpenAI accepts. Pure.

Schemas are untrusted and bounded. References are resolved here, because LangChain resolves them without a
limit: a few hundred bytes of nested references would become gigabytes.
"""

import json
from typing import Any

from bot.chat import Json
from bot.chat.text import visible

_MOST_CHARS = 10_000
_MOST_NODES = 2_000
_MOST_DEPTH = 20
_MOST_WORDS = 500
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LEFT_OUT = frozenset({"$schema", "$id", "$defs", "definitions", "$comment"})
_ANNOTATIONS = ("title", "description", "default")
_COMBINATIONS = ("anyOf", "oneOf", "allOf", "not", "enum")
"""Keywords that OpenAI refuses at the top level; dropped, because the tool itself checks its arguments."""


class Unusable(Exception):
    """Tool that cannot be offered to the model; `str()` says why."""


def usable(schema: Json) -> dict[str, Json]:
    """Return the schema as that of an object with properties. Raises `Unusable`."""
    if schema is None:
        schema = {}
    if not isinstance(schema, dict):
        raise Unusable("its arguments are not a JSON schema")
    top = _Copy(schema).of(schema, 0, ())
    top = {key: value for key, value in top.items() if key not in _COMBINATIONS} if top else {}
    if schema.get("type", "object") not in ("object", ["object"], ["object", "null"]):
        raise Unusable("its arguments are not an object")
    top["type"] = "object"
    if not isinstance(top.get("properties"), dict):
        if any(key in schema for key in _COMBINATIONS):
            raise Unusable("its arguments are a choice of forms")
        top["properties"] = {}
    required = top.get("required")
    if not isinstance(required, list) or not all(
        isinstance(each, str) and each in top["properties"] for each in required
    ):
        top.pop("required", None)
    try:
        written = json.dumps(top, ensure_ascii=False, allow_nan=False)
        written.encode()
    except ValueError as error:  # no request could contain it
        raise Unusable("its arguments contain NaN, infinity or half a character") from error
    if len(written) > _MOST_CHARS:
        raise Unusable("the description of its arguments is too long")
    return top


class _Copy:
    """Bounded copy of a schema, with plain texts and without references."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._nodes = 0

    def of(self, node: Any, depth: int, within: tuple[str, ...]) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _MOST_DEPTH:
            raise Unusable("its arguments are too large or too deeply nested")
        if isinstance(node, list):
            return [self.of(each, depth + 1, within) for each in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            beside = {key: value for key, value in node.items() if key != "$ref"}
            if reference in within:
                found: Any = {}  # a recursive reference: anything is allowed, as in LangChain
            else:
                found = self.of(self._found(reference), depth + 1, (*within, reference))
            # keywords beside a reference describe this one place (JSON Schema 2020-12, 8.2.3.1)
            extra = self._object(beside, depth, within)
            return extra | found | {key: extra[key] for key in _ANNOTATIONS if key in extra}
        return self._object(node, depth, within)

    def _object(self, node: dict[str, Json], depth: int, within: tuple[str, ...]) -> dict[str, Json]:
        copy: dict[str, Json] = {}
        for key, value in node.items():
            if key in _LEFT_OUT:
                continue
            if key in _MAPS and isinstance(value, dict):
                copy[key] = {
                    _usable_key(name): self.of(each, depth + 2, within) for name, each in value.items()
                }
            elif key in ("description", "title"):
                copy[key] = visible(str(value), _MOST_WORDS)
            else:
                copy[key] = self.of(value, depth + 1, within)
        if copy.get("type") == "array":
            copy.setdefault("items", {})  # OpenAI refuses arrays without items
        return copy

    def _found(self, reference: str) -> Json:
        found: Any = self._root
        if not reference.startswith("#"):
            raise Unusable("its arguments refer to another document")
        for step in reference[1:].split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise Unusable("its arguments refer to a missing definition")
        return found


def _usable_key(name: str) -> str:
    if not name.isprintable() or not 0 < len(name) <= 64:
        raise Unusable("an argument's name is too long or cannot be read")
    return name
