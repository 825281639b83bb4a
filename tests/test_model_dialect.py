"""Requests as each service takes them: what goes back to it, what it refuses, and threads of old."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage

from bot.chat import AnswerError
from tests.servers.model import ModelServer, Script
from tests.servers.model_quirks import call, calls, chunk, error, stream
from tests.support.graph import a_bench


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


Request = dict[str, Any]


def has_thinking(request: Request) -> bool:
    called = [each for each in request["messages"] if each.get("tool_calls")]
    return all("reasoning_content" in each for each in called)


def has_signatures(request: Request) -> bool:
    called = [call for each in request["messages"] for call in each.get("tool_calls") or ()]
    return all("thought_signature" in json.dumps(each.get("extra_content")) for each in called)


def alternates(request: Request) -> bool:
    roles = [each["role"] for each in request["messages"]]
    return ("user", "user") not in itertools.pairwise(roles)


def is_bridged(request: Request) -> bool:
    roles = [each["role"] for each in request["messages"]]
    return ("tool", "user") not in itertools.pairwise(roles)


WISHES: dict[str, tuple[str, Callable[[Request], bool]]] = {
    "DeepSeek": (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        has_thinking,
    ),
    "DeepSeek before": ("Missing `reasoning_content` field in the assistant message", has_thinking),
    "Gemini": ("Function call is missing a thought_signature in functionCall parts.", has_signatures),
    "gpt-5.6": (
        "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use "
        "function tools, use /v1/responses or set reasoning_effort to 'none'.",
        lambda request: request.get("reasoning_effort") == "none",
    ),
    "Gemma": ("Conversation roles must alternate user/assistant/user/assistant/...", alternates),
    "Mistral": ("Unexpected role 'user' after role 'tool'", is_bridged),
    "no developer": (
        "messages[0].role: unknown variant `developer`, expected one of `system`, `user`",
        lambda request: request["messages"][0]["role"] == "system",
    ),
}


@pytest.mark.parametrize("name", WISHES)
async def test_what_a_service_wants_is_learned_from_its_refusal(model: ModelServer, name: str) -> None:
    """One request is refused in the life of a process; nobody reads of it, and nothing said is lost."""
    refusal, is_right = WISHES[name]
    model.respond = lambda request: "It is 42." if is_right(request) else Script(wire=error(400, refusal))
    called = ToolCall(name="sql_query", args={}, id="call00009", type="tool_call")
    cut_off: list[AnyMessage] = [
        AIMessage("", tool_calls=[called]),
        ToolMessage("| 2 |", tool_call_id="call00009"),
    ]
    thread: list[AnyMessage] = [*an_old_thread(), HumanMessage("one"), HumanMessage("two"), *cut_off]
    async with a_bench(model, name="o3") as bench:
        await bench.ask(thread)
        assert (bench.text, len(model.requests)) == ("It is 42.", 2)
        await bench.ask(thread)
    assert len(model.requests) == 3
    said = " ".join(str(each["content"]) for each in model.requests[-1]["messages"])
    assert [each in said for each in ("one", "two", "| 1 |", "hi")] == [True] * 4


async def test_a_lesson_that_does_not_help_is_told(model: ModelServer) -> None:
    """A service that refuses all the same is not asked for ever."""
    model.respond = lambda request: Script(wire=error(400, WISHES["Gemma"][0]))
    async with a_bench(model) as bench:
        with pytest.raises(AnswerError, match="refused this request"):
            await bench.ask()
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("reasoning_effort is not supported", "reasoning_effort"),
        ("the call is missing a thought_signature", "extra_content"),
    ],
)
async def test_nobody_can_teach_nonsense(model: ModelServer, words: str, field: str) -> None:
    """A service repeats what it refuses. Words of a person in it are not minded in everybody's requests."""

    def respond(request: dict[str, Any]) -> Script | str:
        if field in json.dumps(request):
            return Script(wire=error(400, f"Unknown field: {field}"))
        said = json.dumps(request["messages"])
        return Script(wire=error(400, f"This cannot be read: {said}")) if words in said else "It is 42."

    model.respond = respond
    async with a_bench(model) as bench:
        with pytest.raises(AnswerError, match="refused this request"):
            await bench.ask([HumanMessage(words)])
        await bench.ask(an_old_thread())
    assert bench.text == "It is 42."


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
    """Characters of a file or a person must not end the turn."""
    async with a_bench(model) as bench:
        await bench.ask([HumanMessage("broken \ud83d"), AIMessage("ok")])
    assert model.requests[0]["messages"][1]["content"] == "broken ?"


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


@pytest.mark.parametrize("address", ["", "/", "/?api-version=2024-10-21"])
async def test_an_address_keeps_its_query(model: ModelServer, address: str) -> None:
    """Azure's older addresses have the version there."""
    base, model.base_url = model.base_url, model.base_url + address
    async with a_bench(model) as bench:
        await bench.ask()
    model.base_url = base
    assert model.paths == ["/v1/chat/completions" + address.lstrip("/")]
