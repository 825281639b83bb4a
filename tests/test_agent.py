"""The agent with its real memory in Redis and the real ChatOpenAI, against a scripted model."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.types import StateSnapshot
from redis.asyncio import Redis

from bot.agent import prompts, texts
from bot.agent.authors import names
from bot.agent.history import MOST_MESSAGES
from bot.agent.memory import ThreadMemory
from bot.agent.resume import plan_repetition
from bot.agent.spotlighting import mark
from bot.chat import AnswerError, Notice, Text, ToolStep, Turn
from bot.chat.text import unnamed_user
from bot.memory import account_of
from tests.servers.model import ModelServer, Script
from tests.servers.model_quirks import call, calls, chunk, stream, text
from tests.support.agent import a_turn, an_agent, joined, parts_of, query_tool, text_of
from tests.support.wait import wait_until


class Gate:
    """A tool call that waits here, so that a test can break in."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()


async def test_answer_is_streamed_word_by_word(redis: Redis, model: ModelServer) -> None:
    """Each piece comes as soon as the model gives it, and together they are the answer."""
    model.script(Script(text="Hello there, Ada.", pace=0.1))
    async with an_agent(redis, model) as agent:
        parts = await parts_of(agent, a_turn("hi"))
    assert parts == [Text("Hello"), Text(" there,"), Text(" Ada.")]


async def test_quick_words_come_together(redis: Redis, model: ModelServer) -> None:
    """The first comes at once, and the last ones while the model is still silent."""
    words = [f"{number} " for number in range(100)]
    model.script(Script(wire=stream(*map(text, words), done=False, ending="hang")))
    shown: list[str] = []
    async with (
        an_agent(redis, model, timeout=60) as agent,
        aclosing(cast("Any", agent.answer(a_turn("count")))) as answer,
        asyncio.timeout(30),
    ):
        async for part in answer:
            shown.append(part.text)
            if shown[-1].endswith(words[-1]):
                break
    assert "".join(shown) == "".join(words)
    assert shown[0].startswith(words[0])
    assert len(shown) < len(words) / 2


async def test_thread_remembers_and_threads_are_apart(redis: Redis, model: ModelServer) -> None:
    """A later turn of a thread sees the earlier one, also after a restart; another thread does not."""
    async with an_agent(redis, model) as agent:
        assert "message 1 of" in await text_of(agent, a_turn("my name is Ada"))
    async with an_agent(redis, model) as agent:
        assert "message 2 of" in await text_of(agent, a_turn("who am I?"))
        assert "message 1 of" in await text_of(agent, a_turn("who am I?", thread="other"))


def by(author: str, text: str) -> Turn:
    """A turn of the thread t1 by a person, whose name is the same in upper case."""
    (message,) = a_turn(text).messages
    signed = replace(message, author=f"test:{author}", author_name=author.upper())
    return Turn(id=message.id, thread=message.thread, messages=(signed,))


async def test_model_is_told_who_wrote_what_when_several_do(redis: Redis, model: ModelServer) -> None:
    """Alone nobody is named."""
    async with an_agent(redis, model) as agent:
        await text_of(agent, by("ann", "one"))
        await text_of(agent, by("bob", "two"))
    asked = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"]
    assert asked == ["[ANN] one", "[BOB] two"]
    assert model.requests[0]["messages"][-1]["content"] == "one"


async def test_users_without_a_name_are_told_apart_by_numbers(redis: Redis, model: ModelServer) -> None:
    """Never by the ids of their accounts. The numbers are those that earlier messages have, too."""
    async with an_agent(redis, model) as agent:
        for author, text in (("u07ann", "one"), ("u07bob", "two"), ("u07ann", "three")):
            (message,) = by(author, text).messages
            nameless = replace(message, author_name="", place={"channel": "c1"})
            await text_of(agent, Turn(id=message.id, thread=message.thread, messages=(nameless,)))
    asked = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"]
    ann, bob = unnamed_user("test:u07ann"), unnamed_user("test:u07bob")
    assert asked == [f"[{ann}] one", f"[{bob}] two", f"[{ann}] three"]


