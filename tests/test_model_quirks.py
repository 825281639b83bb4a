"""Model services as they are: whatever one sends, people read one complete answer or one true sentence."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from bot.agent.models.completion import LONGEST_ANSWER
from bot.agent.models.credentials import check_model_service
from bot.agent.models.tool_calls import MOST_CALLS
from bot.chat import AnswerError, Text
from tests.servers.model import ModelServer, Script
from tests.servers.model_quirks import (
    ONE,
    QUIRKS,
    TOO_LONG,
    Quirk,
    body,
    call,
    calls,
    chunk,
    error,
    stream,
    text,
)
from tests.support.graph import a_bench


def serve(model: ModelServer, quirk: Quirk) -> None:
    model.script(*(Script(wire=wire) for wire in quirk.wires))
    last = quirk.then or Script(wire=quirk.wires[-1])
    model.respond = lambda request: last


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.name)
async def test_one_answer_or_one_true_sentence(model: ModelServer, quirk: Quirk) -> None:
    """The row says what is read, how many requests that takes and which calls run; health counts failures."""
    serve(model, quirk)
    async with a_bench(model, timeout=quirk.timeout) as bench:
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
    async with a_bench(model, fallback="spare", timeout=quirk.timeout) as bench:
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


async def test_a_key_that_a_service_repeats_is_logged_as_it_is_spelt(
    model: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log hides secrets that it knows, and in lower case it would know none."""
    key = "Ab3dEf6hIj9kLm2nOp"
    for wire in (error(401, f"Received key: {key}"), body({"error": {"message": f"Received key: {key}"}})):
        model.respond = lambda request, wire=wire: Script(wire=wire)  # type: ignore[misc]  # bound at once
        async with a_bench(model) as bench:
            with pytest.raises(AnswerError) as refused:
                await bench.ask()
        assert key.lower() not in str(refused.value).lower()
    errors = [str(vars(record)["error"]) for record in caplog.records if record.msg == "model call failed"]
    assert len(errors) >= 2
    assert all(key in each for each in errors)


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
    model.respond = lambda request: Script(status=429, retry_after=1)
    async with a_bench(model, timeout=1.9) as bench:
        with pytest.raises(AnswerError, match="is overloaded") as refused:
            await bench.ask()
        limited = await bench.model.health()
    assert refused.value.status == 429
    assert len(model.requests) == 2
    assert limited.evidence["rate_limited_s"] == 1, "the presence on Discord says until when"


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


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/v1", "http://.../v1", "http://" + "a" * 64 + ".de"])
async def test_a_service_that_is_not_there_is_told_as_such(address: str) -> None:
    """Nor does the first look at it end the start."""
    await check_model_service(api_key=None, base_url=address, models=())
    server = ModelServer()
    server.base_url = address
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


async def test_a_template_that_opens_the_thinking_is_learned(model: ModelServer) -> None:
    """The first answer shows the thinking and says so; from the second on it is kept back."""
    thoughts = [quirk for quirk in QUIRKS if quirk.name == "thinking that the template opens"]
    model.respond = lambda request: Script(wire=thoughts[0].wires[0])
    async with a_bench(model) as bench:
        await bench.ask()
        assert bench.notices
        bench.parts.clear()
        await bench.ask()
    assert (bench.text, bench.notices) == ("It is 42.", [])
    async with a_bench(model, name="deepseek-r1:70b") as bench:
        await bench.ask()
        assert (bench.text, bench.notices) == ("It is 42.", [])
    model.respond = lambda request: Script(text="No thinking.", pace=0.1)
    async with a_bench(model, name="deepseek-r1:70b") as bench:  # its service takes the thinking out
        for _ in range(2):
            bench.parts.clear()
            await bench.ask()
        assert bench.parts == [Text("No"), Text(" thinking.")]


async def test_nobody_ends_the_streaming_for_everybody(model: ModelServer) -> None:
    """A model that is asked to write the end of a thinking is not held back for ever."""
    model.script(
        "Say: </think> fine.", "One answer comes whole.", Script(text="The next one streams.", pace=0.1)
    )
    async with a_bench(model) as bench:
        for _ in range(3):
            bench.parts.clear()
            await bench.ask()
        assert (bench.text, len(bench.parts)) == ("The next one streams.", 4)


async def test_an_answer_without_end_is_cut(model: ModelServer) -> None:
    """The person gets as much as anybody reads and a word about it, and the connection is closed."""
    flood = stream(*[text("word " * 2000)] * 50, done=False, ending="hang")
    model.script(Script(wire=flood))
    async with a_bench(model) as bench:
        await bench.ask()
    assert len(bench.text) == LONGEST_ANSWER
    assert "length limit" in bench.notices[0]


@pytest.mark.parametrize("tag", ["<think>", "text <think>"])
async def test_a_thinking_without_end_is_cut(model: ModelServer, tag: str) -> None:
    """Text that is held back takes memory, too."""
    model.script(
        Script(wire=stream(text(tag), *[text("word " * 20_000)] * 20, done=False, ending="hang")), "x"
    )
    async with a_bench(model) as bench:
        if tag == "<think>":
            with pytest.raises(AnswerError, match="length limit"):
                await bench.ask()
        else:
            await bench.ask()
            assert len(bench.text) == LONGEST_ANSWER
    assert len(model.requests) == 1


async def test_a_thinking_without_end_in_its_own_field_is_cut(model: ModelServer) -> None:
    """A model that repeats itself would hold its thread for as long as a turn may take."""
    thought = chunk({"reasoning": "well " * 4_000, "reasoning_content": "well " * 4_000})
    model.script(Script(wire=stream(*[thought] * 30, done=False, ending="hang")))
    async with a_bench(model, timeout=60) as bench:
        with pytest.raises(AnswerError, match="length limit"):
            await bench.ask()
    assert len(model.requests) == 1


async def test_arguments_without_end_are_cut(model: ModelServer) -> None:
    """The call gets an error result, the one before it is run, and the connection is closed."""
    blanks = [calls(call(" " * 20_000, index=1, id=None, name=None)) for _ in range(20)]
    begun = calls(call(ONE, index=0), call('{"query": "select 2', index=1, id="call_2"))
    model.script(Script(wire=stream(begun, *blanks, done=False, ending="hang")), "Enough.")
    async with a_bench(model, timeout=60) as bench:
        await bench.ask()
    assert (bench.queries, bench.text) == (["select 1"], "Enough.")
    assert "Call again with less" in model.requests[-1]["messages"][-1]["content"]


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
