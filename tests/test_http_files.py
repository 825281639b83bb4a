"""Files of answers over HTTP: named in the answer, at an address that only who may call can read."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.chat import File, Part, Text, Turn
from bot.storage.files import FileStore
from tests.support.files import PICTURE
from tests.support.http_server import http_server

TOKEN = "secret"


@asynccontextmanager
async def serving(
    redis: Redis, *parts: Part, api_token: str | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server that answers everything with `parts`."""

    async def answer(turn: Turn) -> AsyncIterator[Part]:
        for part in parts:
            yield part

    async with (
        http_server(redis, answer=answer, api_token=api_token) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client,
    ):
        yield client


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("Umsatz.png", "image/png", PICTURE, "Sales go up")


async def test_the_answer_names_its_files(redis: Redis, picture: File) -> None:
    async with serving(redis, Text("Here it is."), picture) as client:
        async with client.post("/chat", json={"message": "draw it"}) as response:
            answer = await response.json()
        assert answer["response"] == "Here it is."
        [file] = answer["files"]
        assert file == {
            "id": picture.id,
            "name": "Umsatz.png",
            "media_type": "image/png",
            "size": len(PICTURE),
            "alt": "Sales go up",
            "url": f"/files/{picture.id}",
        }
        async with client.get(file["url"]) as response:
            assert await response.read() == PICTURE


async def test_a_stream_has_an_event_for_each_file_and_all_at_its_end(redis: Redis, picture: File) -> None:
    async with (
        serving(redis, Text("Here"), picture, Text(" it is.")) as client,
        client.post("/chat", json={"message": "x"}, headers={"Accept": "text/event-stream"}) as response,
    ):
        frames = [frame.split("\n") for frame in (await response.text()).strip().split("\n\n")]
    events = [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames
    ]
    assert [name for name, _ in events] == ["text", "file", "text", "done"]
    assert events[1][1]["id"] == picture.id
    assert [each["id"] for each in events[3][1]["files"]] == [picture.id]
    assert events[3][1]["response"] == "Here it is."


async def test_an_answer_without_files_names_none(redis: Redis) -> None:
    async with serving(redis, Text("No.")) as client, client.post("/chat", json={"message": "x"}) as response:
        assert "files" not in await response.json()


async def test_an_image_is_shown_and_all_else_is_saved_and_nothing_of_it_runs(
    redis: Redis, picture: File
) -> None:
    page = await FileStore(redis).keep('a"b.html', "text/html", b"<script>alert(1)</script>")
    async with serving(redis) as client:
        async with client.get(f"/files/{picture.id}") as response:
            assert response.headers["Content-Type"] == "image/png"
            assert response.headers["Content-Disposition"] == "inline; filename*=UTF-8''Umsatz.png"
        async with client.get(f"/files/{page.id}") as response:
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a_b.html"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in response.headers["Content-Security-Policy"]


async def test_a_file_is_only_for_who_may_call(redis: Redis, picture: File) -> None:
    async with serving(redis, api_token=TOKEN) as client:
        async with client.get(f"/files/{picture.id}") as response:
            assert response.status == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with client.get(f"/files/{picture.id}", headers=headers) as response:
            assert response.status == 200
    elsewhere = {"Host": "evil.example"}
    async with (
        serving(redis) as client,
        client.get(f"/files/{picture.id}", headers=elsewhere) as response,
    ):
        assert response.status == 403


@pytest.mark.parametrize("id", ["0" * 32, "..%2Fpage%2Fapp.js", "*"])
async def test_an_unknown_file_is_not_found(redis: Redis, id: str) -> None:
    async with serving(redis) as client, client.get(f"/files/{id}") as response:
        assert response.status == 404
