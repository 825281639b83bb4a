"""Assembly of one answer from the chunks of a model service. Pure and tolerant (docs/models.md).

Format: https://platform.openai.com/docs/api-reference/chat-streaming
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from langchain_core.messages import AIMessage

from bot.agent import texts
from bot.agent.models import errors
from bot.agent.models.arguments import storable
from bot.agent.models.errors import CallFailed
from bot.agent.models.reasoning import ReasoningParser
from bot.agent.models.sse import Event
from bot.agent.models.tool_calls import CallPieces, Calls
from bot.chat import Notice, Part, Text, Tokens, well_formed

Manner = Literal["act", "conclude", "plain"]
"""`act` may call tools; `conclude` describes them, because the history refers to them, but may call none."""

Offered = frozenset[str] | None
"""Names of the tools that a request offers; None stands for all."""

WIRE = "wire"
"""Key in `additional_kwargs` of the fields that the model service wants back with a message's calls."""

UNREADABLE = "unreadable"
"""Key in `additional_kwargs` of the reasons why calls cannot be run, by call id."""

LONGEST_ANSWER = 200_000
_MOST_RECEIVED = 1_000_000
_MOST_REASONING = 100_000
_LONGEST_REASONING = 500_000
"""Most characters of reasoning: more than any model writes that does not repeat itself."""

_MOST_TOKENS = 10**9
_CHARS_PER_TOKEN = 4
_REASONING = ("reasoning_content", "reasoning")
_TEXT = {"role", "content"}

_NAMES = {
    "end": "stop eos eos_token eos_token_id end_turn stop_sequence stop_sequences end complete completed "
    "done finished finish tool_calls tool_call tool_use function_call",
    "length": "length max_tokens max_length max_output_tokens max_completion_tokens model_length token_limit "
    "model_context_window_exceeded",
    "filter": "content_filter content_filtered safety recitation prohibited_content blocklist spii sensitive "
    "refusal guardrail_intervened image_safety language",
    "failed": "error abort aborted cancelled canceled network_error insufficient_system_resource timeout "
    "malformed_function_call unexpected_tool_call server_error load unload",
}
_ENDS = {name: meaning for meaning, names in _NAMES.items() for name in names.split()}
"""Meanings of finish reasons, by their names in lower case. Any other name does not end an answer."""

_CUT_OFF = {"length": texts.CUT_BY_LENGTH, "filter": texts.CUT_BY_FILTER}


