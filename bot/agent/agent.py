"""Agent: answers turns with the graph and keeps the thread memory in Redis."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Command
from redis.asyncio import Redis

from bot.agent import prompts, texts
from bot.agent.authors import author, author_fields, without
from bot.agent.contexts import ContextReader
from bot.agent.graph import Graph, build_graph
from bot.agent.history import ANSWERED_CALL
from bot.agent.memory import AUTHORS, STORAGE_ERRORS, ThreadMemory
from bot.agent.messages import file_names, human_message, own_text, problems_of, stored_id, without_summarised
from bot.agent.models.model import Model
from bot.agent.regeneration import place_of
from bot.agent.resume import ResumePlan, plan_after_decision, plan_regeneration, plan_repetition
from bot.agent.state import Context, State
from bot.agent.waiting import note_open_requests, open_questions, request_of
from bot.chat import (
    SAME_EVERYWHERE,
    Artifact,
    AttachmentContent,
    Attachments,
    Channels,
    ContextSource,
    Decision,
    Files,
    Message,
    Meter,
    Notice,
    Part,
    Proposal,
    Question,
    Requests,
    StorageDown,
    Text,
    Turn,
    WaitingCall,
    with_decision,
)
from bot.concurrency.tasks import CLEAN_UP_SECONDS, cancel
from bot.memory import Owners
from bot.tools.waiting import GuardedTool

log = logging.getLogger(__name__)

_CLOSED = "closed_calls"
"""Key of an ending's `additional_kwargs`: calls whose questions were closed with it."""


