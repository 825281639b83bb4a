"""Asking the model: one streamed answer, complete or an error, from the first model that gives one.

A stream that stops early (ChatOpenAI ends it without an error: only `finish_reason` is missing), breaks in
the middle or holds nothing is never taken for an answer.
"""

import asyncio
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, cast

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolCall
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from bot.agent import metering, prompts
from bot.agent.metering import Metered
from bot.agent.offline import OfflineModel
from bot.chat import AnswerError, Health, Notice, Part, Spending, Text, Tokens
from bot.tools import OPEN_TOOLS

log = logging.getLogger(__name__)

Emit = Callable[[Part], None]
"""Shows a piece of the answer as soon as it is there."""

_ENDS = frozenset({"stop", "tool_calls", "function_call", "length", "content_filter"})
"""What a complete stream says of its end; anything else (`error`, nothing) is none."""

_CUT_OFF = {"length": prompts.CUT_BY_LENGTH, "content_filter": prompts.CUT_BY_FILTER}


class BrokenAnswer(Exception):
    """The stream ended without the end that a complete answer has."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call gave no answer. `sentence` is for the person who asked; it may help to repeat at once
    what broke after the stream had begun (`stream_broke`)."""

    sentence: str
    stream_broke: bool = False


Explain = Callable[[Exception], Failure | None]
"""Tells a failure of the model's service from a bug of ours (None)."""

TROUBLE = "The model service is not answering properly at the moment. Please ask again in a minute."
TOO_SLOW = "The model took too long to answer. Please ask again."


def explain_stream(error: Exception) -> Failure | None:
    """What any model's stream can end in."""
    if isinstance(error, TimeoutError):
        return Failure(TOO_SLOW, stream_broke=True)
    if isinstance(error, BrokenAnswer | json.JSONDecodeError):
        return Failure(TROUBLE, stream_broke=True)
    return None


@dataclass(slots=True)
class ModelStats:
    """The last calls' outcomes, for health."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    failures: deque[bool] = field(default_factory=lambda: deque(maxlen=100))
    last_call: float = 0.0
    last_error: str = ""

    def record(self, began: float, error: str = "") -> None:
        """Note a call that began at `began` (monotonic seconds) and has ended now."""
        self.last_call = time.monotonic()
        self.failures.append(bool(error))
        if error:
            self.last_error = error
        else:
            self.seconds.append(self.last_call - began)


Chat = Runnable[LanguageModelInput, AIMessage]
Manner = Literal["act", "conclude", "plain"]
"""`act` may call tools, `conclude` knows of them (the history refers to them) but may call none."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A chat model with tools bound, which take about so many tokens in each request."""

    manners: Mapping[Manner, Chat]
    tools_size: int


class Candidate:
    """A chat model with the tools bound: again only when they change, since that converts every schema."""

    def __init__(
        self, name: str, chat: BaseChatModel, tools: Sequence[BaseTool], explain: Explain = explain_stream
    ) -> None:
        self.name = name
        self.explain = explain
        self._chat = chat
        self._tools = tools
        self._bound: tuple[BaseTool, ...] | None = None
        self._offers: dict[bool, Offer] = {}

    def offer(self, *, is_limited: bool) -> Offer:
        """Return the model with the tools as they are now, or with those alone that are for everybody."""
        tools = tuple(self._tools)
        if self._bound is None or [*map(id, tools)] != [*map(id, self._bound)]:
            self._bound, self._offers = tools, {}
        if is_limited not in self._offers:
            offered = [each for each in tools if not is_limited or each.name in OPEN_TOOLS]
            self._offers[is_limited] = self._bind(offered)
        return self._offers[is_limited]

    def _bind(self, tools: Sequence[BaseTool]) -> Offer:
        manners: dict[Manner, Chat] = {
            "act": self._chat.bind_tools(tools),
            "conclude": self._chat.bind_tools(tools, tool_choice="none"),
            "plain": self._chat,
        }
        return Offer(manners, metering.tools_size(tools))


