"""Texts as vectors: offline with wordllama, and from an OpenAI-compatible service."""

import asyncio
import gzip
import json
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from bot.memory.embeddings import EmbeddingFailed, OfflineEmbeddings, Vector
from bot.memory.openai_embeddings import OpenAIEmbeddings, open_embeddings
from tests.servers.model import KEY, ModelServer
from tests.support.bot import ROOT
from tests.support.wait import wait_until

REPORT = """
import asyncio, json, sys, tracemalloc
import psutil
from bot.concurrency import heap
from bot.memory.embeddings import OfflineEmbeddings
heap.share()
before = set(sys.modules)
def size():
    return psutil.Process().memory_info().rss
async def embed():
    empty = size()
    embeddings = OfflineEmbeddings()
    await embeddings.embed(["car"])
    loaded = size() - empty
    tracemalloc.start()
    await embeddings.embed(["a cup of tea " * 80] * 64)
    return {"peak": tracemalloc.get_traced_memory()[1], "loaded": loaded}
report = asyncio.run(embed())
packages = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"packages": sorted(packages - {"bot"}), **report}))
"""


def cosine(one: Vector | None, other: Vector | None) -> float:
    assert one
    assert other
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture
async def service(model: ModelServer) -> AsyncIterator[OpenAIEmbeddings]:
    """Embeddings over a real socket."""
    async with open_embeddings(
        name="embed-1", api_key=SecretStr(KEY), base_url=model.base_url, timeout=30
    ) as embeddings:
        yield embeddings


async def test_offline_vectors_tell_what_is_near() -> None:
    """Of length 1; a text without a word that is known has none."""
    car, auto, tea, nothing, broken = await OfflineEmbeddings().embed(
        ["car", "automobile", "a cup of tea", "", "\ud800"]
    )
    assert cosine(car, car) == pytest.approx(1)
    assert cosine(car, auto) > 0.5 > cosine(car, tea)
    assert nothing is None
    assert broken is None or len(broken) == 256


async def test_offline_model_is_loaded_once_by_many() -> None:
    """The first who ask wait for the same load; one who gives up does not end it."""
    embeddings = OfflineEmbeddings()
    impatient = asyncio.create_task(embeddings.embed(["a"]))
    await asyncio.sleep(0)  # let it begin
    impatient.cancel()
    found = await asyncio.gather(*(embeddings.embed(["car"]) for _ in range(5)))
    assert all(each == found[0] for each in found)


async def test_offline_vectors_are_those_of_wordllama_itself() -> None:
    """Stored vectors come from the package: those of today must be comparable with them."""
    import wordllama  # type: ignore[import-untyped]  # it has no types

    itself = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    chance = random.Random(11)
    words = (ROOT / "CHANGELOG.md").read_text().split()
    parts = [*words, "\n", "  ", "naïve", "\u202e", "日本語", "🙂", "\x00", "<s>", "</s>", "<unk>", "x" * 300]
    texts = [" ".join(chance.choices(parts, k=chance.randint(1, 120)))[:1_000] for _ in range(300)]
    expected = itself.embed(texts, norm=True).tolist()
    found = await OfflineEmbeddings().embed(texts)
    assert min(map(cosine, found, expected)) > 0.999_99


async def test_offline_model_imports_what_it_uses_and_a_batch_takes_little_memory() -> None:
    """The package of wordllama takes 97 MiB, and a batch of texts padded to one length another 16 MiB."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPORT, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    output, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    report = json.loads(output)
    assert set(report["packages"]) - sys.stdlib_module_names == {"numpy", "tokenizers"}
    assert report["peak"] < 4 * 2**20
    if sys.platform == "linux":
        assert report["loaded"] < 40 * 2**20  # 27 to 34, as the pages fall


async def test_service_gives_vectors_in_the_order_of_the_texts(
    service: OpenAIEmbeddings, model: ModelServer
) -> None:
    """Whatever order it answers in; long texts are cut."""
    first, second = await service.embed(["aaaa", "bbbb " * 10_000])
    assert first
    assert second
    assert max(range(26), key=lambda index: first[index]) == 0
    assert max(range(26), key=lambda index: second[index]) == 1
    assert cosine(first, first) == pytest.approx(1)
    assert max(map(len, model.embedded)) == 8_000


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_refusal_of_the_service_is_one_error(
    service: OpenAIEmbeddings, model: ModelServer, status: int
) -> None:
    """Whoever asked goes on without vectors, and the key is not in the words."""
    model.embeddings_status = status
    with pytest.raises(EmbeddingFailed) as refused:
        await service.embed(["a"])
    assert KEY not in str(refused.value)


async def test_service_that_is_away_is_the_same_error() -> None:
    """No connection."""
    async with open_embeddings(name="m", api_key=None, base_url="http://127.0.0.1:1/v1", timeout=1) as away:
        with pytest.raises(EmbeddingFailed):
            await away.embed(["a"])


@pytest.mark.parametrize(
    ("headers", "begin", "again"),
    [
        ({}, b'{"data": [', b"0," * 8_192),
        ({"Content-Encoding": "gzip"}, gzip.compress(b" " * (8 << 20)), b""),
    ],
    ids=["no end", "a small body that becomes a huge one"],
)
async def test_an_answer_without_an_end_is_hung_up_on(
    headers: dict[str, str], begin: bytes, again: bytes
) -> None:
    """Memory is bounded, and so is the time that an answer takes as long as it comes."""
    left = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal left
        response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
        await response.prepare(request)
        try:
            await response.write(begin)
            while True:
                await response.write(again)
                await asyncio.sleep(0)
        finally:
            left += 1

    app = web.Application()
    app.router.add_post("/v1/embeddings", answer)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        async with open_embeddings(
            name="m", api_key=None, base_url=url, timeout=5, most_bytes=64 << 10
        ) as hostile:
            with pytest.raises(EmbeddingFailed):
                await hostile.embed(["a"])
        await wait_until(lambda: left > 0, "the service has lost its listener")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "body",
    [
        '{"data": [{"index": 0, "embedding": "AACAPwAAAAA="}]}',
        '{"data": [{"index": 0, "embedding": null}]}',
        '{"data": [{"index": 0}]}',
        '{"data": [{"index": 0, "embedding": ["x"]}]}',
        '{"data": [{"index": 0, "embedding": [[1.0]]}]}',
        '{"data": [{"index": 0, "embedding": [1' + "0" * 400 + "]}]}",
        '{"data": [null]}',
        '{"data": "x"}',
        '{"data": [{"index": null}, {"index": 1}]}',
        "[]",
        "null",
        "<html>",
    ],
    ids=lambda body: body[:60],
)
async def test_an_answer_that_holds_no_numbers_is_a_failure_of_the_service(body: str) -> None:
    """A search goes on by words then, and a fact is saved without a vector."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/embeddings", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        async with open_embeddings(name="m", api_key=None, base_url=url, timeout=5) as strange:
            with pytest.raises(EmbeddingFailed):
                await strange.embed(["a"])
    finally:
        await runner.cleanup()
