"""MCP servers as plug-ins: real ones, over standard streams and streamable HTTP, well-behaved or not."""

import asyncio
import itertools
import logging
import os
import time
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from bot.tools.plugins.stderr import stderr_to_log
from tests.support.event_loops import ON_EACH_LOOP, run_on
from tests.support.plugins import (
    TOKEN,
    call_tool,
    http_server,
    is_up,
    report,
    start_plugins,
    stdio,
)
from tests.support.wait import wait_until


def names(plugins: Any) -> set[str]:
    return {each.name for each in plugins.toolbox}


async def test_tools_of_a_server_are_named_after_it_and_can_be_called(redis: Redis) -> None:
    """Also one that has the name of the bot's own, and one whose arguments have names that LangChain uses."""
    async with start_plugins(redis, {"shop": stdio()}) as plugins:
        assert "shop__add" in names(plugins)
        assert "sql_query" not in names(plugins)
        assert await call_tool(plugins, "shop__add", a=2, b=3) == "5"
        assert await call_tool(plugins, "shop__settle", config="dark", self_="x") == "config is dark"
        add = next(each for each in plugins.toolbox if each.name == "shop__add")
        assert add.description == "Add two numbers."
        assert await is_up(plugins, "shop")


async def test_results_are_bounded_and_what_is_no_text_is_named(redis: Redis) -> None:
    """5 MB, an image, and a failure in the tool's own words."""
    async with start_plugins(redis, {"shop": stdio()}) as plugins:
        big = await call_tool(plugins, "shop__big")
        assert 16_000 < len(big) < 16_200
        assert "4,984,000 more characters" in big
        assert await call_tool(plugins, "shop__picture") == "[image, image/png, about 300 bytes: not shown]"
        assert (await call_tool(plugins, "shop__fail")).startswith(
            "failed: Error executing tool fail: the shelf"
        )
        assert "failed" in await call_tool(plugins, "shop__add", a="no number")
        assert await is_up(plugins, "shop")


async def test_a_call_that_hangs_ends_with_its_time_and_hinders_no_other(redis: Redis) -> None:
    """The others go on in the same session, before and after."""
    async with start_plugins(redis, {"shop": stdio(timeout=1)}) as plugins:
        process = await call_tool(plugins, "shop__pid")
        hanging = asyncio.create_task(call_tool(plugins, "shop__hang"))
        assert await call_tool(plugins, "shop__add", a=1, b=1) == "2"
        assert not hanging.done()
        assert "did not answer within 1 s" in await hanging
        assert await call_tool(plugins, "shop__pid") == process
        assert "last error TimeoutError" in await report(plugins, "shop")


async def test_a_server_that_is_stuck_is_started_again(redis: Redis) -> None:
    """It answers nothing any more, which shows once a call has had its time."""
    servers = {"shop": stdio(timeout=1)}
    async with start_plugins(redis, servers, first_delay=0.1, answer_seconds=1) as plugins:
        await wait_until(lambda: is_up(plugins, "shop"), "up", timeout=40)
        process = int(await call_tool(plugins, "shop__pid"))
        assert "did not answer" in await call_tool(plugins, "shop__block")
        await wait_until(lambda: not psutil.pid_exists(process), "the stuck one is ended", timeout=20)

        async def another_serves() -> bool:
            return (await call_tool(plugins, "shop__pid")).isdigit()

        await wait_until(another_serves, "started again", timeout=20)


async def test_a_server_that_dies_is_started_again_and_its_tools_stay_known(redis: Redis) -> None:
    """In the midst of a call; meanwhile its tools fail with words, and health says why."""
    async with start_plugins(redis, {"shop": stdio()}, first_delay=2) as plugins:
        assert "It is unknown" in await call_tool(plugins, "shop__crash")
        await wait_until(lambda: _is_down(plugins), "seen to be down")
        assert "shop__add" in names(plugins)
        assert "The plug-in shop cannot be reached" in await call_tool(plugins, "shop__add", a=1, b=1)
        assert (await plugins.health()).state == "degraded"
        await wait_until(lambda: is_up(plugins, "shop"), "started again", timeout=20)
        assert await call_tool(plugins, "shop__add", a=1, b=1) == "2"


async def _is_down(plugins: Any) -> bool:
    return (await report(plugins, "shop")).startswith("down: ")


async def test_a_server_that_is_killed_while_idle_is_started_again(redis: Redis) -> None:
    """Its end is noticed at once, not at the next call."""
    async with start_plugins(redis, {"shop": stdio()}, first_delay=0.1) as plugins:
        process = int(await call_tool(plugins, "shop__pid"))
        psutil.Process(process).kill()
        await wait_until(lambda: _is_down(plugins), "seen to be down")
        assert "its process ended" in await report(plugins, "shop")
        await wait_until(lambda: is_up(plugins, "shop"), "started again", timeout=20)


async def test_faulty_servers_are_reported_and_the_others_work(redis: Redis) -> None:
    """One that never speaks, one whose command is not there, one that ends at once, and one that works."""
    servers = {
        "mute": stdio("mute"),
        "absent": {"command": "/no/such/command", "approval": False},
        "brief": {"command": "true", "approval": False},
        "closed": {"url": "http://127.0.0.1:9/mcp", "approval": False},
        "shop": stdio("babble"),
    }
    async with start_plugins(redis, servers, start_seconds=8) as plugins:
        await wait_until(lambda: is_up(plugins, "shop"), "works", timeout=20)
        assert await call_tool(plugins, "shop__add", a=1, b=1) == "2"

        async def all_told() -> bool:
            told = (await plugins.health()).evidence
            return (
                "it did not start within 8 s; next try in" in str(told["mute"])
                and "its command was not found" in str(told["absent"])
                and "it ended before it sent an answer" in str(told["brief"])
                and "it cannot be connected to (ConnectError)" in str(told["closed"])
            )

        await wait_until(all_told, "each fault is told", timeout=20)
        assert (await plugins.health()).state == "degraded"


async def test_half_of_a_character_in_a_result_costs_only_that_character(redis: Redis) -> None:
    """JSON can hold it (`"\\ud83d"`), and mcp reads no message that does: the call was never answered."""
    async with start_plugins(redis, {"shop": stdio("halves")}) as plugins:
        assert await call_tool(plugins, "shop__half") == "cut \ufffd off"


async def test_at_the_end_no_process_is_left(redis: Redis) -> None:
    """Neither of a server that serves nor of one that has never spoken; within seconds."""
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    async with start_plugins(redis, {"shop": stdio()}) as plugins:
        hanging = asyncio.create_task(call_tool(plugins, "shop__hang"))
        own = int(await call_tool(plugins, "shop__pid"))
        began = time.monotonic()
    assert time.monotonic() - began < 20  # it does not wait for the call, which would take half a minute
    assert not psutil.pid_exists(own)
    assert "was lost before it answered" in await hanging
    assert {each.pid for each in psutil.Process().children(recursive=True)} <= before


async def test_only_allowed_tools_are_offered_and_only_so_many(redis: Redis) -> None:
    """By patterns; of 200 the first 60, with a word in health."""
    servers = {"few": stdio(allow=["add", "p*"]), "many": stdio("many")}
    async with start_plugins(redis, servers) as plugins:
        assert {each for each in names(plugins) if each.startswith("few")} == {
            "few__add",
            "few__pid",
            "few__picture",
        }
        assert len([each for each in names(plugins) if each.startswith("many")]) == 60
        told = await report(plugins, "many")
        assert "60 tools" in told
        assert "name those that are wanted in `allow`" in told