def test_a_nameless_user_has_one_number_after_an_upgrade() -> None:
    """Earlier versions have stored no number; later messages have the one that it has everywhere."""
    named = {"author": "b", "author_name": "BOB"}
    old, new = {"author": "a", "author_name": ""}, {"author": "a", "author_name": unnamed_user("test:a")}
    told, last = HumanMessage("?", additional_kwargs=named), new | {"author_unnamed": True}
    messages = [HumanMessage("?", additional_kwargs=each) for each in (old, last)]
    expected = {"a": unnamed_user("test:a"), "b": "BOB"}
    assert names([told, *messages]) == names([told, *messages[::-1]]) == expected
    messages = [
        HumanMessage("?", additional_kwargs=each) for each in (last, old | {"author_name": "ANN"}, last)
    ]
    assert names([told, *messages]) == {"a": "ANN", "b": "BOB"}


async def test_a_name_that_was_known_once_stays_known(redis: Redis, model: ModelServer) -> None:
    """Fault: one message without it, while the service did not answer, took it from all others."""
    nameless = [replace(each, author_name="\u3164") for each in by("ann", "three").messages]
    async with an_agent(redis, model) as agent:
        for turn in (by("ann", "one"), by("bob", "two")):
            await text_of(agent, turn)
        await text_of(agent, replace(by("ann", "three"), messages=tuple(nameless)))
    asked = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"]
    assert asked == ["[ANN] one", "[BOB] two", "[ANN] three"]


async def test_person_is_forgotten_in_a_shared_thread_with_its_summary(
    redis: Redis, model: ModelServer
) -> None:
    """The other's turns stay, and the thread goes on; the summary may hold any words, so it goes."""
    ann, bob = (account_of(by(name, "x").messages[0]).digest for name in ("ann", "bob"))
    async with an_agent(redis, model, history_tokens=700) as agent:
        for number in range(6):
            await text_of(agent, by("ann", f"annmark {number} " + "word " * 60))
            await text_of(agent, by("bob", f"bobmark {number} " + "word " * 60))
        thread = str(a_turn("x").thread)
        assert any("annmark" in text for text in await agent.texts_by(thread, frozenset({ann})))
        await agent.forget(thread, frozenset({ann}), wholly=False)
        assert await agent.texts_by(thread, frozenset({ann})) == []
        assert any("bobmark" in text for text in await agent.texts_by(thread, frozenset({bob})))
        stored = [await redis.get(key) for key in await redis.keys("checkpoint:*")]
        assert stored
        assert "annmark" not in str(stored)
        await text_of(agent, by("bob", "and now?"))
        assert "bobmark" in str(model.requests[-1]["messages"])
        await agent.forget(thread, frozenset({bob}), wholly=True)
    assert await redis.keys("checkpoint*") == []


async def test_without_memory_each_message_is_answered_alone(redis: Redis, model: ModelServer) -> None:
    """ENABLE_MEMORY=false: no turn sees another."""
    async with an_agent(redis, model, has_memory=False) as agent:
        await text_of(agent, a_turn("one"))
        assert "message 1 of" in await text_of(agent, a_turn("two"))


async def test_tools_run_in_parallel_and_are_shown(redis: Redis, model: ModelServer) -> None:
    """Both calls of a round run; each is shown started and finished; the model sees both results."""
    attempts: list[str] = []
    calls = [("sql_query", {"query": "select 1"}), ("sql_query", {"query": "select 2"})]
    model.script(Script(text="Let me look.", tool_calls=calls), "Both done.")
    async with an_agent(redis, model, tools=[query_tool(attempts)]) as agent:
        parts = await parts_of(agent, a_turn("count"))
    steps = [part for part in parts if isinstance(part, ToolStep)]
    assert sorted(attempts) == ["select 1", "select 2"]
    assert [step.state for step in steps].count("finished") == 2
    assert _ids(steps, "started") == _ids(steps, "finished")
    results = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert results == [mark("sql_query", f"| rows of select {number} |") for number in (1, 2)]
    assert joined(parts)[-1] == Text("\n\nBoth done.")


def _ids(steps: list[ToolStep], state: str) -> set[str]:
    return {step.id for step in steps if step.state == state}


