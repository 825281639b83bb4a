"""The agent as the rest of the bot sees it: a turn in, parts out, memory in Redis."""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.agent import parts, prompts
from bot.agent.forgetting import AUTHOR, AUTHOR_NAME, author, without
from bot.agent.graph import Context, Graph, State, build_graph
from bot.agent.memory import STORAGE_ERRORS, Memory
from bot.agent.model import Model
from bot.chat import Message, Part, StorageDown, Text, Turn
from bot.recall import account_of

log = logging.getLogger(__name__)


Note = Callable[[str, Turn], Awaitable[None]]
"""Notes who writes in a thread's memory, of that name, before they do."""

Remember = Callable[[Turn, str], Awaitable[None]]
"""Keeps a finished turn and its answer's text searchable."""


class Agent:
    """Answers turns from a graph whose checkpoints are the threads' memory."""

    def __init__(
        self,
        graph: Graph,
        memory: Memory,
        *,
        note: Note,
        remember: Remember,
        rounds: int,
        has_memory: bool,
    ) -> None:
        self._graph = graph
        self._memory = memory
        self._note = note
        self._remember = remember
        self._recursion_limit = 3 * rounds + 10  # langgraph's supersteps: three a round, and the ends
        self._has_memory = has_memory

    async def answer(self, turn: Turn) -> AsyncIterator[Part]:
        """The parts of the answer; on a later attempt first those that an earlier one already made.

        Raises `AnswerError` (no model answers) and `StorageDown` (Redis does not).
        """
        config = self._config(turn)
        texts: list[str] = []
        try:
            async with aclosing(self._parts(turn, config)) as answer:
                async for part in answer:
                    if isinstance(part, Text):
                        texts.append(part.text)
                    yield part
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error
        await self._settle(turn, "".join(texts), config)

    def _config(self, turn: Turn) -> RunnableConfig:
        thread_id = str(turn.thread) if self._has_memory else f"{turn.thread}:{_digest(turn.id)}"
        return {"configurable": {"thread_id": thread_id}, "recursion_limit": self._recursion_limit}

    async def _parts(self, turn: Turn, config: RunnableConfig) -> AsyncGenerator[Part]:
        # Only a repeated turn can find its own messages in the state; the look costs a read of the state.
        earlier = await self._earlier(turn, config) if turn.attempt > 1 else None
        for part in earlier.parts if earlier else ():
            yield part
        if earlier and not earlier.unfinished:
            return
        begin = None if earlier else _begin(turn)
        await self._note(config["configurable"]["thread_id"], turn)
        run = cast(
            "AsyncGenerator[Part]",
            self._graph.astream(
                begin, config, context=Context(turn), stream_mode="custom", durability="sync"
            ),
        )
        try:
            async with aclosing(run):
                async for part in run:
                    yield part
        finally:
            await self._memory.settled(config["configurable"]["thread_id"])

    async def _earlier(self, turn: Turn, config: RunnableConfig) -> "_Earlier | None":
        """What an earlier attempt made of this turn, if it got as far as the state."""
        state = await self._graph.aget_state(config)
        messages: list[AnyMessage] = state.values.get("messages", [])
        ids = [message.id for message in messages]
        newest = _id(turn.messages[-1])
        if newest not in ids:
            return None
        # langgraph shows the writes of a finished task here or there, or in both places
        made = messages[ids.index(newest) + 1 :]
        known = {message.id for message in made}
        pending = [each for task in state.tasks for each in (task.result or {}).get("messages", [])]
        made += [message for message in pending if message.id not in known]
        return _Earlier(list(parts.replay(made)), bool(state.tasks))

    async def conclude(self, turn: Turn, answer: str) -> None:
        """Note in the thread's memory that the turn ended with `answer`, which is not the agent's own end.

        Else the next turn would answer the question, too. Doing it again changes nothing.
        Raises `StorageDown`.
        """
        if not self._has_memory:
            return
        messages = [*_begin(turn)["messages"], AIMessage(answer, id=f"{_id(turn.messages[0])}:ending")]
        config = self._config(turn)
        try:
            await self._note(config["configurable"]["thread_id"], turn)
            await self._graph.aupdate_state(config, {"messages": messages}, as_node="think")
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error

    async def said_by(self, thread_id: str, authors: frozenset[str]) -> list[str]:
        """What these wrote, as far as the memory of that name still has it. Raises `StorageDown`."""
        messages = await self._messages(thread_id)
        return [each.text for each in messages if author(each) in authors]

    async def forget(self, thread_id: str, authors: frozenset[str], *, wholly: bool) -> None:
        """Remove what these wrote from the memory of that name, and the answers; or `wholly` all of it.

        A summary goes in any case, since it may hold their words. To be called while the thread has no turn.
        Raises `StorageDown`.
        """
        messages = [] if wholly else await self._messages(thread_id)
        update = without(messages, authors)
        try:
            if len([each for each in update if isinstance(each, RemoveMessage)]) == len(messages):
                await self._memory.adelete_thread(thread_id)
                return
            changes = {"messages": update, "summary": "", "last_error": ""}
            config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
            await self._graph.aupdate_state(config, changes, as_node="think")
            await self._memory.keep_newest(thread_id)
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error

    async def _messages(self, thread_id: str) -> list[AnyMessage]:
        try:
            state = await self._graph.aget_state({"configurable": {"thread_id": thread_id}})
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error
        messages: list[AnyMessage] = state.values.get("messages", [])
        return messages

    async def _settle(self, turn: Turn, answer: str, config: RunnableConfig) -> None:
        """Keep the answer searchable and only the newest checkpoint; neither may cost the answer."""
        try:
            if self._has_memory:
                await self._remember(turn, answer)
            await self._memory.keep_newest(config["configurable"]["thread_id"])
        except STORAGE_ERRORS as error:
            log.warning("turn not settled", extra={"error": repr(error)})