class Completion:
    """Answer under construction: is fed chunks, shows its visible parts, ends as a message or failure."""

    def __init__(self) -> None:
        self.is_done = False
        """True once nothing more needs to be read."""
        self.times_shown = 0
        """Number of times that parts were taken."""
        self._visible: list[Part] = []
        self._unshown: list[str] = []
        self._texts: list[str] = []
        self._refusal: list[str] = []
        self._size = 0
        self._received = 0
        self._calls = CallPieces()
        self._reasoning: dict[str, list[Any]] = {}
        self._reasoning_size = 0
        self._lengths: dict[str, int] = {}
        self._reasoning_parser = ReasoningParser()
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._choice: object = None
        self._half = ""
        self._end = ""
        self._is_ended = False
        self._is_end_doubtful = False
        self._is_any = False

    def hold(self) -> None:
        """Show nothing before the reasoning has ended: the model's template opens it."""
        self._reasoning_parser = ReasoningParser(hold=True)

    def trust(self) -> None:
        """Treat all text as the answer: this model writes no reasoning."""
        self._reasoning_parser.turn_off()

    @property
    def is_ended(self) -> bool:
        """Return True once the answer is complete, even if the stream continues or breaks."""
        return self._is_ended or (self.is_done and self._is_any)

    @property
    def progress(self) -> int:
        """Return a number that grows with each piece of text, reasoning or tool call."""
        return self._received + self._calls.size + self._reasoning_size

    @property
    def _is_reasoning_endless(self) -> bool:
        # services send it under several names at once
        return max(self._lengths.values(), default=0) > _LONGEST_REASONING

    @property
    def is_opened_by_template(self) -> bool:
        """Return True if the answer closed a reasoning block that it had not opened."""
        return self._reasoning_parser.is_opened_by_template

    def take(self) -> Sequence[Part]:
        """Return the parts that have become visible since the last call; a text is one part."""
        parts, text = self._visible, "".join(self._unshown)
        self._visible, self._unshown = [], []
        if text:
            parts.append(Text(text))
        self.times_shown += bool(parts)
        return parts

    def feed(self, event: Event) -> None:
        """Add an event. Raises `CallFailed` if it reports an error."""
        if event.is_done:
            self.is_done = True
            return
        try:
            chunk = _decode(event.data)
        except (ValueError, RecursionError):
            if event.name == "error":
                raise errors.of_error(event.data) from None
            if event.data.lstrip().startswith(("{", "<")):
                raise CallFailed(
                    errors.BROKEN, f"a chunk of {len(event.data)} characters cannot be read"
                ) from None
            return  # some say `ping`
        self.feed_chunk(chunk, is_error=event.name == "error")

    def feed_chunk(self, chunk: object, *, is_error: bool = False) -> None:
        """Add a chunk, or a whole answer in its place. Raises `CallFailed` if it reports an error."""
        try:
            self._feed_chunk(chunk, is_error)
        except RecursionError:
            raise CallFailed(errors.BROKEN, "a chunk is nested too deeply") from None

    def _feed_chunk(self, chunk: object, is_error: bool) -> None:
        if is_error and not (isinstance(chunk, dict) and chunk.get("choices")):
            raise errors.of_error(chunk.get("error") or chunk if isinstance(chunk, dict) else chunk)
        if not isinstance(chunk, dict):
            return
        if error := chunk.get("error"):
            raise errors.of_error(error)
        if usage := chunk.get("usage"):
            self._count(usage)
        choice = self._choice_of(chunk.get("choices"))
        if choice is None:
            self._is_ended = self._is_ended or bool(usage and self._is_any)
            if "choices" not in chunk and (chunk.get("object") == "error" or _is_error(chunk)):
                raise errors.of_error(chunk)
            return
        if error := choice.get("error"):
            raise errors.of_error(error)
        self._feed_delta(self._delta(choice))
        if reason := choice.get("finish_reason"):
            self._note_end(reason)

    def finish(self, *, is_broken: bool = False) -> None:
        """End the stream: text that was held back is not reasoning."""
        self._is_ended = self._is_ended or bool(self._end and not is_broken)
        half, self._half = self._half, ""
        self._say(self._reasoning_parser.feed(half) + self._reasoning_parser.finish())
        if self._refusal:
            words = "".join(self._refusal)
            self._say(f"\n\n{words}" if self.text.strip() else words)
        if self.text.strip() and not self._calls and self._end in _CUT_OFF:
            self._notify(_CUT_OFF[self._end])

    @property
    def text(self) -> str:
        """Return the text of the answer so far."""
        return "".join(self._texts)

    def message(self, model: str, manner: Manner) -> AIMessage:
        """Return the whole answer of `model`. Raises `CallFailed` if there is none."""
        if self._end == "failed":
            raise CallFailed(errors.BROKEN, "the answer ended with an error")
        if not self.is_ended:
            raise CallFailed(errors.BROKEN, "the answer broke off" if self._is_any else "no answer came")
        calls = self._calls.finish(is_cut_off=self._end in _CUT_OFF) if manner == "act" else Calls()
        if manner == "act" and not calls.calls and not self.text.strip():
            raise CallFailed(self._cause_of_silence(), f"the answer was empty, its end {self._end!r}")
        more: dict[str, Any] = {}
        if calls.unreadable:
            more[UNREADABLE] = calls.unreadable
        if calls.calls and (wire := self._wire(calls)):
            more[WIRE] = {"model": model, **wire}
        return AIMessage(
            self.text, tool_calls=calls.calls, id=f"answer_{uuid.uuid4().hex}", additional_kwargs=more
        )

    def usage(self, estimated: Tokens) -> Tokens | None:
        """Return the tokens that the service reports, else an estimate; None if no answer began."""
        if not self._is_any and self._input_tokens is None:
            return None
        written = self._size + self._calls.size + self._reasoning_size
        return Tokens(
            estimated.input if self._input_tokens is None else self._input_tokens,
            -(-written // _CHARS_PER_TOKEN) if self._output_tokens is None else self._output_tokens,
        )

    def _delta(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Return the delta of a choice; a whole message counts only if it does not repeat earlier deltas."""
        delta = choice.get("delta")
        if isinstance(delta, dict):
            return delta
        message, text = choice.get("message"), choice.get("text")
        if isinstance(message, dict) and not self._is_any:
            return message
        return {"content": text} if isinstance(text, str) else {}

    def _feed_delta(self, delta: dict[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, str) and delta.keys() <= _TEXT:  # nearly all are
            self._receive(content)
        else:
            self._feed_fields(delta, content)

    def _feed_fields(self, delta: dict[str, Any], content: object) -> None:
        said: list[str] = []
        if isinstance(content, str):
            said.append(content)
        elif isinstance(content, list):  # Mistral and others send parts
            self._feed_parts(content, said)
        refusal = delta.get("refusal")
        if isinstance(refusal, str):
            self._refuse(refusal)
        for name in _REASONING:
            if isinstance(value := delta.get(name), str):
                self._reason(name, value)
        self._reason("reasoning_details", delta.get("reasoning_details"))
        for piece in _as_list(delta.get("tool_calls")):
            self._calls.feed(piece)
        if function := delta.get("function_call"):
            self._calls.feed({"function": function})
        if self._calls.is_too_long or self._is_reasoning_endless:
            self._end, self.is_done = "length", True
        has_more = bool(refusal or delta.get("tool_calls") or delta.get("function_call"))
        self._receive("".join(said), has_more=has_more)

    def _receive(self, text: str, *, has_more: bool = False) -> None:
        """Add text of the answer; a chunk that `has_more` than text continues the answer, too."""
        text = self._half + text
        if text or has_more:
            self._is_end_doubtful = self._is_end_doubtful or self._is_ended
            self._is_any, self._is_ended = True, False
        if not text:
            return
        self._received += len(text)
        if self._received > _MOST_RECEIVED:
            self._end, self.is_done = "length", True
        # half of a surrogate pair; the other half comes with the next chunk
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = text.removesuffix(self._half) if self._half else text
        released = self._reasoning_parser.turn_off() if self._reasoning else ""
        self._say(released + self._reasoning_parser.feed(text))

    def _feed_parts(self, parts: list[Any], texts: list[str]) -> None:
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, dict) and part.get("type") in (None, "text", "output_text"):
                texts.append(str(part.get("text") or ""))
            elif isinstance(part, dict) and part.get("type") == "refusal":
                self._refuse(str(part.get("refusal") or ""))
            elif isinstance(part, dict):
                self._reason("thinking", json.dumps(part.get("thinking")))

    def _refuse(self, words: str) -> None:
        if self._received <= LONGEST_ANSWER:
            self._received += len(words)
            self._refusal.append(words)

    def _reason(self, name: str, value: object) -> None:
        """Keep reasoning under the name that its service uses."""
        if not value or not isinstance(value, str | list):
            return
        self._is_any = True
        if isinstance(value, str):
            self._lengths[name] = self._lengths.get(name, 0) + len(value)
        self._reasoning_size += len(value) if isinstance(value, str) else len(json.dumps(value))
        if self._reasoning_size <= _MOST_REASONING:
            self._reasoning.setdefault(name, []).extend([value] if isinstance(value, str) else value)

    def _say(self, text: str) -> None:
        if self._reasoning_parser.is_retracted:
            self._reasoning_parser.is_retracted = False
            if self.text.strip():
                self._notify(texts.THOUGHT_ALOUD)
            self._texts.clear()
        text = well_formed(text)
        if self._size + len(text) > LONGEST_ANSWER:
            text = text[: max(0, LONGEST_ANSWER - self._size)]
            self._end, self.is_done = "length", True
        if text:
            self._size += len(text)
            self._texts.append(text)
            self._unshown.append(text)

    def _notify(self, sentence: str) -> None:
        self._visible = [*self.take(), Notice(sentence)]

    def _choice_of(self, choices: object) -> dict[str, Any] | None:
        """Return the choice that holds the answer: the first index that was seen."""
        for choice in _as_list(choices):
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            self._choice = index if self._choice is None else self._choice
            if index is None or index == self._choice:
                return choice
        return None

    def _note_end(self, reason: object) -> None:
        meaning = _ENDS.get(reason.strip().lower().replace("-", "_")) if isinstance(reason, str) else None
        if meaning:
            self._end = meaning
            self._is_ended = not self._is_end_doubtful  # some services send a reason in each chunk

    def _count(self, usage: object) -> None:
        """Record the tokens that a service reports: in each chunk, as fractions, or not at all."""
        if isinstance(usage, dict):
            self._input_tokens = _tokens(usage, "prompt_tokens", "input_tokens", known=self._input_tokens)
            self._output_tokens = _tokens(
                usage, "completion_tokens", "output_tokens", known=self._output_tokens
            )

    def _cause_of_silence(self) -> errors.Cause:
        if self._end == "filter":
            return errors.WITHHELD
        if self._end == "length":
            return errors.ALL_THINKING
        return errors.NO_WORDS if self._reasoning or self._reasoning_parser.any else errors.BROKEN

    def _wire(self, calls: Calls) -> dict[str, Any]:
        """Return the fields that the service wants back: of the message and, by id, of the calls."""
        message: dict[str, Any] = {}
        if self._reasoning_size <= _MOST_REASONING:
            message = {name: well_formed("".join(self._reasoning.get(name, ()))) for name in _REASONING}
            with suppress(ValueError):  # what cannot be kept cannot be given back
                message["reasoning_details"] = storable(self._reasoning.get("reasoning_details"))
        message = {name: value for name, value in message.items() if value}
        found = {"message": message, "calls": calls.extras}
        return {name: each for name, each in found.items() if each}


_decode = json.JSONDecoder(strict=False).decode


def _as_list(value: object) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _is_error(chunk: dict[str, Any]) -> bool:
    """Return True if an object without choices is an error in a service's own format."""
    return bool(chunk.get("detail") or chunk.get("message") or chunk.get("msg"))


def _tokens(usage: dict[str, Any], *names: str, known: int | None) -> int | None:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return round(value)
    return known