async def test_tool_errors_go_back_to_the_model(redis: Redis, model: ModelServer) -> None:
    """Wrong SQL, a bug, unknown tools and wrong arguments are data for the model; the turn goes on."""
    calls = [
        ("sql_query", {"query": "wrong"}),
        ("sql_query", {"query": "bug"}),
        ("sql_query", {"text": "no such argument"}),
        ("drop_everything", {}),
    ]
    model.script(Script(tool_calls=calls), "I could not do it.")
    async with an_agent(redis, model) as agent:
        parts = await parts_of(agent, a_turn("break"))
    wrong, bug, arguments, unknown = (
        each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"
    )
    assert wrong == mark("sql_query", 'syntax error at or near "wrong"')
    assert "RuntimeError" not in bug
    assert "query" in arguments
    assert "sql_query" in unknown
    assert sum(isinstance(part, ToolStep) and part.state == "failed" for part in parts) == 4
    assert joined(parts)[-1] == Text("I could not do it.")


async def test_max_iterations_ends_in_an_answer(redis: Redis, model: ModelServer) -> None:
    """A model that only calls tools is told to conclude, and what it then says is the answer."""
    attempts: list[str] = []
    again = Script(tool_calls=[("sql_query", {"query": "select 1"})])
    model.script(again, again, "I know this much.")
    async with an_agent(redis, model, tools=[query_tool(attempts)], max_iterations=2) as agent:
        assert await text_of(agent, a_turn("dig")) == "I know this much."
    assert len(attempts) == 2
    assert model.requests[-1]["tool_choice"] == "none"
    assert prompts.CONCLUDE in model.requests[-1]["messages"][0]["content"]


async def test_max_iterations_never_ends_in_silence(redis: Redis, model: ModelServer) -> None:
    """Even a model that calls a tool when it may not yields an answer: what is known."""
    model.respond = lambda request: Script(tool_calls=[("sql_query", {"query": "select 1"})])
    async with an_agent(redis, model, max_iterations=1) as agent:
        assert "| rows of select 1 |" in await text_of(agent, a_turn("dig"))
        model.respond = lambda request: Script(tool_calls=[("sql_query", {"select": "wrong"})])
        # why the call failed is for the model, and what an earlier turn found is no answer to this one
        assert (await text_of(agent, a_turn("dig again"))).endswith(
            "do not have a full answer. Please ask for a part of it."
        )


@pytest.mark.parametrize("fault", ["truncate", "corrupt", "drop"])
async def test_broken_stream_is_told_and_begun_again(redis: Redis, model: ModelServer, fault: str) -> None:
    """Half an answer is never passed off as a whole one, and memory keeps only the whole one."""
    model.script(Script(text="It was the best of", fault=fault, break_after=3), "It was the best of times.")
    async with an_agent(redis, model) as agent:
        parts = await parts_of(agent, a_turn("quote"))
        assert Notice(texts.BROKEN_OFF) in parts
        after = parts[parts.index(Notice(texts.BROKEN_OFF)) + 1 :]
        assert "".join(part.text for part in after if isinstance(part, Text)) == "It was the best of times."
        await text_of(agent, a_turn("next"))
    said = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "assistant"]
    assert said == ["It was the best of times."]


async def test_stalled_stream_times_out(redis: Redis, model: ModelServer) -> None:
    """A model that stops in the middle is given up after REQUEST_TIMEOUT, and asked again."""
    model.script(Script(text="It was", fault="stall", break_after=1), "Done.")
    async with an_agent(redis, model, timeout=0.5) as agent:
        assert await text_of(agent, a_turn("quote")) == "Done."


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_transient_errors_are_repeated(redis: Redis, model: ModelServer, status: int) -> None:
    """An overloaded model is asked again after the time it names, and the person sees nothing of it."""
    model.script(Script(status=status, retry_after=0.01), "Fine now.")
    async with an_agent(redis, model) as agent:
        assert joined(await parts_of(agent, a_turn("hi"))) == [Text("Fine now.")]


async def test_fallback_model_answers_when_the_first_fails(redis: Redis, model: ModelServer) -> None:
    """After the first model's last attempt the fallback is asked."""
    model.respond = lambda request: (
        "From the fallback." if request["model"] == "spare" else Script(status=500, retry_after=0.01)
    )
    async with an_agent(redis, model, fallback="spare") as agent:
        assert await text_of(agent, a_turn("hi")) == "From the fallback."