async def test_a_list_that_changes_is_taken_over_and_logged(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """With an allow-list nothing new comes in; a description that changes is told to the operator."""
    servers = {"open": stdio(), "strict": stdio(allow=["add", "change"])}
    async with start_plugins(redis, servers) as plugins:
        assert "open__extra" not in names(plugins)
        await call_tool(plugins, "open__change")
        await call_tool(plugins, "strict__change")
        await wait_until(lambda: "open__extra" in names(plugins), "taken over")
        assert await call_tool(plugins, "open__extra") == "new"

        def told(name: str) -> list[Any]:
            return [
                each
                for each in caplog.records
                if each.getMessage() == "plug-in tools changed" and each.__dict__["plugin"] == name
            ]

        await wait_until(lambda: bool(told("open") and told("strict")), "told")
        assert (told("open")[0].new, told("open")[0].changed) == (["extra"], ["add"])
        assert (told("strict")[0].new, told("strict")[0].changed) == ([], ["add"])
        assert "strict__extra" not in names(plugins)


async def test_a_child_sees_only_the_environment_that_it_is_given(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the bot's own tokens."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-own")
    monkeypatch.setenv("SHOP_TOKEN", "from-the-environment")
    async with start_plugins(redis, {"shop": stdio(env={"SECRET": "${SHOP_TOKEN}"})}) as plugins:
        seen = (await call_tool(plugins, "shop__environment")).split()
        assert "SECRET" in seen
        assert not {"SLACK_BOT_TOKEN", "SHOP_TOKEN"} & set(seen)


async def test_what_a_child_writes_to_standard_error_is_logged(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A line each; there is a limit, and it is never left unread."""
    flood = "import sys; [print('line', n, file=sys.stderr) for n in range(100000)]; input()"
    servers = {"shop": stdio(), "flood": {"command": "python3", "args": ["-c", flood], "approval": False}}
    caplog.set_level(logging.INFO)
    async with start_plugins(redis, servers):
        pass

    def said(plugin: str) -> list[str]:
        return [
            each.__dict__["line"]
            for each in caplog.records
            if each.getMessage() == "plug-in output" and each.__dict__["plugin"] == plugin
        ]

    assert said("shop") == ["started with no secret"]
    assert said("flood") == [f"line {number}" for number in range(20)]
    assert any(
        each.getMessage() == "plug-in output suppressed" and each.__dict__["lines"] == 99_980
        for each in caplog.records
    )


@ON_EACH_LOOP
def test_the_end_of_a_child_closes_no_other_file(loop: str) -> None:
    """Fault: uvloop closed the pipe of its standard error again, when its number was another's."""
    for words in ("", "last words"):
        assert run_on(loop, _pipes_after_an_end(words)) == b"abcd"


async def _pipes_after_an_end(words: str) -> bytes:
    """Return what goes through pipes that get the numbers that are free after a child's end."""
    async with stderr_to_log("shop") as sink:
        sink.write(words)
    pipes = [os.pipe() for _ in range(4)]
    await asyncio.sleep(0.01)
    for (_, writing), letter in zip(pipes, "abcd", strict=True):
        os.write(writing, letter.encode())
    read = b"".join(os.read(reading, 1) for reading, _ in pipes)
    for each in itertools.chain(*pipes):
        os.close(each)
    return read


def of_http(port: int, token: str = TOKEN) -> dict[str, Any]:
    return {
        "url": f"http://127.0.0.1:{port}/mcp",
        "headers": {"Authorization": f"Bearer {token}"},
        "approval": False,
        "timeout": 2,
    }


async def test_streamable_http_is_the_same_and_survives_a_restart(redis: Redis) -> None:
    """Hanging calls, failures, and a server that is away for a while, with a new session afterwards."""
    async with http_server() as port:
        pass
    async with start_plugins(redis, {"shop": of_http(port)}, first_delay=0.2) as plugins:
        assert "cannot be connected to" in await report(plugins, "shop")
        async with http_server(port):
            await wait_until(lambda: is_up(plugins, "shop"), "up without a restart", timeout=20)
            hanging = asyncio.create_task(call_tool(plugins, "shop__hang"))
            assert await call_tool(plugins, "shop__add", a=1, b=1) == "2"
            assert "did not answer within 2 s" in await hanging
            assert "the shelf is empty" in await call_tool(plugins, "shop__fail")
            await call_tool(plugins, "shop__change")
            await wait_until(lambda: "shop__extra" in names(plugins), "the list is taken over")
            waiting = asyncio.create_task(call_tool(plugins, "shop__hang"))
            assert await call_tool(plugins, "shop__add", a=1, b=1) == "2"
        assert (await waiting).startswith("failed: ")
        assert (await call_tool(plugins, "shop__add", a=1, b=1)).startswith("failed: The ")
        async with http_server(port):
            await wait_until(lambda: is_up(plugins, "shop"), "back", timeout=20)

            async def works() -> bool:
                return await call_tool(plugins, "shop__add", a=1, b=1) == "2"

            await wait_until(works, "a new session", timeout=20)


async def test_a_server_that_was_restarted_while_idle_answers_the_next_call(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not know the session any more (404), so the call was not made: a new session makes it.

    Fault: it was taken to be down first, with a wait that grows, since the error came in a group.
    """
    caplog.set_level(logging.INFO, "bot")
    async with http_server() as port:
        pass
    async with http_server(port), start_plugins(redis, {"shop": of_http(port)}) as plugins:
        await wait_until(lambda: is_up(plugins, "shop"), "up", timeout=20)
        assert await call_tool(plugins, "shop__forget_sessions") == "forgotten"
        calls = [call_tool(plugins, "shop__add", a=1, b=each) for each in range(3)]
        assert await asyncio.gather(*calls) == ["1", "2", "3"]
        assert await is_up(plugins, "shop")
        assert "failed" not in (await report(plugins, "shop")).replace("0 of 4 failed", "")
    assert [each.message for each in caplog.records if each.message.startswith("plug-in ")] == [
        "plug-in started",
        "plug-in reconnected",
    ]


async def test_a_wrong_token_is_told_without_it(redis: Redis) -> None:
    """Health says what came back."""
    async with (
        http_server() as port,
        start_plugins(redis, {"shop": of_http(port, "wrong-token-123")}) as plugins,
    ):
        told = await report(plugins, "shop")
        assert "it answered with HTTP 401" in told
        assert "wrong-token" not in told
