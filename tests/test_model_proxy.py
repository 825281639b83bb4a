"""Proxies of the environment, through which requests to a model service go."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.agent.models.openai_service import open_model
from bot.chat import AnswerError
from tests.servers.model import KEY, ModelServer
from tests.support.graph import Bench, a_bench

AWAY = "http://model.invalid/v1"
"""Service that only a proxy can reach."""


async def ask(base_url: str) -> str:
    async with open_model(
        name="m",
        fallback=None,
        api_key=SecretStr(KEY),
        base_url=base_url,
        timeout=5,
        tools=[],
        pause=0.01,
    ) as model:
        bench = Bench(model, [])
        await bench.ask()
        return bench.text


@pytest.mark.parametrize("form", ["http://{}", "http://ana:secret@{}", "{}"])
async def test_requests_take_the_proxy_of_the_environment(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The model server plays the proxy: it answers for any host."""
    monkeypatch.setenv("http_proxy", form.format(model.base_url.split("/")[2]))
    model.script("by the proxy")
    assert await ask(AWAY) == "by the proxy"


async def test_a_host_that_needs_no_proxy_is_asked_directly(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.internal")
    model.script("directly")
    assert await ask(model.base_url) == "directly"


async def test_a_proxy_that_is_away_is_told_as_an_unreachable_service(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(AnswerError, match="cannot reach the model service"):
        await ask(model.base_url)


@pytest.mark.parametrize("address", ["socks5://ana:secret@127.0.0.1:9", "http://ana:secret@127.0.0.1:80a"])
async def test_a_proxy_that_cannot_be_used_is_ignored_and_logged(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv("http_proxy", address)
    model.script("directly")
    assert await ask(model.base_url) == "directly"
    (record,) = [each for each in caplog.records if each.msg == "proxy ignored"]
    assert vars(record)["variable"] == "HTTP_PROXY"
    assert "secret" not in str(vars(record))


async def test_a_host_in_netrc_is_asked_with_the_key_of_the_settings(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Fault: aiohttp refuses a request that has a key and whose host is in `.netrc`."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ana password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    model.script("with the key")
    assert await ask(model.base_url) == "with the key"


async def test_a_request_takes_no_thread(model: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hop to a thread and back delays the first text by several wake-ups."""
    calls: list[object] = []
    async with a_bench(model) as bench:
        await bench.ask()  # connects, for which a thread looks the address up
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", lambda *call: calls.append(call))
        await bench.ask()
    assert calls == []