class Agent:
    """A `bot.chat.Agent` with a graph whose checkpoints are the threads' memory."""

    def __init__(
        self,
        graph: Graph,
        memory: ThreadMemory,
        requests: Requests,
        *,
        tools: Sequence[BaseTool],
        owners: Owners | None,
        attachments: Attachments | None,
        rounds: int,
        has_memory: bool,
        channels: Channels,
        contexts: ContextReader | None,
    ) -> None:
        self._channels = channels
        self._contexts = contexts
        self._graph = graph
        self._attachments = attachments
        self._memory = memory
        self._requests = requests
        self._tools = tools
        self._owners = owners
        self._recursion_limit = 4 * rounds + 10  # supersteps: four per round, and the ends
        self._has_memory = has_memory

    async def answer(self, turn: Turn) -> AsyncIterator[Part]:
        """Yield the parts of the answer; a later attempt yields those of earlier attempts first.

        Raises `AnswerError` if no model answers, and `StorageDown` if Redis does not.
        """
        config = self._config(turn)
        shown: set[tuple[type, str]] = set()
        try:
            async with aclosing(self._parts(turn, config)) as answer:
                async for part in answer:
                    if isinstance(part, Artifact):
                        if (key := (type(part), part.id)) in shown:  # shown already, or stored before a crash
                            continue
                        shown.add(key)
                    yield part
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error

    def _config(self, turn: Turn) -> RunnableConfig:
        question = turn.regenerates or turn.id
        thread_id = str(turn.thread) if self._has_memory else f"{turn.thread}:{_digest(question)}"
        known: dict[str, Any] = {"thread_id": thread_id}
        if self._owners:
            known[AUTHORS] = self._owners.note(thread_id, turn)
        return {"configurable": known, "recursion_limit": self._recursion_limit}

    async def _parts(self, turn: Turn, config: RunnableConfig) -> AsyncGenerator[Part]:
        request = await self._requests.find(turn.decision.request) if turn.decision else None
        if turn.decision:
            if request is None:
                yield Notice(texts.unknown_request(turn.decision.request))
                return
            yield with_decision(request[0], turn.decision)
            if turn.decision.verdict == "withdrawn":
                await self.conclude(turn, prompts.WITHDRAWN_QUESTION)
                return
        plan = await self._plan(turn, request[1] if request else None, config)
        if turn.regenerates:
            yield Notice(texts.NOT_THE_LAST if plan is _NOT_THE_LAST else texts.ANOTHER_ANSWER)
        for part in plan.earlier:
            yield part
        for each in plan.requests:
            if asked := await self._requests.find(each):
                yield asked[0]
        if plan.is_over:
            return
        async with aclosing(self._run(turn, plan.begin, config)) as run:
            async for part in run:
                yield part

    async def _run(
        self, turn: Turn, begin: State | Command[None] | None, config: RunnableConfig
    ) -> AsyncGenerator[Part]:
        """Run the graph and yield the parts that it emits; closing this ends the run."""
        parts: asyncio.Queue[Part | None] = asyncio.Queue()
        context = Context(turn, parts.put_nowait, self._channels.settings_of(turn.messages[-1]))
        run = asyncio.create_task(self._graph.ainvoke(begin, config, context=context, durability="sync"))
        run.add_done_callback(lambda _: parts.put_nowait(None))
        try:
            while part := await parts.get():
                yield part
            for each in note_open_requests(await run):
                yield each
        finally:
            await self._end(run, context, config["configurable"]["thread_id"])

    async def _end(self, run: asyncio.Task[Any], context: Context, thread_id: str) -> None:
        """End a run, its tool calls and its writes, even if the turn is cancelled once more meanwhile."""
        try:
            await cancel(run, patience=CLEAN_UP_SECONDS)
            if not run.cancelled():
                run.exception()  # retrieved: asyncio logs exceptions that are never retrieved
        finally:
            try:
                await cancel(*context.calls, patience=CLEAN_UP_SECONDS)
            finally:
                await self._memory.wait_for_writes(thread_id)

    async def _plan(self, turn: Turn, proposal: WaitingCall | None, config: RunnableConfig) -> ResumePlan:
        """Return the way to run a turn: from the beginning, or from the state of an attempt or interrupt."""
        plan = await self._plan_resumption(turn, proposal, config)
        if plan:
            return plan
        if turn.regenerates:
            return _NOT_THE_LAST
        begin = await self._begin(turn, config)
        return ResumePlan(begin=begin, earlier=problems_of(begin["messages"]))

    async def _plan_resumption(
        self, turn: Turn, proposal: WaitingCall | None, config: RunnableConfig
    ) -> ResumePlan | None:
        """Return the way to go on from the state of an attempt or interrupt, or None if there is none.

        Only a repeated turn can find its own messages in the state; looking costs a read of the state.
        """
        if turn.regenerates:
            state = await self._graph.aget_state(config)
            return plan_regeneration(state, turn, self._tools)
        if proposal:
            state = await self._graph.aget_state(config)
            return plan_after_decision(state, proposal, author_fields(turn.messages[0]), self._tools)
        if turn.attempt > 1:
            state = await self._graph.aget_state(config)
            plan = plan_repetition(state, stored_id(turn.messages[-1]), self._tools)
            if plan:
                asked = {stored_id(message) for message in turn.messages}
                messages = [each for each in state.values["messages"] if each.id in asked]
                return replace(plan, earlier=[*problems_of(messages), *plan.earlier])
        return None

    async def _begin(self, turn: Turn, config: RunnableConfig) -> State:
        """Return the turn's messages with the content of their files, and with what was written before them.

        The first checkpoint of the run holds all of it: a repeated attempt sees the same.
        """
        messages: list[AnyMessage] = [await self._human(message) for message in turn.messages]
        if self._contexts and self._contexts.may_find(turn):
            values = await self._memory.read_ahead(config)
            messages = await self._contexts.add(turn, messages, values.get("messages", ()))
        return cast("State", {"messages": messages, "iterations": 0, "last_error": ""})

    async def _human(self, message: Message) -> HumanMessage:
        if not message.attachments:
            return human_message(message, AttachmentContent())
        if self._attachments is None:
            return human_message(message, file_names(message))
        return human_message(message, await self._attachments.read(message))

    async def find_answer(self, turn: Turn) -> str | None:
        """Return the text of the answer if an earlier attempt has completed it. Raises `StorageDown`."""
        request = await self._requests.find(turn.decision.request) if turn.decision else None
        try:
            plan = await self._plan_resumption(turn, request[1] if request else None, self._config(turn))
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error
        if plan is None or not plan.is_over or not plan.earlier:  # nothing: the model has chosen silence
            return None
        return "".join(part.text for part in plan.earlier if isinstance(part, Text))

    async def conclude(self, turn: Turn, answer: str) -> Sequence[Part]:
        """Record in the thread memory that the turn ended with `answer`, see `bot.chat.Agent`.

        Otherwise the next turn would answer the question, too. Raises `StorageDown`.
        """
        outcome = await self._outcome(turn.decision) if turn.decision else None
        notices = [Notice(outcome)] if outcome else []
        if not self._has_memory:
            return notices
        answer = f"{outcome or ''}\n\n{answer}".strip()
        config = self._config(turn)
        thread_id = config["configurable"]["thread_id"]
        values = await self._values(thread_id)
        closed = await self._close_questions(turn, values)
        decided = {turn.decision.request} if turn.decision else {each.id for each in closed.values()}
        proposals = values.get("proposals") or {}
        waiting = {call: each for call, each in proposals.items() if each["request"] not in decided}
        # the stored messages include the content of their files
        stored = values.get("messages", ())
        known = {message.id for message in stored}
        if turn.regenerates and place_of(stored, turn.id) is None:
            # the answer that was to be replaced is still the answer
            return [*notices, *closed.values()]
        written = [each for each in turn.messages if not each.decision and not turn.regenerates]
        new = [each for each in written if stored_id(each) not in known]
        asked: list[AnyMessage] = [human_message(each, AttachmentContent()) for each in new]
        if self._contexts and written:
            asked += self._contexts.mark_unread(turn, [*stored, *asked])
        more = {_CLOSED: list(closed)} if closed else {}
        messages = [*asked, AIMessage(answer, id=_ending_id(turn), additional_kwargs=more)]
        try:
            changes = {"messages": messages, "proposals": waiting}
            await self._graph.aupdate_state(config, changes, as_node="think")
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error
        return [*notices, *closed.values()]

    async def _close_questions(self, turn: Turn, values: Mapping[str, Any]) -> Mapping[str, Question]:
        """Close the questions that the turn was the answer to, and return them by the ids of their calls."""
        messages: Sequence[AnyMessage] = values.get("messages", ())
        ids = {stored_id(each) for each in turn.messages}
        calls = [each["id"] for each in open_questions(messages, values.get("proposals") or {})]
        for each in messages:
            if each.id in ids:
                calls.append(each.additional_kwargs.get(ANSWERED_CALL))
            elif each.id == _ending_id(turn):  # concluded before a crash
                calls += each.additional_kwargs.get(_CLOSED, ())
        found = {id: await self._requests.conclude(turn, request_of(id)) for id in calls if id}
        return {id: each for id, each in found.items() if each}

    async def texts_by(self, thread_id: str, authors: frozenset[str]) -> list[str]:
        """Return the remaining messages of these authors in a thread memory, without quotes.

        Raises `StorageDown`.
        """
        messages = await self._messages(thread_id)
        return list(filter(None, (own_text(each) for each in messages if author(each) in authors)))

    async def forget(self, thread_id: str, authors: frozenset[str], *, wholly: bool) -> None:
        """Remove messages of these authors, and answers to them, from a thread memory; `wholly`: all of it.

        The summary is removed in any case, since it may hold their words. The thread must have no running
        turn. Raises `StorageDown`.
        """
        messages = [] if wholly else await self._messages(thread_id)
        update = [*without_summarised(messages), *without(messages, authors)]
        try:
            if len([each for each in update if isinstance(each, RemoveMessage)]) == len(messages):
                await self._memory.adelete_thread(thread_id)
                return
            changes = {"messages": update, "summary": "", "last_error": ""}
            config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
            await self._graph.aupdate_state(config, changes, as_node="think")
            await self._memory.delete_documents(thread_id)
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error

    async def _outcome(self, decision: Decision) -> str | None:
        """Return the outcome of an approved call, as far as its tool knows it."""
        found = await self._requests.find(decision.request) if decision.verdict == "approved" else None
        if found is None or not isinstance(found[1], Proposal):
            return None
        tool = next((each for each in self._tools if each.name == found[1].tool), None)
        if not isinstance(tool, GuardedTool) or tool.outcome is None:
            return None
        return await tool.outcome(found[1])

    async def _messages(self, thread_id: str) -> list[AnyMessage]:
        messages: list[AnyMessage] = (await self._values(thread_id)).get("messages", [])
        return messages

    async def _values(self, thread_id: str) -> dict[str, Any]:
        try:
            state = await self._graph.aget_state({"configurable": {"thread_id": thread_id}})
        except STORAGE_ERRORS as error:
            raise StorageDown(f"the conversation's memory cannot be reached: {error}") from error
        values: dict[str, Any] = state.values
        return values