async def test_no_model_is_told_in_words(redis: Redis, model: ModelServer) -> None:
    """A failure of every model is a sentence for the person; the thread stays usable."""
    model.respond = lambda request: Script(status=503, retry_after=0.01)
    async with an_agent(redis, model) as agent:
        with pytest.raises(AnswerError, match="has a problem"):
            await parts_of(agent, a_turn("hi"))
        model.script("Back again.")
        assert await text_of(agent, a_turn("still there?")) == "Back again."


async def test_wrong_key_names_the_variable(redis: Redis, model: ModelServer) -> None:
    """A refused key is the operator's to mend, and the sentence says so without the key."""
    model.respond = lambda request: Script(status=401)
    async with an_agent(redis, model) as agent:
        with pytest.raises(AnswerError, match="OPENAI_API_KEY"):
            await parts_of(agent, a_turn("hi"))


async def test_finished_answer_is_used_again(redis: Redis, model: ModelServer) -> None:
    """A second attempt at a turn that the model finished asks no model and runs no tool."""
    attempts: list[str] = []
    model.script(Script(text="Let me look.", tool_calls=[("sql_query", {"query": "select 1"})]), "It is 1.")
    async with an_agent(redis, model, tools=[query_tool(attempts)]) as agent:
        first = await parts_of(agent, a_turn("count"))
        second = await parts_of(agent, a_turn("count", attempt=2))
    assert len(model.requests) == 2
    assert attempts == ["select 1"]
    assert "".join(part.text for part in second if isinstance(part, Text)) == "Let me look.\n\nIt is 1."
    assert [part for part in second if isinstance(part, ToolStep)] == [
        part for part in first if isinstance(part, ToolStep)
    ]


async def test_finished_tool_is_not_run_again_after_a_crash(redis: Redis, model: ModelServer) -> None:
    """Cut off while one of two tools runs, the next attempt runs only that one and goes on to the answer."""
    gate = Gate()
    runs: list[str] = []

    @tool
    async def look(query: str) -> str:
        """Look something up."""
        runs.append(query)
        if query == "slow" and not gate.open.is_set():
            gate.entered.set()
            await gate.open.wait()
        return f"found {query}"

    model.script(
        Script(tool_calls=[("look", {"query": "quick"}), ("look", {"query": "slow"})]), "Found both."
    )
    async with an_agent(redis, model, tools=[look]) as agent:
        finished = asyncio.Event()

        async def first_attempt() -> None:
            async for part in agent.answer(a_turn("find")):
                if isinstance(part, ToolStep) and part.state == "finished":
                    finished.set()

        task = asyncio.create_task(first_attempt())
        await gate.entered.wait()
        await finished.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.open.set()
        assert await text_of(agent, a_turn("find", attempt=2)) == "Found both."
    assert sorted(runs) == ["quick", "slow", "slow"]


@pytest.mark.parametrize("texts", ["x", "xy"], ids=["one call", "two calls"])
async def test_a_turn_that_is_cancelled_again_ends_after_its_tools(
    redis: Redis, model: ModelServer, texts: str
) -> None:
    """Fault: its thread was handed over, while a tool that ignores cancellation could still write.

    langgraph waits for a single call itself, and leaves several behind.
    """
    gate = Gate()
    cancelled = asyncio.Event()

    @tool
    async def write(text: str) -> str:
        """Write, whatever happens."""
        gate.entered.set()
        while not gate.open.is_set():
            try:
                await gate.open.wait()
            except asyncio.CancelledError:
                cancelled.set()
        return "written"

    calls = [("write", {"text": text}) for text in texts]
    model.script(Script(tool_calls=calls), "Written.")
    async with an_agent(redis, model, tools=[write]) as agent:
        turn = asyncio.create_task(parts_of(agent, a_turn("write")))
        await gate.entered.wait()
        for _ in range(3):
            cancelled.clear()
            turn.cancel()
            await cancelled.wait()
        done, _ = await asyncio.wait({turn}, timeout=0.1)
        assert not done
        gate.open.set()
        await asyncio.gather(turn, return_exceptions=True)
        assert turn.cancelled()
        assert await text_of(agent, a_turn("write", attempt=2)) == "Written."


