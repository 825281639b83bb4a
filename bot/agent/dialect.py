"""Parts of a request that a service does not know: learned from its refusals, then left out."""

import logging
import re
from typing import Any

log = logging.getLogger(__name__)

_OF_THE_REQUEST = ("stream_options", "tool_choice")
_OF_MESSAGES = ("reasoning_details", "reasoning_content", "reasoning")
_OF_CALLS = ("extra_content",)
_MISSING = re.compile(r"reasoning_content.{0,80}(?:must be|missing|required)|missing.{0,20}reasoning_content")

Message = dict[str, Any]


class Dialect:
    """Knows a service's refusals, each of which costs one request in the life of a process."""

    def __init__(self) -> None:
        self._without: set[str] = set()
        self._wants: set[str] = set()

    def learn(self, refusal: str, payload: dict[str, Any]) -> bool:
        """Return whether a refusal teaches how to ask so that it is not refused."""
        refusal = refusal.lower()
        wish = self._wish(refusal)
        if wish and wish not in self._wants:
            self._wants.add(wish)
            log.info("model service learned", extra={"wants": wish})
            return True
        sent = [name for name in _OF_THE_REQUEST if name in payload]
        messages: list[Message] = payload["messages"]
        sent += [name for name in _OF_MESSAGES if any(name in message for message in messages)]
        sent += [name for name in _OF_CALLS if any(name in call for call in _calls(messages))]
        name = next((name for name in sent if name in refusal and name not in self._without), None)
        if wish or name is None:
            return False
        self._without.add(name)
        log.info("model service learned", extra={"without": name})
        return True

    def _wish(self, refusal: str) -> str:
        """Return what a refusal asks for: DeepSeek's thinking, the old role, turns that alternate."""
        if _MISSING.search(refusal):
            return "reasoning_content"
        if "developer" in refusal and "role" in refusal:
            return "system"
        if "alternate" in refusal and "role" in refusal:
            return "alternation"
        return ""

    def spoken(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the request as the service takes it."""
        if not (self._without or self._wants):
            return payload
        messages = [self._spoken(message) for message in payload["messages"]]
        if "alternation" in self._wants:
            messages = _joined(messages)
        kept = {name: value for name, value in payload.items() if name not in self._without}
        return {**kept, "messages": messages}

    def _spoken(self, message: Message) -> Message:
        message = {name: value for name, value in message.items() if name not in self._without}
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [
                {name: value for name, value in call.items() if name not in self._without} for call in calls
            ]
            if "reasoning_content" in self._wants:
                message.setdefault("reasoning_content", "")
        if message["role"] == "developer" and "system" in self._wants:
            message["role"] = "system"
        return message


def _calls(messages: list[Message]) -> list[dict[str, Any]]:
    return [call for message in messages for call in message.get("tool_calls") or ()]


def _joined(messages: list[Message]) -> list[Message]:
    """Return the messages with those in one that a person wrote in a row."""
    joined: list[Message] = []
    for message in messages:
        before = joined[-1] if joined else {}
        is_text = isinstance(message.get("content"), str) and isinstance(before.get("content"), str)
        if is_text and message["role"] == before.get("role") == "user":
            joined[-1] = {**before, "content": f"{before['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined
