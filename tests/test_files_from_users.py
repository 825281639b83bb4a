"""The whole bot: files that people send on each platform, from their message to the model's request."""

import base64
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from PIL import Image
from redis.asyncio import Redis

from bot.app import Bot
from bot.http.errors import Refusal
from bot.http.files import SentFile, read_file, store_files
from bot.storage.files import FileStore
from tests.servers.discord.records import File as Upload
from tests.servers.discord.service import Discord
from tests.servers.model import KEY, ModelServer, Script
from tests.servers.slack.service import ALICE, GENERAL, Slack
from tests.support.bot import http_port, run_bot
from tests.support.documents import docx, paragraph, pptx, xlsx
from tests.support.files import PICTURE
from tests.support.settings import of_slack
from tests.support.wait import wait_until

OLD_DOCUMENT = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
CSV = b"month,revenue\r\nJanuary,4711\r\n"


@pytest.fixture
def settings(redis: Redis, redis_url: str, database_url: str, model: ModelServer) -> dict[str, Any]:
    """A bot with a model that can look at pictures, on an empty Redis."""
    model.respond = lambda request: "I have read it."
    return {
        "redis_url": redis_url,
        "database_url": database_url,
        "openai_api_key": KEY,
        "openai_base_url": model.base_url,
    }


def newest_question(model: ModelServer, at: int = -1) -> tuple[str, list[bytes]]:
    """The text and the pictures of the last question in a request."""
    content = [each["content"] for each in model.requests[at]["messages"] if each["role"] == "user"][-1]
    if isinstance(content, str):
        return content, []
    pictures = [each["image_url"]["url"] for each in content if each["type"] == "image_url"]
    [text] = [each["text"] for each in content if each["type"] == "text"]
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures)
    return text, [base64.b64decode(each.partition(",")[2]) for each in pictures]


async def test_files_on_slack_reach_the_model_and_what_cannot_be_read_is_said(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    settings |= of_slack(slack)
    files = [
        ("sales.csv", "text/csv", CSV),
        ("chart.png", "image/png", PICTURE),
        ("data.zip", "application/zip", b"PK\x03\x04" + bytes(40)),
    ]
    async with run_bot(**settings):
        await slack.wait_for_connections(2)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} what is in it?", files=files)
        answer = await slack.answer(GENERAL, ts, until=lambda text: "read it" in text)
    text, pictures = newest_question(model)
    assert text.startswith("what is in it?\n\n[data from the file sales.csv (29 bytes)]\n> ")
    assert "January,4711" in text
    assert "[Picture chart.png, 1 by 1 pixels]" in text
    [picture] = pictures
    assert Image.open(io.BytesIO(picture)).size == (1, 1)
    assert "I could not read data.zip: it is not one of the types that I can read: text" in answer
    assert "I have read it." in answer


async def test_documents_on_slack_and_discord_reach_the_model_as_text(
    settings: dict[str, Any], model: ModelServer, slack: Slack, discord: Discord
) -> None:
    settings |= of_slack(slack) | {"discord_token": discord.token, "discord_api_url": discord.url}
    files = [
        ("plan.docx", "application/octet-stream", docx(paragraph("The code is 4711."))),
        ("deck.pptx", "application/octet-stream", pptx(("The city", "is Bern"))),
        ("page.html", "text/html", b"<!doctype html><html><body><h1>The day is Monday</h1></body></html>"),
        ("old.doc", "application/msword", OLD_DOCUMENT),
    ]
    async with run_bot(**settings):
        await slack.wait_for_connections(2)
        await discord.wait_for_connections()
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} what is in it?", files=files)
        answer = await slack.answer(GENERAL, ts, until=lambda text: "read it" in text)
        asked, _ = newest_question(model)
        upload = Upload("sales.xlsx", xlsx({"Sales": [["month", "revenue"], ["May", 4711]]}))
        channel = discord.world.dm(discord.alice)
        await discord.say(discord.alice, channel, "what is it?", files=[upload])
        await wait_until(lambda: "sales.xlsx" in newest_question(model)[0], "the model is asked")
    assert "> The code is 4711." in asked
    assert "> ## Slide 1\n> \n> The city\n> is Bern" in asked
    assert "> # The day is Monday" in asked
    assert "I could not read old.doc: it has the format of an old version of Office; please save it" in answer
    assert "> | May | 4711 |" in newest_question(model)[0]