def _ending_id(turn: Turn) -> str:
    return f"{stored_id(turn.messages[0])}:ending"


_NOT_THE_LAST = ResumePlan(is_over=True)
"""Plan for an order to regenerate an answer that is not the last one of its thread any more."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@asynccontextmanager
async def open_agent(
    redis: Redis,
    model: Model,
    tools: Sequence[BaseTool],
    requests: Requests,
    *,
    owners: Owners | None = None,
    attachments: Attachments | None = None,
    pictures: Files | None = None,
    max_iterations: int,
    history_tokens: int,
    ttl_days: int,
    has_memory: bool,
    meter: Meter | None = None,
    is_restricted: Callable[[Turn], bool] | None = None,
    instructions: str = "",
    channels: Channels = SAME_EVERYWHERE,
    contexts: ContextSource | None = None,
    most_context: int = 0,
) -> AsyncIterator[Agent]:
    """Open the agent with its memory in `redis`, where an idle thread expires after `ttl_days`.

    A model with vision receives the pictures in `pictures`. Turns for which `is_restricted` is true can use
    `OPEN_TOOLS` only. `instructions` are those of the deployment, `channels` has those of each channel.
    Earlier messages are read from `contexts`, at most `most_context` of them.

    Raises `StorageDown` when Redis lacks the modules or cannot be reached.
    """
    memory = ThreadMemory(redis, ttl_days)
    try:
        await memory.set_up()
    except STORAGE_ERRORS as error:
        raise StorageDown(
            f"Redis cannot hold the agent's memory (it needs JSON and Search): {error}"
        ) from error
    contexts = contexts if has_memory and most_context else None
    graph = build_graph(
        model,
        tools,
        max_iterations=max_iterations,
        history_tokens=history_tokens,
        checkpointer=memory,
        requests=requests,
        meter=meter,
        pictures=pictures,
        is_restricted=is_restricted,
        instructions=instructions,
    )
    yield Agent(
        graph,
        memory,
        requests,
        tools=tools,
        owners=owners,
        attachments=attachments,
        rounds=max_iterations,
        has_memory=has_memory,
        channels=channels,
        contexts=ContextReader(contexts, most_context, history_tokens) if contexts else None,
    )
