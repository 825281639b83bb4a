"""Model services as they are: whatever one sends, people read one complete answer or one true sentence."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool
from pydantic import SecretStr

from bot.agent.calls import MOST_CALLS
from bot.agent.completion import LONGEST_ANSWER
from bot.agent.graph import Context, build_graph
from bot.agent.model import Model
from bot.agent.openai_model import open_model
from bot.chat import AnswerError, Notice, Part, Text, ThreadId, Turn
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.model_quirks import QUIRKS, TOO_LONG, Quirk, call, calls, chunk, error, stream, text

TURN = Turn(id="question", thread=ThreadId("test", "space", "channel"), messages=())


@dataclass(slots=True)
class Bench:
    """A model with one tool that notes its queries."""

    model: Model
    tools: Sequence[BaseTool]
    queries: list[str] = field(default_factory=list)
    shown: list[Part] = field(default_factory=list)

    async def ask(self, messages: Sequence[AnyMessage] = (), **options: Any) -> dict[str, Any]:
        """Run one turn; returns the state it left. Raises `AnswerError`."""
        settings = {"max_iterations": 5, "history_tokens": 8000, "checkpointer": None} | options
        graph = build_graph(self.model, self.tools, **settings)
        begin: Any = {"messages": [*messages, HumanMessage("hi", id="question")], "iterations": 0}
        left: dict[str, Any] = {}
        stream: AsyncIterator[Any] = graph.astream(
            begin, context=Context(TURN), stream_mode=["custom", "values"]
        )
        async for mode, value in stream:
            if mode == "custom":
                self.shown.append(value)
            else:
                left = value
        return left

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.shown if isinstance(part, Text))

    @property
    def notices(self) -> list[str]:
        return [part.text for part in self.shown if isinstance(part, Notice)]


@asynccontextmanager
async def a_bench(
    model: ModelServer, *, name: str = "m", fallback: str | None = None, timeout: float = 5
) -> AsyncIterator[Bench]:
    queries: list[str] = []

    @tool
    async def sql_query(query: str) -> str:
        """Run a query."""
        queries.append(query)
        return "| 42 |"

    async with open_model(
        name=name,
        fallback=fallback,
        api_key=SecretStr(KEY),
        base_url=model.base_url,
        timeout=timeout,
        tools=[sql_query],
        pause=0.01,
    ) as asked:
        yield Bench(asked, [sql_query], queries)


def serve(model: ModelServer, quirk: Quirk) -> None:
    model.script(*(Script(wire=wire) for wire in quirk.wires))
    last = quirk.then or Script(wire=quirk.wires[-1])
    model.respond = lambda request: last


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
async def test_one_answer_or_one_true_sentence(model: ModelServer, quirk: Quirk) -> None:
    """The row says what is read, how many requests that takes and which calls run; health counts failures."""
    serve(model, quirk)
    timeout = 0.3 if any(wire.ending == "hang" for wire in quirk.wires) else 5
    async with a_bench(model, timeout=timeout) as bench:
        if quirk.status is None:
            state = await bench.ask()
            assert bench.text == quirk.reads
            assert state["messages"][-1].text == (quirk.reads if not quirk.notice else "It is 42.")
            assert not bench.notices if not quirk.notice else quirk.notice in "".join(bench.notices)
        else:
            with pytest.raises(AnswerError, match=quirk.reads) as refused:
                await bench.ask()
            assert (refused.value.status, bench.text) == (quirk.status, "")
    assert (len(model.requests), bench.queries) == (quirk.requests, list(quirk.queries))
    assert not model.unused


FAILING = [quirk for quirk in QUIRKS if quirk.status is not None]


@pytest.mark.parametrize("quirk", FAILING, ids=lambda quirk: quirk.name)
async def test_every_failure_asks_the_fallback_model(model: ModelServer, quirk: Quirk) -> None:
    """Whatever the first model's service sends in place of an answer, the other model's answer is read."""
    last = Script(wire=quirk.wires[-1])
    model.respond = lambda request: "From the spare." if request["model"] == "spare" else last
    timeout = 0.3 if any(wire.ending == "hang" for wire in quirk.wires) else 5
    async with a_bench(model, fallback="spare", timeout=timeout) as bench:
        await bench.ask()
    assert bench.text == "From the spare."
    assert [each["model"] for each in model.requests] == ["m"] * quirk.requests + ["spare"]


async def test_failures_of_a_service_are_counted_in_health(model: ModelServer) -> None:
    """A body that is no answer counts as much as a status; an answer that a filter withheld does not."""
    async with a_bench(model) as bench:
        for wire in (rows()["200 and HTML"].wires[-1], rows()["500"].wires[-1]):
            model.respond = lambda request, wire=wire: Script(wire=wire)  # type: ignore[misc]  # bound at once
            with pytest.raises(AnswerError):
                await bench.ask()
            health = await bench.model.health()
            assert health.state == "degraded"
        assert health.evidence["errors"] == "5 of 5"
        model.respond = lambda request: "Fine."
        await bench.ask()
        model.respond = lambda request: Script(wire=rows()["withheld by the filter"].wires[-1])
        with pytest.raises(AnswerError):
            await bench.ask()
        assert (await bench.model.health()).state == "ok"


def rows() -> dict[str, Quirk]:
    return {quirk.name: quirk for quirk in QUIRKS}


async def test_health_repeats_nothing_that_a_service_says(model: ModelServer) -> None:
    """A service may repeat what was asked; the kind of the error is enough."""
    model.respond = lambda request: Script(wire=error(422, "unexpected input: 'my secret'", "invalid"))
    async with a_bench(model) as bench:
        with pytest.raises(AnswerError):
            await bench.ask()
        assert (await bench.model.health()).evidence["last_error"] == "422 invalid"


async def test_answers_share_a_connection(model: ModelServer) -> None:
    """Each new one would cost two journeys more; the sign of the end is not the end of the body."""
    async with a_bench(model) as bench:
        for _ in range(3):
            await bench.ask()
    assert len(model.peers) == 1


async def test_a_wait_that_fits_is_kept(model: ModelServer) -> None:
    """The service is not asked again before the time that it names."""
    times: list[float] = []

    def respond(request: dict[str, Any]) -> Script | str:
        times.append(asyncio.get_running_loop().time())
        return Script(status=429, retry_after=0.4) if len(times) == 1 else "Now."

    model.respond = respond
    async with a_bench(model) as bench:
        await bench.ask()
    assert bench.text == "Now."
    assert times[1] - times[0] >= 0.4


async def test_waits_do_not_add_up_beyond_the_limit(model: ModelServer) -> None:
    """Each wait would fit; together they would keep the person waiting in silence."""
    model.respond = lambda request: Script(status=429, retry_after=0.4)
    async with a_bench(model, timeout=0.6) as bench:
        with pytest.raises(AnswerError, match="no capacity") as refused:
            await bench.ask()
    assert refused.value.status == 429
    assert len(model.requests) == 2


async def test_a_busy_model_is_not_waited_for_while_another_is_free(model: ModelServer) -> None:
    model.respond = lambda request: (
        "From the spare." if request["model"] == "spare" else Script(status=429, retry_after=20)
    )
    async with a_bench(model, fallback="spare", timeout=60) as bench:
        await bench.ask()
    assert bench.text == "From the spare."
    assert len(model.requests) == 2


async def test_the_setting_of_the_fallback_model_is_named(model: ModelServer) -> None:
    """Whoever reads the sentence changes the variable that is wrong."""
    wire = rows()["404 for the model"].wires[0]
    model.respond = lambda request: Script(wire=wire) if request["model"] == "spare" else Script(status=500)
    async with a_bench(model, fallback="spare") as bench:
        with pytest.raises(AnswerError, match="OPENAI_FALLBACK_MODEL"):
            await bench.ask()


async def test_a_service_that_is_not_there_is_told_as_such() -> None:
    server = ModelServer()
    server.base_url = "http://127.0.0.1:1/v1"
    async with a_bench(server) as bench:
        with pytest.raises(AnswerError, match="cannot reach") as refused:
            await bench.ask()
    assert refused.value.status == 503


@pytest.mark.parametrize("quirk", TOO_LONG, ids=lambda quirk: quirk.name)
async def test_a_context_that_is_too_long_is_shortened_and_asked_once_more(
    model: ModelServer, quirk: Quirk
) -> None:
    """The second request holds half of the history at most, and the newest question whole."""
    sizes: list[int] = []

    def respond(request: dict[str, Any]) -> Script | str:
        sizes.append(sum(len(str(each["content"])) for each in request["messages"][1:]))
        return Script(wire=quirk.wires[0]) if len(sizes) == 1 else "It fits."

    model.respond = respond
    earlier: list[AnyMessage] = [
        each
        for number in range(8)
        for each in (HumanMessage(f"question {number} " + "word " * 100), AIMessage("answer " * 50))
    ]
    async with a_bench(model) as bench:
        await bench.ask(earlier)
    assert bench.text == "It fits."
    assert len(sizes) == 2
    assert sizes[1] <= sizes[0] / 2
    assert model.requests[-1]["messages"][-1]["content"] == "hi"


async def test_a_context_that_stays_too_long_is_told(model: ModelServer) -> None:
    """After one shortening there is no other."""
    model.respond = lambda request: Script(wire=TOO_LONG[0].wires[0])
    async with a_bench(model) as bench:
        with pytest.raises(AnswerError, match="start a new thread"):
            await bench.ask([HumanMessage("word " * 500), AIMessage("word " * 500)])
    assert len(model.requests) == 2


async def test_what_came_with_a_call_goes_back_with_it(model: ModelServer) -> None:
    """Gemini wants its signature back, DeepSeek the thinking, OpenRouter its details: each where it was."""
    signature = {"google": {"thought_signature": "c2lnbmF0dXJl"}}
    details = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
    called = calls(call('{"query": "select 1"}', extra_content=signature))
    model.script(
        Script(
            wire=stream(
                chunk({"reasoning_content": "First "}),
                chunk({"reasoning_content": "look.", "reasoning_details": details}),
                called,
            )
        ),
        "It is 42.",
    )
    async with a_bench(model) as bench:
        state = await bench.ask()
        assistant = model.requests[-1]["messages"][-2]
        assert assistant["reasoning_content"] == "First look."
        assert assistant["reasoning_details"] == details
        assert assistant["tool_calls"][0]["extra_content"] == signature
        model.script("Again.")
        await bench.ask(state["messages"])  # a later turn of the thread
        assert model.requests[-1]["messages"][2]["tool_calls"][0]["extra_content"] == signature
    async with a_bench(model, name="other") as bench:
        await bench.ask(state["messages"])
    assert "signature" not in json.dumps(model.requests[-1]["messages"])


@pytest.mark.parametrize(
    ("refusal", "field"),
    [
        ("property 'reasoning_content' is unsupported", "reasoning_content"),
        ('Unknown name "extra_content": Cannot find field.', "extra_content"),
        ("Unrecognized request argument supplied: stream_options", "stream_options"),
    ],
)
async def test_a_field_that_a_service_refuses_is_left_out_from_then_on(
    model: ModelServer, refusal: str, field: str
) -> None:
    """It costs one request in the life of a process, and no word to the person."""

    def respond(request: dict[str, Any]) -> Script | str:
        return Script(wire=error(400, refusal)) if field in json.dumps(request) else "It is 42."

    model.respond = respond
    first = stream(
        chunk({"reasoning_content": "hm"}), calls(call('{"query": "select 1"}', extra_content={"a": 1}))
    )
    async with a_bench(model) as bench:
        if field != "stream_options":
            model.script(Script(wire=first))
        await bench.ask()
        assert bench.text == "It is 42."
        asked = len(model.requests)
        await bench.ask()
        assert len(model.requests) == asked + 1
        assert (await bench.model.health()).state == "ok"


async def test_thinking_that_a_service_misses_is_sent_empty(model: ModelServer) -> None:
    """DeepSeek refuses a call without its thinking: threads of other models have none."""

    def respond(request: dict[str, Any]) -> Script | str:
        called = [each for each in request["messages"] if each.get("tool_calls")]
        if all("reasoning_content" in each for each in called):
            return "It is 42."
        return Script(wire=error(400, "Missing `reasoning_content` field in the assistant message"))

    model.respond = respond
    async with a_bench(model) as bench:
        await bench.ask(an_old_thread())
    assert bench.text == "It is 42."


async def test_messages_in_a_row_become_one_for_a_template_that_wants_turns(model: ModelServer) -> None:
    def respond(request: dict[str, Any]) -> Script | str:
        roles = [each["role"] for each in request["messages"][1:]]
        if any(pair == ("user", "user") for pair in itertools.pairwise(roles)):
            return Script(wire=error(400, "Conversation roles must alternate user/assistant/user/…"))
        return f"You wrote {request['messages'][-1]['content']}"

    model.respond = respond
    async with a_bench(model) as bench:
        await bench.ask([HumanMessage("one")])
    assert bench.text == "You wrote one\n\nhi"


def an_old_thread() -> list[AnyMessage]:
    """A thread as earlier versions stored it: long ids, also such as came from services, and one decided."""
    messages: list[AnyMessage] = [HumanMessage("count", id="q1")]
    for id in ("call_0123456789abcdef01234567", "call_0", "decided_7f3a9c21"):
        called = ToolCall(name="sql_query", args={"query": "select 1"}, id=id, type="tool_call")
        messages += [
            AIMessage("", tool_calls=[called], id=f"run--{id}", response_metadata={"finish_reason": "stop"}),
            ToolMessage("| 1 |", tool_call_id=id, name="sql_query", id=f"result_{id}"),
        ]
    return [*messages, AIMessage("1", id="run--2")]


async def test_threads_of_earlier_versions_go_on(model: ModelServer) -> None:
    """The server refuses ids that not every service takes: none of the stored ones reaches it."""
    async with a_bench(model) as bench:
        await bench.ask(an_old_thread())
    assert bench.text.startswith("You wrote: hi")
    results = [each["tool_call_id"] for each in model.requests[0]["messages"] if each["role"] == "tool"]
    assert len(set(results)) == 3


async def test_half_of_a_character_in_a_message_reaches_the_service(model: ModelServer) -> None:
    """What a file or a person brings must not end the turn."""
    async with a_bench(model) as bench:
        await bench.ask([HumanMessage("broken \ud83d"), AIMessage("ok")])
    assert model.requests[0]["messages"][1]["content"] == "broken ?"


async def test_a_template_that_opens_the_thinking_is_learned(model: ModelServer) -> None:
    """The first answer shows the thinking and says so; from the second on it is kept back."""
    thoughts = [quirk for quirk in QUIRKS if quirk.name == "thinking that the template opens"]
    model.respond = lambda request: Script(wire=thoughts[0].wires[0])
    async with a_bench(model) as bench:
        await bench.ask()
        assert bench.notices
        bench.shown.clear()
        await bench.ask()
    assert (bench.text, bench.notices) == ("It is 42.", [])
    async with a_bench(model, name="deepseek-r1:70b") as bench:
        await bench.ask()
        assert (bench.text, bench.notices) == ("It is 42.", [])
        model.respond = lambda request: "No thinking."
        for _ in range(2):
            bench.shown.clear()
            await bench.ask()
        assert bench.shown == [Text("No"), Text(" thinking.")]


async def test_an_answer_without_end_is_cut(model: ModelServer) -> None:
    """The person gets as much as anybody reads and a word about it, and the connection is closed."""
    flood = stream(*[text("word " * 2000)] * 50, done=False, ending="hang")
    model.script(Script(wire=flood))
    async with a_bench(model) as bench:
        await bench.ask()
    assert len(bench.text) == LONGEST_ANSWER
    assert "length limit" in bench.notices[0]


async def test_more_calls_than_anybody_waits_for_are_not_run(model: ModelServer) -> None:
    many = [calls(call('{"query": "select 1"}', index=index, id=f"c{index}")) for index in range(100)]
    model.script(Script(wire=stream(*many)), "Enough.")
    async with a_bench(model) as bench:
        await bench.ask()
    assert (len(bench.queries), bench.text) == (MOST_CALLS, "Enough.")


async def test_an_unreadable_call_tells_the_model_what_to_do(model: ModelServer) -> None:
    """It gets a result as every call does, and the model is asked again with it."""
    model.script(Script(wire=rows()["arguments that cannot be read"].wires[0]), "Sorry.")
    async with a_bench(model) as bench:
        await bench.ask()
    result = model.requests[-1]["messages"][-1]
    assert result["role"] == "tool"
    assert "not a JSON object" in result["content"]
    assert "Call again" in result["content"]


async def test_requests_are_built_by_the_method_that_we_rely_on(model: ModelServer) -> None:
    """`ChatOpenAI._get_request_payload` is private: this fails when a new version changes it."""
    async with a_bench(model, name="o3") as bench:
        await bench.ask(an_old_thread()[:3])
    request = model.requests[0]
    assert request.keys() == {"model", "messages", "stream", "stream_options", "tools"}
    assert [each["role"] for each in request["messages"]] == [
        "developer",
        "user",
        "assistant",
        "tool",
        "user",
    ]
    (called,) = request["messages"][2]["tool_calls"]
    assert called["function"] == {"name": "sql_query", "arguments": '{"query": "select 1"}'}
    assert request["messages"][2]["content"] is None