class Model:
    """One or two chat models, asked in order until one answers."""

    def __init__(self, candidates: Sequence[Candidate], timeout: float | None = None) -> None:
        self._candidates = candidates
        self._timeout = timeout
        self._stats = ModelStats()

    async def answer(
        self,
        messages: list[AnyMessage],
        emit: Emit,
        metered: Metered,
        manner: Manner = "act",
        *,
        is_limited: bool = False,
    ) -> AIMessage:
        """The complete answer; its text is also emitted as it comes. `is_limited` offers `OPEN_TOOLS` alone.

        Raises `AnswerError`, and what `metered` raises for a call that may not be made.
        """
        failure: Failure | None = None
        shown = _Shown(emit)
        for candidate, is_repeated in self._attempts():
            if is_repeated and not (failure and failure.stream_broke):
                continue  # its client has repeated it already, or repeating cannot help
            if shown.any:
                emit(Notice(prompts.BROKEN_OFF))
            shown = _Shown(emit)
            began = time.monotonic()
            try:
                offer = candidate.offer(is_limited=is_limited)
                estimate = metering.estimate(messages, 0 if manner == "plain" else offer.tools_size)
                async with (
                    metered(candidate.name, estimate) as spending,
                    _counted(spending, estimate) as chunks,
                ):
                    await self._collect(offer.manners[manner], messages, shown, chunks)
                answer = _answer(chunks, shown, manner)
            except Exception as error:  # the service's own errors are told from ours by `explain`
                failure = candidate.explain(error)
                if failure is None:
                    raise
                self._stats.record(began, type(error).__name__)
                log.warning("model call failed", extra={"model": candidate.name, "error": _described(error)})
            else:
                self._stats.record(began)
                seconds = round(time.monotonic() - began, 3)
                log.info("model answered", extra={"model": candidate.name, "seconds": seconds})
                return answer
        raise AnswerError(failure.sentence if failure else TROUBLE)

    def _attempts(self) -> list[tuple[Candidate, bool]]:
        """Each model twice; the second time (marked) only after a stream that broke."""
        return [(candidate, repeated) for candidate in self._candidates for repeated in (False, True)]

    async def _collect(
        self, chat: Chat, messages: list[AnyMessage], shown: "_Shown", chunks: list[AIMessageChunk]
    ) -> None:
        stream = cast("AsyncGenerator[AIMessage]", chat.astream(messages))
        # One timer that is moved on: ChatOpenAI's own stream_chunk_timeout costs a task a chunk.
        async with asyncio.timeout(self._timeout) as limit, aclosing(stream):
            async for chunk in stream:
                if self._timeout is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + self._timeout)
                if not isinstance(chunk, AIMessageChunk):
                    raise BrokenAnswer(f"unexpected {type(chunk).__name__} in the stream")
                chunks.append(chunk)
                if chunk.text:
                    shown(Text(chunk.text))

    async def health(self) -> Health:
        """How the last hundred calls went; makes no call of its own, since a call costs money."""
        stats = self._stats
        evidence: dict[str, object] = {"models": [candidate.name for candidate in self._candidates]}
        if stats.last_call:
            evidence["last_call_s"] = round(time.monotonic() - stats.last_call, 1)
            evidence["errors"] = f"{sum(stats.failures)} of {len(stats.failures)}"
        if stats.seconds:
            evidence["p50_s"] = round(median(stats.seconds), 2)
        if stats.last_error:
            evidence["last_error"] = stats.last_error
        failing = bool(stats.failures) and stats.failures[-1]
        return Health(name="model", state="degraded" if failing else "ok", evidence=evidence)


class _Shown:
    """Passes parts on, and knows whether there were any."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.any = False

    def __call__(self, part: Part) -> None:
        self.any = True
        self._emit(part)


@asynccontextmanager
async def _counted(spending: Spending, estimate: Tokens) -> AsyncIterator[list[AIMessageChunk]]:
    """A list for the chunks of a call; what has come of it is counted, also when it ends early."""
    chunks: list[AIMessageChunk] = []
    try:
        yield chunks
    finally:
        spending.used = metering.used(chunks, estimate)


def _answer(chunks: list[AIMessageChunk], shown: _Shown, manner: Manner) -> AIMessage:
    whole = _whole(chunks)
    # ids of our own: some services leave them empty, or begin anew with each answer
    tool_calls = [ToolCall(**call | {"id": _call_id()}) for call in whole.tool_calls if manner == "act"]
    if manner == "act" and not whole.text.strip() and not tool_calls:
        raise BrokenAnswer("the answer was empty")
    cut_off = _CUT_OFF.get(whole.response_metadata["finish_reason"])
    if cut_off:
        shown(Notice(cut_off))
    return AIMessage(whole.text, tool_calls=tool_calls, id=whole.id)


def _whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """The chunks as one message. Raises `BrokenAnswer` unless the stream came to its proper end."""
    if not chunks:
        raise BrokenAnswer("the stream was empty")
    whole = add_ai_message_chunks(chunks[0], *chunks[1:])  # at once: adding one by one is quadratic
    reason = whole.response_metadata.get("finish_reason")
    if reason not in _ENDS:
        raise BrokenAnswer(f"the stream ended with finish_reason {reason!r}")
    if whole.tool_call_chunks and reason in _CUT_OFF:
        raise BrokenAnswer("the stream was cut off in a tool call")
    for call in whole.tool_call_chunks:
        json.loads(call["args"] or "{}")  # LangChain would complete broken arguments by guesswork
    if whole.invalid_tool_calls:
        raise BrokenAnswer("the stream held a tool call that cannot be read")
    return whole


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _described(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f' {status}' if status else ''}: {str(error)[:300]}"


def offline_model(tools: Sequence[BaseTool]) -> Model:
    """The model that needs no network."""
    return Model([Candidate("offline", OfflineModel(), tools)])