async def test_next_turn_repairs_a_dangling_tool_call(redis: Redis, model: ModelServer) -> None:
    """A turn that never came to its tool results leaves a thread that OpenAI still accepts."""
    entered = asyncio.Event()

    @tool
    async def hang(query: str) -> str:
        """Hang for ever."""
        entered.set()
        await asyncio.Event().wait()
        return query

    model.script(Script(tool_calls=[("hang", {"query": "x"})]), "Moving on.")
    async with an_agent(redis, model, tools=[hang]) as agent:
        task = asyncio.create_task(parts_of(agent, a_turn("hang")))
        await entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await text_of(agent, a_turn("something else")) == "Moving on."
    assert mark("hang", prompts.UNFINISHED_TOOL) in [
        each["content"] for each in model.requests[-1]["messages"]
    ]


async def test_failed_turn_is_not_repeated_by_the_next(redis: Redis, model: ModelServer) -> None:
    """After an error that was answered, a new message starts anew."""
    model.respond = lambda request: Script(status=401)
    async with an_agent(redis, model) as agent:
        with pytest.raises(AnswerError):
            await parts_of(agent, a_turn("first"))
        model.respond = lambda request: "Only the second."
        assert await text_of(agent, a_turn("second")) == "Only the second."
    assert len(model.requests) == 2


async def test_a_stopped_turn_is_over_for_the_next_one(redis: Redis, model: ModelServer) -> None:
    """The model sees the question, the call that never ended, and how it ended: it does not go on with it."""
    entered = asyncio.Event()

    @tool
    async def hang(query: str) -> str:
        """Hang for ever."""
        entered.set()
        await asyncio.Event().wait()
        return query

    model.script(Script(tool_calls=[("hang", {"query": "x"})]), "Moving on.")
    async with an_agent(redis, model, tools=[hang]) as agent:
        turn = a_turn("hang")
        task = asyncio.create_task(parts_of(agent, turn))
        await entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(2):  # a crash in between repeats it
            await agent.conclude(turn, "Stopped.")
        assert await text_of(agent, a_turn("something else")) == "Moving on."
    roles = [each["role"] for each in model.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert model.requests[-1]["messages"][-2]["content"] == "Stopped."
    assert not model.violations


async def test_a_turn_that_ended_before_it_began_is_remembered(redis: Redis, model: ModelServer) -> None:
    """Stopped in the queue: the next turn knows what was asked, and that nobody wants it answered."""
    async with an_agent(redis, model) as agent:
        await agent.conclude(a_turn("never mind"), "Stopped.")
        assert "message 2 of" in await text_of(agent, a_turn("hello"))
    assert [each["content"] for each in model.requests[-1]["messages"]][1:3] == ["never mind", "Stopped."]


async def test_a_replayed_question_is_asked_anew(redis: Redis, model: ModelServer) -> None:
    """It was given up with a word about that; put back, it comes after it, and is what the model answers."""
    async with an_agent(redis, model) as agent:
        turn = a_turn("how many?")
        await agent.conclude(turn, "I could not finish it.")
        replayed = replace(turn, messages=(replace(turn.messages[0], replays=1),))
        for attempt in (1, 2):  # a second attempt finds the answer of the first
            await text_of(agent, replace(replayed, attempt=attempt))
    asked = [each["content"] for each in model.requests[-1]["messages"]][1:]
    assert asked == ["how many?", "I could not finish it.", "how many?"]
    assert len(model.requests) == 1


async def test_a_correction_is_told_as_one(redis: Redis, model: ModelServer) -> None:
    """The model knows that the new text replaces what it answered last."""
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("five apples"))
        corrected = a_turn("six apples")
        message = replace(corrected.messages[0], corrects="test:t1:five apples")
        await text_of(agent, replace(corrected, messages=(message,)))
    assert model.requests[-1]["messages"][-1]["content"] == prompts.CORRECTION.format(text="six apples")


async def test_closing_the_answer_closes_the_models_stream(redis: Redis, model: ModelServer) -> None:
    """A reader that stops listening stops the model: its connection is closed at once."""
    model.script(Script(text="word " * 50, pace=0.05))
    async with an_agent(redis, model) as agent:
        async with aclosing(cast("Any", agent.answer(a_turn("talk")))) as answer:
            async for _ in answer:
                break
        await wait_until(lambda: model.cancelled == 1, "the model's stream is closed")