async def test_no_file_makes_the_bot_call_a_method_of_slack(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    """An app that shares a remote file chooses its address; the bot's token would go there."""
    settings |= of_slack(slack)
    address = f"{slack.api_url}chat.postMessage?channel=C0GENERAL&text=%3C!channel%3E"
    file = {"id": "F1", "name": "plan.txt", "mode": "external", "is_external": True, "external_url": address}
    event = {"type": "message", "channel": GENERAL, "channel_type": "channel", "user": ALICE}
    async with run_bot(**settings):
        await slack.wait_for_connections(2)
        ts = slack.send_message(event | {"text": f"{slack.mention} what is in it?", "files": [file]})
        answer = await slack.answer(GENERAL, ts, until=lambda text: "read it" in text)
    assert "I could not read plan.txt: it is not on the service's own servers." in answer
    assert not slack.count("chat.postMessage")


async def test_slacks_sign_in_page_is_not_taken_for_a_file(
    settings: dict[str, Any], model: ModelServer, slack: Slack
) -> None:
    settings |= of_slack(slack)
    page = ("notes.txt", "text/plain", b"<!DOCTYPE html><html><title>Sign in to Slack</title></html>")
    async with run_bot(**settings):
        await slack.wait_for_connections(2)
        ts = await slack.say(ALICE, GENERAL, f"{slack.mention} read it", files=[page])
        answer = await slack.answer(GENERAL, ts, until=lambda text: "have read" in text)
    assert "the app may lack the scope files:read" in answer
    assert "Sign in" not in newest_question(model)[0]


async def test_files_on_discord_reach_the_model_without_our_token(
    settings: dict[str, Any], model: ModelServer, discord: Discord
) -> None:
    """The server notes a violation when the token comes along."""
    settings |= {"discord_token": discord.token, "discord_api_url": discord.url}
    files = [Upload("notes.md", b"# Title\nThe code is 4711."), Upload("photo.png", PICTURE)]
    async with run_bot(**settings):
        await discord.wait_for_connections()
        await discord.say(discord.alice, discord.world.dm(discord.alice), "what is it?", files=files)
        await wait_until(lambda: bool(model.requests), "the model is asked")
    text, pictures = newest_question(model)
    assert "The code is 4711." in text
    assert len(pictures) == 1


@asynccontextmanager
async def client_of(bot: Bot) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http_port(bot)}") as client:
        yield client


def file_json(name: str, content: bytes) -> dict[str, str]:
    return {"name": name, "content_base64": base64.b64encode(content).decode()}


async def test_files_over_http_reach_the_model_and_pictures_only_in_their_own_turn(
    settings: dict[str, Any], model: ModelServer
) -> None:
    """The state has no bytes of a picture: each step of a turn would write them to Redis."""
    noise = io.BytesIO()
    Image.frombytes("RGB", (256, 256), os.urandom(256 * 256 * 3)).save(noise, "PNG")
    async with run_bot(**settings) as bot, client_of(bot) as client:
        body = {"message": "what is it?", "thread_id": "t1"}
        files = [file_json("sales.csv", CSV), file_json("noise.png", noise.getvalue())]
        async with client.post("/chat", json=body | {"files": files}) as response:
            assert (await response.json())["response"] == "I have read it."
        text, pictures = newest_question(model)
        assert "January,4711" in text
        assert len(pictures) == 1
        assert len(json.dumps(model.requests[-1])) > 30_000
        async with client.post("/chat", json=body | {"message": "and now?"}) as response:
            assert response.status == 200
    assert "image_url" not in json.dumps(model.requests[-1])
    assert "January,4711" in json.dumps(model.requests[-1])
    assert "[Picture noise.png, 256 by 256 pixels]" in json.dumps(model.requests[-1])


