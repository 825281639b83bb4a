"""Scripted model that follows every instruction, including malicious ones."""

import json
from typing import Any

from tests.servers.model import Script


def obey(request: dict[str, Any]) -> Script:
    """Call the tool in `CALL tool {arguments}` and answer with its result; repeat any other text."""
    last = request["messages"][-1]
    text = str(last["content"])
    if last["role"] == "tool":
        return Script(text=f"RESULT {text}")
    _, found, order = text.rpartition("CALL ")
    if not found:
        return Script(text=f"HEARD {text}")
    name, _, arguments = order.partition(" ")
    return Script(tool_calls=[(name, json.loads(arguments))])


def is_order(request: dict[str, Any]) -> bool:
    """Return True if the last message is a user's that makes the model call a tool."""
    last = request["messages"][-1]
    return last["role"] == "user" and isinstance(last["content"], str) and last["content"].startswith("CALL ")


def order(tool: str, **arguments: Any) -> str:
    """Return the text that makes the model call a tool."""
    return f"CALL {tool} {json.dumps(arguments)}"
