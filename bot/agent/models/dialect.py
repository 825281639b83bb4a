"""Differences of a service from OpenAI's request format, learned from its refusals."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bot.agent import prompts

log = logging.getLogger(__name__)

_OF_THE_REQUEST = ("stream_options", "tool_choice")
_OF_MESSAGES = ("reasoning_details", "reasoning_content", "reasoning")
_OF_CALLS = ("extra_content",)

_WISHES = {
    # DeepSeek, Kimi: threads of other models have no thinking beside their calls
    "reasoning_content": r"reasoning_content.{0,80}(?:must be|required)|missing.{0,20}reasoning_content",
    # Gemini, the same for its signatures
    "thought_signature": r"missing a .?thought_signature",
    # OpenAI from gpt-5.4 on: with tools, only without thinking
    "reasoning_effort": r"reasoning_effort.{0,200}not supported",
    # templates of Gemma and early Mistral
    "alternation": r"roles must alternate|alternat.{0,40}roles",
    # Mistral: a turn that was cut off left results without an answer
    "bridge": r"after role .?tool|invalid_request_message_order",
    # DeepSeek and others do not know the new name
    "system": r"role.{0,40}developer|developer.{0,40}role",
}
_PATTERNS = {wish: re.compile(pattern, re.DOTALL) for wish, pattern in _WISHES.items()}
_NO_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""Google's value for a call without a signature. https://ai.google.dev/gemini-api/docs/thought-signatures"""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lesson:
    """Field to add to requests (`wants`) or to omit from them (`without`)."""

    kind: Literal["wants", "without"]
    name: str


class Dialect:
    """Request format of one service; each lesson costs one refused request per process."""

    def __init__(self) -> None:
        self._without: set[str] = set()
        self._wants: set[str] = set()

    def learn(self, refusal: str, payload: dict[str, Any]) -> Lesson | None:
        """Return the change that avoids this refusal, or None if nothing new can be learned."""
        refusal = refusal.lower()
        wish = next((wish for wish, pattern in _PATTERNS.items() if pattern.search(refusal)), None)
        if wish:
            return self._add(Lesson("wants", wish))
        messages: list[Message] = payload["messages"]
        sent = [name for name in _OF_THE_REQUEST if name in payload]
        sent += [name for name in _OF_MESSAGES if any(name in message for message in messages)]
        sent += [name for name in _OF_CALLS if any(name in call for call in _calls(messages))]
        name = next((name for name in sent if name in refusal and name not in self._without), None)
        return None if name is None else self._add(Lesson("without", name))

    def _add(self, lesson: Lesson) -> Lesson | None:
        known = self._lessons(lesson)
        if lesson.name in known:
            return None
        known.add(lesson.name)
        log.info("model request format adapted", extra={lesson.kind: lesson.name})
        return lesson

    def forget(self, lessons: Iterable[Lesson]) -> None:
        """Forget lessons that did not help: services quote requests, so users could teach nonsense."""
        for lesson in lessons:
            self._lessons(lesson).discard(lesson.name)

    def _lessons(self, lesson: Lesson) -> set[str]:
        return self._wants if lesson.kind == "wants" else self._without

    def translate(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the request in the form that the service accepts."""
        if not (self._without or self._wants):
            return payload
        spoken = {name: value for name, value in payload.items() if name not in self._without}
        spoken["messages"] = self._order([self._adapt_message(message) for message in payload["messages"]])
        if "reasoning_effort" in self._wants and "tools" in payload:
            spoken["reasoning_effort"] = "none"
        return spoken

    def _adapt_message(self, message: Message) -> Message:
        message = {name: value for name, value in message.items() if name not in self._without}
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [self._adapt_call(call) for call in calls]
            if "reasoning_content" in self._wants:
                message.setdefault("reasoning_content", "")
        if message["role"] == "developer" and "system" in self._wants:
            message["role"] = "system"
        return message

    def _adapt_call(self, call: dict[str, Any]) -> dict[str, Any]:
        call = {name: value for name, value in call.items() if name not in self._without}
        if "thought_signature" in self._wants:
            call.setdefault("extra_content", _NO_SIGNATURE)
        return call

    def _order(self, messages: list[Message]) -> list[Message]:
        ordered: list[Message] = []
        for message in messages:
            before = ordered[-1] if ordered else {}
            pair = (before.get("role"), message["role"])
            if pair == ("tool", "user") and "bridge" in self._wants:
                ordered.append({"role": "assistant", "content": prompts.BROKEN_OFF_BEFORE})
            is_in_a_row = pair == ("user", "user") and _is_text(before) and _is_text(message)
            if is_in_a_row and "alternation" in self._wants:
                ordered[-1] = {**before, "content": f"{before['content']}\n\n{message['content']}"}
            else:
                ordered.append(message)
        return ordered


def _is_text(message: Message) -> bool:
    return isinstance(message.get("content"), str)


def _calls(messages: list[Message]) -> list[dict[str, Any]]:
    return [call for message in messages for call in message.get("tool_calls") or ()]