@dataclass(frozen=True, slots=True)
class _Earlier:
    parts: list[Part]
    unfinished: bool


def _begin(turn: Turn) -> State:
    messages: list[AnyMessage] = [
        HumanMessage(_readable(each), id=_id(each), additional_kwargs=_signed(each)) for each in turn.messages
    ]
    return cast("State", {"messages": messages, "iterations": 0, "last_error": ""})


def _signed(message: Message) -> dict[str, str]:
    """Who wrote it: not sent to the model as it is, see `bot.agent.forgetting.named`."""
    name = message.author_name or message.author.partition(":")[2]
    return {AUTHOR: account_of(message).digest, AUTHOR_NAME: name}


def _readable(message: Message) -> str:
    files = [
        f"[attached file: {each.name}, {each.media_type}, {each.size} bytes]" for each in message.attachments
    ]
    text = "\n".join([message.text, *files]).strip() or prompts.NO_TEXT
    return prompts.CORRECTION.format(text=text) if message.corrects else text


def _id(message: Message) -> str:
    """Its name in the memory. One that was given up and put back is asked anew, after how that ended."""
    return f"{message.id}:{message.replays}" if message.replays else message.id


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@asynccontextmanager
async def open_agent(
    redis: Redis,
    model: Model,
    tools: Sequence[BaseTool],
    *,
    note: Note,
    remember: Remember,
    max_iterations: int,
    history_tokens: int,
    ttl_days: int,
    has_memory: bool,
) -> AsyncIterator[Agent]:
    """The agent with its memory in `redis`, where an idle thread is forgotten after `ttl_days`.

    Raises `StorageDown` when Redis lacks the modules or cannot be reached.
    """
    memory = Memory(redis, ttl_days)
    try:
        await memory.set_up()
    except STORAGE_ERRORS as error:
        raise StorageDown(
            f"Redis cannot hold the agent's memory (it needs JSON and Search): {error}"
        ) from error
    graph = build_graph(
        model, tools, max_iterations=max_iterations, history_tokens=history_tokens, checkpointer=memory
    )
    yield Agent(graph, memory, note=note, remember=remember, rounds=max_iterations, has_memory=has_memory)