async def test_long_history_becomes_a_summary(redis: Redis, model: ModelServer) -> None:
    """The thread never holds more than is allowed, and what was cut is summarised for the model."""

    def respond(request: dict[str, Any]) -> str:
        system = request["messages"][0]["content"]
        return "Ada likes tea." if system == prompts.SUMMARISE else f"ok {len(request['messages'])}"

    model.respond = respond
    async with an_agent(redis, model) as agent:
        for number in range(MOST_MESSAGES):
            await text_of(agent, a_turn(f"message {number}"))
    last = model.requests[-1]["messages"]
    assert len(last) <= MOST_MESSAGES + 2
    assert "Ada likes tea." in last[0]["content"]
    assert last[-1]["content"] == f"message {MOST_MESSAGES - 1}"


async def test_summary_that_fails_costs_history_not_the_turn(redis: Redis, model: ModelServer) -> None:
    """A summary that the model cannot write costs the older messages, and the turn is answered."""

    def respond(request: dict[str, Any]) -> Script | str:
        summarise = request["messages"][0]["content"] == prompts.SUMMARISE
        return Script(status=401) if summarise else "ok"

    model.respond = respond
    async with an_agent(redis, model) as agent:
        for number in range(MOST_MESSAGES // 2 + 3):
            assert await text_of(agent, a_turn(f"message {number}")) == "ok"


async def test_only_the_newest_checkpoint_stays(redis: Redis, model: ModelServer) -> None:
    """Storage does not grow with the number of turns: one checkpoint, and its writes, a thread."""
    async with an_agent(redis, model) as agent:
        for number in range(4):
            await text_of(agent, a_turn(f"message {number}"))
    checkpoints = [key async for key in redis.scan_iter("checkpoint:*")]
    assert len(checkpoints) == 1
    assert await redis.ttl(checkpoints[0]) > 80_000


async def test_memory_lists_what_it_keeps(redis: Redis, model: ModelServer) -> None:
    """One checkpoint, which also its id finds; others there are none."""
    async with an_agent(redis, model) as agent:
        for number in range(2):
            await text_of(agent, a_turn(f"message {number}"))
    memory, thread = ThreadMemory(redis, 1), str(a_turn("x").thread)
    config: Any = {"configurable": {"thread_id": thread}}
    (newest,) = [each async for each in memory.alist(config)]
    assert len(newest.checkpoint["channel_values"]["messages"]) == 4
    assert await memory.aget_tuple(newest.config) == newest
    assert await memory.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_id": "x"}}) is None
    with pytest.raises(ValueError, match="one checkpoint only"):
        _ = [each async for each in memory.alist(config, before=newest.config)]


async def test_memory_works_in_a_redis_that_came_back_empty(redis: Redis, model: ModelServer) -> None:
    """Without the indices for documents of earlier versions, too."""
    async with an_agent(redis, model) as agent:
        await redis.flushall()
        await text_of(agent, a_turn("hi"))
        await agent.forget(str(a_turn("x").thread), frozenset(), wholly=True)
    assert await redis.keys("checkpoint*") == []


async def test_a_turn_reads_its_memory_once_and_writes_it_after_each_step(
    redis: Redis, model: ModelServer
) -> None:
    """Once before the model and once after it; a tool's result is added, and no search is needed."""
    looks = Script(tool_calls=[("sql_query", {"query": "1"}), ("sql_query", {"query": "2"})])
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("first"))
        await redis.config_resetstat()
        await text_of(agent, a_turn("text"))
        assert await _commands(redis) == {"mget": 1, "multi": 2, "exec": 2, "set": 2}
        model.script(looks, "Done.")
        await redis.config_resetstat()
        await text_of(agent, a_turn("two tools"))
        assert await _commands(redis) == {
            "mget": 1,
            "multi": 7,
            "exec": 7,
            "set": 5,
            "append": 2,
            "expire": 2,
        }


async def _commands(redis: Redis) -> dict[str, int]:
    stats: dict[str, Any] = await redis.info("commandstats")
    made = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    of_connections = ("client", "config", "hello", "info", "ping")
    return {name: calls for name, calls in made.items() if not name.startswith(of_connections)}


