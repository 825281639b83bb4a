"""Assembly of tool calls from the pieces that model services stream. Pure.

A piece should name its call by `index`. Some services omit it, some use 0 for all (Ollama, Gemini), some
repeat the name or the id in each piece, and some send the arguments as an object.
"""

import json
import re
import secrets
import string
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import ToolCall

from bot.agent.models.arguments import (
    LONGEST,
    Unreadable,
    read_arguments,
    storable,
)
from bot.chat import well_formed

MOST_CALLS = 16
"""Most calls of one answer; a model can make more in its next answer."""

_ID_LENGTH = 9  # Mistral accepts only ids of nine letters and digits
_ALPHABET = string.ascii_letters + string.digits
_MOST_CHECKS = 4
_MOST_EXTRAS = 100_000
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME = 64
_CUT_OFF = "The model's answer was cut off in this call, so nothing was done.\nCall again with less."


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of an answer and, by call id, the reasons why one cannot be run and its extra fields."""

    calls: list[ToolCall] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class _Call:
    index: int | None
    id: str
    name: str = ""
    text: list[str] = field(default_factory=list)
    size: int = 0
    value: dict[str, Any] | list[Any] | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    extras_size: int = 0
    checks: int = 0

    def is_whole(self) -> bool:
        """Return True if the arguments so far are complete; checked a few times only, since it takes time."""
        if self.value is not None:
            return True
        if self.checks >= _MOST_CHECKS:
            return False
        self.checks += 1
        try:
            return isinstance(json.loads("".join(self.text) or "x"), dict)
        except (ValueError, RecursionError):
            return False


class CallPieces:
    """Calls under construction: takes the pieces in the order of the stream."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def is_too_long(self) -> bool:
        """Return True if the arguments of the newest call exceed `LONGEST` characters."""
        return bool(self._calls) and self._calls[-1].size > LONGEST

    def feed(self, piece: object) -> None:
        """Add one piece; anything that is not a piece of a call is ignored."""
        if not isinstance(piece, dict):
            return
        function = piece.get("function")
        function = function if isinstance(function, dict) else piece
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        arguments = function.get("arguments", function.get("parameters"))
        call = self._of(_index(piece.get("index")), str(piece.get("id") or ""), name)
        if call is None:
            return
        if name != call.name and len(call.name) < _LONGEST_NAME:  # some repeat it in each piece
            call.name += name
        self._add(call, arguments)
        _keep_extras(call, piece, function)

    def finish(self, *, is_cut_off: bool = False) -> Calls:
        """Return the calls with new ids: those of services may be empty or repeated."""
        found = Calls()
        for call in self._calls:
            id = new_id()
            arguments: dict[str, Any] = {}
            try:
                arguments = _arguments(call)
            except Unreadable as error:
                found.unreadable[id] = str(error)
            if is_cut_off and call is self._calls[-1] and (id in found.unreadable or not call.size):
                found.unreadable[id] = _CUT_OFF
            found.calls.append(ToolCall(name=_name(call.name), args=arguments, id=id, type="tool_call"))
            with suppress(ValueError):  # fields that cannot be stored cannot be sent back
                if call.extras:
                    found.extras[id] = storable(call.extras)
        return found

    def _of(self, index: int | None, id: str, name: str) -> _Call | None:
        """Return the call that a piece belongs to, created if it is new; None beyond `MOST_CALLS`."""
        call = self._find(index, id, name)
        if call is None and len(self._calls) < MOST_CALLS:
            call = _Call(index, id)
            self._calls.append(call)
        return call

    def _find(self, index: int | None, id: str, name: str) -> _Call | None:
        if index is None:
            named = next((each for each in self._calls if id and each.id == id), None)
            newest = self._calls[-1] if self._calls else None
            if named or newest is None or (id and newest.id):
                return named
            return newest if not name or not newest.is_whole() else None
        known = next((each for each in reversed(self._calls) if each.index == index), None)
        if known and id and known.id and id != known.id:
            named = next((each for each in self._calls if each.id == id), None)
            # another call under the same index, unless the service invents an id for each piece
            return named or (known if not name or not known.is_whole() else None)
        if known and name and not id and known.is_whole():
            return None
        return known

    def _add(self, call: _Call, arguments: object) -> None:
        if isinstance(arguments, dict | list):
            call.value = arguments
            call.size += 1
        elif isinstance(arguments, str) and arguments:
            call.size += len(arguments)
            self.size += len(arguments)
            if call.size <= LONGEST + 1:
                call.text.append(arguments)


def new_id() -> str:
    """Return a random call id that every service accepts."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def _index(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]  # whatever it is: numbers come as strings
    except (TypeError, ValueError, OverflowError):
        return None


def _arguments(call: _Call) -> dict[str, Any]:
    if call.size > LONGEST:
        raise Unreadable(f"The arguments are longer than {LONGEST} characters.\nCall again with less.")
    if call.value is not None:
        return read_arguments(json.dumps(call.value))
    return read_arguments("".join(call.text))


def _name(name: str) -> str:
    """Return a tool name that services accept; gpt-oss adds its own marks: `functions.x<|channel|>json`."""
    name = name.partition("<|")[0].strip().removeprefix("functions.")
    name = _NOT_IN_A_NAME.sub("_", well_formed(name))
    if not name[:1].isalpha():  # Gemini takes no other first letter
        name = f"_{name}"
    return name[:_LONGEST_NAME]


def _keep_extras(call: _Call, piece: dict[str, Any], function: dict[str, Any]) -> None:
    """Keep the service's own fields, such as Gemini's `extra_content`: it wants them back."""
    known = ("index", "id", "type", "function", "name", "arguments", "parameters")
    more = {key: value for key, value in piece.items() if key not in known and value is not None}
    if function is not piece:
        inner = {key: value for key, value in function.items() if key not in known and value is not None}
        if inner:
            more["function"] = call.extras.get("function", {}) | inner
    fresh = {key: value for key, value in more.items() if call.extras.get(key) != value}
    if fresh:  # some services repeat them in each piece
        call.extras_size += len(json.dumps(fresh))
        call.extras = call.extras | fresh if call.extras_size <= _MOST_EXTRAS else {}
