"""Clients of OpenAI's API: the official client, over the same agent as `POST /chat`."""

import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest
from openai import APIError, AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletionChunk
from redis.asyncio import Redis

from bot.app import Bot
from tests.servers.model import KEY, ModelServer, Script, model_server
from tests.support.bot import http_port, run_bot
from tests.support.files import PICTURE

TOKEN = "token-of-the-test"


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with model_server() as model:
        yield model


@pytest.fixture
async def bot(redis_url: str, redis: Redis, model: ModelServer) -> AsyncIterator[Bot]:
    service = {"openai_api_key": KEY, "openai_base_url": model.base_url, "openai_model": "main-model"}
    async with run_bot(redis_url=redis_url, api_token=TOKEN, **service) as bot:
        yield bot


@pytest.fixture
async def client(bot: Bot) -> AsyncIterator[AsyncOpenAI]:
    url = f"http://127.0.0.1:{http_port(bot)}/v1"
    async with AsyncOpenAI(api_key=TOKEN, base_url=url) as client:
        yield client


async def ask(client: AsyncOpenAI, *messages: tuple[str, str], thread: str = "") -> str:
    given = [{"role": role, "content": text} for role, text in messages]
    headers = {"X-Thread-Id": thread} if thread else {}
    answer = await client.chat.completions.create(
        model="threadmate",
        messages=given,  # type: ignore[arg-type]
        extra_headers=headers,
    )
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


async def streamed(client: AsyncOpenAI, text: str) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(
        model="threadmate", messages=[{"role": "user", "content": text}], stream=True
    )
    return [chunk async for chunk in stream]


def last_question(model: ModelServer) -> str:
    content = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"][-1]
    return content if isinstance(content, str) else "".join(each.get("text", "") for each in content)


async def test_the_agent_is_the_only_model(client: AsyncOpenAI) -> None:
    assert [each.id async for each in await client.models.list()] == ["threadmate"]
    assert (await client.models.retrieve("threadmate")).owned_by == "threadmate"
    for name in ("gpt-5", "a/b"):
        with pytest.raises(NotFoundError):
            await client.models.retrieve(name)
    with pytest.raises(NotFoundError) as caught:
        await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    assert "threadmate" in caught.value.message


async def test_a_thread_is_remembered_by_the_bot(client: AsyncOpenAI, model: ModelServer) -> None:
    """By header or by `user`; what the client repeats is not given again."""
    model.script("Hello Ada.", "You are Ada.", "You are Ada, still.")
    assert await ask(client, ("user", "I am Ada."), thread="t1") == "Hello Ada."
    history = ("user", "I am Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?")
    assert await ask(client, *history, thread="t1") == "You are Ada."
    texts = [str(each["content"]) for each in model.requests[-1]["messages"]]
    assert sum("I am Ada." in each for each in texts) == 1
    again = await client.chat.completions.create(
        model="threadmate", messages=[{"role": "user", "content": "Who?"}], user="t1"
    )
    assert again.choices[0].message.content == "You are Ada, still."
    assert len(model.requests[-1]["messages"]) == len(texts) + 2


async def test_without_a_thread_the_request_is_the_whole_conversation(
    client: AsyncOpenAI, model: ModelServer
) -> None:
    model.script("You are Ada.", "I do not know.")
    history = (("system", "Be short."), ("user", "I am Ada."), ("assistant", "Hello."), ("user", "Who am I?"))
    assert await ask(client, *history) == "You are Ada."
    assert all(text in last_question(model) for _, text in history)
    await ask(client, ("user", "Who am I?"))
    assert "Ada" not in str(model.requests[-1]["messages"])
    assert last_question(model).endswith("Who am I?")


async def test_an_answer_is_streamed_in_chunks(client: AsyncOpenAI, model: ModelServer) -> None:
    model.script("One two three.\n\nFour.")
    chunks = await streamed(client, "count")
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "One two three.\n\nFour."
    assert [each.choices[0].delta.role for each in chunks].count("assistant") == 1
    assert [each.choices[0].finish_reason for each in chunks if each.choices[0].finish_reason] == ["stop"]
    assert len({each.id for each in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails_is_an_error_that_is_not_tried_again(
    client: AsyncOpenAI, model: ModelServer, stream: bool
) -> None:
    """The bot has tried already, and each try would be another turn."""
    model.respond = lambda request: Script(status=401)
    with pytest.raises(APIError) as caught:
        await (streamed(client, "x") if stream else ask(client, ("user", "x")))
    assert caught.value.type == "server_error"
    assert len(model.requests) == 1


async def test_pictures_and_files_reach_the_agent(client: AsyncOpenAI, model: ModelServer) -> None:
    model.script("A picture and a text.")
    picture = base64.b64encode(PICTURE).decode()
    notes = base64.b64encode(b"what the notes say").decode()
    await client.chat.completions.create(
        model="threadmate",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                    {"type": "file", "file": {"filename": "notes.txt", "file_data": notes}},
                ],
            }
        ],
    )
    assert "what the notes say" in last_question(model)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "role “user”"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": " "}]}, "at least 1 character"),
        ({"messages": [{"role": "user", "content": "x" * 32_001}]}, "more than 32,000 characters"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 2}, "n:"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]}, "its own tools"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}],
                    }
                ]
            },
            "data: URLs",
        ),
    ],
)
async def test_a_request_that_cannot_be_answered_says_why_in_the_form_of_openai(
    client: AsyncOpenAI, model: ModelServer, body: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await client.post("/chat/completions", body={"model": "threadmate", **body}, cast_to=object)
    assert sentence in caught.value.message
    assert caught.value.type == "invalid_request_error"
    assert not model.requests


async def test_a_wrong_key_and_an_unknown_path_are_errors_of_that_form(bot: Bot, client: AsyncOpenAI) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await client.with_options(api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    url = f"http://127.0.0.1:{http_port(bot)}/v1/nothing"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        assert (response.status, (await response.json())["error"]["type"]) == (404, "invalid_request_error")


async def test_what_other_clients_send_has_no_effect(client: AsyncOpenAI, model: ModelServer) -> None:
    """As LangChain and LibreChat do: settings of a model, names, and messages without a text."""
    model.script("Hello.")
    earlier: list[object] = [
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": "hi", "name": "ada"},
        {"role": "assistant", "content": None, "refusal": None, "audio": None, "tool_calls": []},
    ]
    body: dict[str, object] = {
        "model": "threadmate",
        "messages": [*earlier, {"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": None,
        "user": None,
        "tools": [],
        "temperature": 0.2,
        "max_tokens": 5,
        "max_completion_tokens": 5,
        "top_p": 1,
        "stop": ["x"],
        "logit_bias": {},
        "seed": 1,
        "response_format": {"type": "text"},
        "metadata": {"a": "b"},
        "reasoning_effort": "low",
        "tool_choice": "none",
        "extra_body": {"unknown": [{}]},
    }
    stream = await client.chat.completions.create(**body)  # type: ignore[call-overload]
    text = "".join([each.choices[0].delta.content or "" async for each in stream])
    assert text == "Hello."
    assert "Be short." in last_question(model)