async def test_offline_model_is_honest_and_remembers(redis: Redis) -> None:
    """Without a model the bot says so, and can say what was asked before in this thread."""
    async with an_agent(redis, None) as agent:
        assert "offline" in await text_of(agent, a_turn("What is our refund policy?"))
        second = await text_of(agent, a_turn("and now?"))
    assert "offline" in second
    assert "What is our refund policy?" in second


async def test_offline_model_calls_the_sql_tool(redis: Redis) -> None:
    """`SQL:` runs the query as given, and the answer is what the tool returned, or its error."""
    attempts: list[str] = []
    async with an_agent(redis, None, tools=[query_tool(attempts)]) as agent:
        assert await text_of(agent, a_turn("SQL: select 42")) == "| rows of select 42 |"
        assert "syntax error" in await text_of(agent, a_turn("sql: wrong"))
    assert attempts == ["select 42", "wrong"]


async def test_offline_model_remembers_through_summaries(redis: Redis) -> None:
    """Questions that were cut from the history are still known."""
    async with an_agent(redis, None) as agent:
        for number in range(MOST_MESSAGES):
            await text_of(agent, a_turn(f"question {number}"))
        last = await text_of(agent, a_turn("what did I ask?"))
    assert f"question {MOST_MESSAGES - 1}" in last


async def test_answer_that_was_not_yet_committed_is_replayed_once(redis: Redis, model: ModelServer) -> None:
    """Cut off right after the model's last word, the next attempt shows the text once, from memory."""
    model.script("The whole answer.")
    async with an_agent(redis, model) as agent:
        async with aclosing(cast("Any", agent.answer(a_turn("hi")))) as answer:
            async for part in answer:
                if part.text.endswith(" answer."):
                    break
        again = await text_of(agent, a_turn("hi", attempt=2))
    assert again in ("The whole answer.", "You wrote: hi (message 1 of this conversation).")
    assert len(model.requests) == (1 if again == "The whole answer." else 2)


async def test_calls_get_ids_of_our_own(redis: Redis, model: ModelServer) -> None:
    """A service that begins its ids anew in each answer does not mix the results of two rounds."""
    calls = [("sql_query", {"query": "select 1"}), ("sql_query", {"query": "select 2"})]
    model.script(*(Script(tool_calls=[call], call_ids=("call_0",)) for call in calls), "Both.")
    async with an_agent(redis, model) as agent:
        parts = await parts_of(agent, a_turn("count"))
    ids = {part.id for part in parts if isinstance(part, ToolStep)}
    assert len(ids) == 2
    results = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "tool"]
    assert results == [mark("sql_query", f"| rows of select {number} |") for number in (1, 2)]


async def test_what_a_service_wants_back_is_remembered(redis: Redis, model: ModelServer) -> None:
    """Fields that only the service knows go through Redis and back to it, turns later and after a restart."""
    signature = {"google": {"thought_signature": "c2lnbmF0dXJl"}}
    called = call('{"query": "select 1"}', extra_content=signature)
    model.script(Script(wire=stream(chunk({"reasoning_content": "hm"}), calls(called))), "It is 1.")
    async with an_agent(redis, model) as agent:
        assert await text_of(agent, a_turn("count")) == "It is 1."
    async with an_agent(redis, model) as agent:
        await text_of(agent, a_turn("again"))
    assistant = model.requests[-1]["messages"][2]
    assert assistant["reasoning_content"] == "hm"
    assert assistant["tool_calls"][0]["extra_content"] == signature


def test_a_question_in_the_memory_that_nothing_is_left_to_answer_is_asked_again() -> None:
    """A Redis that died may lose a step: the turn would end without a word. An answer is kept."""

    def state(*messages: AnyMessage) -> StateSnapshot:
        return StateSnapshot({"messages": list(messages)}, (), {}, None, None, None, (), ())

    question = HumanMessage("how much is it?", id="q")
    assert plan_repetition(state(question), "q", []) is None
    answered = plan_repetition(state(question, AIMessage("42", id="a")), "q", [])
    assert answered
    assert answered.is_over
    assert answered.earlier == [Text("42")]
