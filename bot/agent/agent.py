"""The agent as the rest of the bot sees it: a turn in, parts out, memory in Redis."""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.agent import prompts
from bot.agent.course import Course, decided_course, repeated_course
from bot.agent.graph import Context, Graph, State, build_graph
from bot.agent.memory import STORAGE_ERRORS, Memory
from bot.agent.model import Model
from bot.chat import Message, Notice, Part, Proposal, Requests, StorageDown, Text, Turn, decided
from bot.tools import GuardedTool

log = logging.getLogger(__name__)


Remember = Callable[[Turn, str], Awaitable[None]]
"""Keeps a finished turn and its answer's text searchable."""


class Agent:
    """Answers turns from a graph whose checkpoints are the threads' memory."""

    def __init__(
        self,
        graph: Graph,
        memory: Memory,
        requests: Requests,
        *,
        tools: Sequence[BaseTool],
        remember: Remember,
        rounds: int,
        has_memory: bool,
    ) -> None:
        self._graph = graph
        self._memory = memory
        self._requests = requests
        self._tools = tools
        self._remember = remember
        self._recursion_limit = 4 * rounds + 10  # langgraph's supersteps: four a round, and the ends
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
        request = await self._requests.find(turn.decision.request) if turn.decision else None
        if turn.decision:
            if request is None:
                yield Notice(prompts.UNKNOWN_REQUEST.format(request=turn.decision.request))
                return
            yield decided(request[0], turn.decision)
        course = await self._course(turn, request[1] if request else None, config)
        for part in course.earlier:
            yield part
        for each in course.asked:
            if asked := await self._requests.find(each):
                yield asked[0]
        if course.is_over:
            return
        run = cast(
            "AsyncGenerator[Part]",
            self._graph.astream(
                course.begin, config, context=Context(turn), stream_mode="custom", durability="sync"
            ),
        )
        try:
            async with aclosing(run):
                async for part in run:
                    yield part
        finally:
            await self._memory.settled(config["configurable"]["thread_id"])

    async def _course(self, turn: Turn, proposal: Proposal | None, config: RunnableConfig) -> Course:
        """How to answer: from the beginning, or from where an earlier attempt or an interrupt has left it.

        Only a repeated turn can find its own messages in the state; the look costs a read of the state.
        """
        if proposal:
            return decided_course(await self._graph.aget_state(config), proposal)
        if turn.attempt > 1:
            state = await self._graph.aget_state(config)
            guarded = [tool.name for tool in self._tools if isinstance(tool, GuardedTool)]
            course = repeated_course(state, _id(turn.messages[-1]), guarded)
            if course:
                return course
        return Course(begin=_begin(turn))

    async def conclude(self, turn: Turn, answer: str) -> None:
        """Note in the thread's memory that the turn ended with `answer`, which is not the agent's own end.

        Else the next turn would answer the question, too. Doing it again changes nothing.
        Raises `StorageDown`.
        """
        if not self._has_memory:
            return
        asked = [] if turn.decision else _begin(turn)["messages"]
        messages = [*asked, AIMessage(answer, id=f"{_id(turn.messages[0])}:ending")]
        try:
            await self._graph.aupdate_state(self._config(turn), {"messages": messages}, as_node="think")
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error

    async def _settle(self, turn: Turn, answer: str, config: RunnableConfig) -> None:
        """Keep the answer searchable and only the newest checkpoint; neither may cost the answer."""
        try:
            if self._has_memory:
                await self._remember(turn, answer)
            await self._memory.keep_newest(config["configurable"]["thread_id"])
        except STORAGE_ERRORS as error:
            log.warning("turn not settled", extra={"error": repr(error)})


def _begin(turn: Turn) -> State:
    messages: list[AnyMessage] = [HumanMessage(_readable(each), id=_id(each)) for each in turn.messages]
    return cast("State", {"messages": messages, "iterations": 0, "last_error": ""})


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
    requests: Requests,
    *,
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
        model,
        tools,
        max_iterations=max_iterations,
        history_tokens=history_tokens,
        checkpointer=memory,
        requests=requests,
    )
    yield Agent(
        graph,
        memory,
        requests,
        tools=tools,
        remember=remember,
        rounds=max_iterations,
        has_memory=has_memory,
    )