@pytest.mark.parametrize("text", [{"message": " "}, {}], ids=["empty", "missing"])
async def test_a_file_over_http_needs_no_text(
    settings: dict[str, Any], model: ModelServer, text: dict[str, str]
) -> None:
    async with run_bot(**settings) as bot, client_of(bot) as client:
        async with client.post("/chat", json=text | {"files": [file_json("sales.csv", CSV)]}) as response:
            assert (await response.json())["response"] == "I have read it."
        async with client.post("/chat", json=text | {"files": []}) as response:
            assert response.status == 400
            assert "message" in (await response.json())["message"]
    assert "January,4711" in newest_question(model)[0]


async def test_a_model_that_sees_no_pictures_is_shown_none_and_people_are_told(
    settings: dict[str, Any], model: ModelServer
) -> None:
    async with run_bot(**settings, openai_vision=False) as bot, client_of(bot) as client:
        body = {"message": "what is it?", "files": [file_json("photo.png", PICTURE)]}
        async with client.post("/chat", json=body) as response:
            answer = (await response.json())["response"]
    assert answer.startswith("I could not read photo.png: the model cannot process pictures.")
    assert newest_question(model)[1] == []


async def test_files_are_read_once_and_problems_said_again_when_a_turn_is_repeated(
    settings: dict[str, Any], model: ModelServer
) -> None:
    """The model's service ends the first attempt in a way that has the turn repeated from its state."""
    model.script(Script(text="x", tool_calls=[("current_time", {})]), Script(text="Done."))
    async with run_bot(**settings, file_max_bytes=100) as bot, client_of(bot) as client:
        body = {
            "message": "what is it?",
            "files": [file_json("sales.csv", CSV), file_json("long.txt", b"y" * 101)],
        }
        async with client.post("/chat", json=body) as response:
            answer = (await response.json())["response"]
    assert answer.count("I could not read long.txt: it is larger than") == 1
    assert newest_question(model, 0) == newest_question(model, 1)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ([{"name": "a.txt", "content_base64": "no base64!"}], 400, "the content of a.txt is not base64"),
        ([{"name": "", "content_base64": ""}], 400, "files.0.name"),
        ([file_json("a.bin", bytes((8 << 20) + 1))], 413, "a.bin has 8,388,609 bytes"),
        ([file_json("a.txt", b"x")] * 21, 400, "files"),
    ],
)
async def test_files_over_http_that_cannot_be_taken_are_refused(
    settings: dict[str, Any], files: list[dict[str, str]], status: int, words: str
) -> None:
    body = io.BytesIO(json.dumps({"message": "x", "files": files}).encode())
    async with (
        run_bot(**settings) as bot,
        client_of(bot) as client,
        client.post("/chat", data=body, headers={"Content-Type": "application/json"}) as response,
    ):
        assert response.status == status
        assert words in (await response.json())["message"]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 196_608, 196_609])
async def test_base64_of_any_length_is_decoded(redis: Redis, size: int) -> None:
    """Pieces of 262,144 characters are decoded one after the other."""
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    files = FileStore(redis)
    upload = SentFile(name="a", content_base64=base64.b64encode(content).decode())
    [attachment] = await store_files(files, [upload])
    assert await read_file(files, attachment) == content


@pytest.mark.parametrize("text", ["QQ", "QQ=", "Q_-A", "QUJD\n", "QQ==QQ==", "QUäD", "====", " QUJD", "QU-D"])
async def test_only_standard_base64_with_padding_is_taken(redis: Redis, text: str) -> None:
    with pytest.raises(Refusal):
        await store_files(FileStore(redis), [SentFile(name="a", content_base64=text)])


async def test_base64_with_stray_bits_is_taken(redis: Redis) -> None:
    """Some encoders do not clear the last bits, which no byte takes."""
    files = FileStore(redis)
    [attachment] = await store_files(files, [SentFile(name="a", content_base64="QR==")])
    assert await read_file(files, attachment) == b"A"
