"""The examination: every part is asked, and none can spoil the answer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bot import __version__
from bot.chat import Health
from bot.commands.health import HealthChecks, describe


class Part:
    """A part of the bot whose health is what a function returns."""

    def __init__(self, name: str, check: Callable[[], Awaitable[Health]]) -> None:
        self.name = name
        self._check = check

    async def health(self) -> Health:
        return await self._check()


def healthy(name: str) -> Part:
    async def health() -> Health:
        return Health(name=name, state="ok", evidence={"ping_ms": 1})

    return Part(name, health)


async def broken() -> Health:
    raise ConnectionRefusedError("port 6379")


async def silent() -> Health:
    await asyncio.Event().wait()
    raise AssertionError("never reached")


async def test_this_process_comes_first_with_version_and_uptime() -> None:
    """Also when there is nothing else to ask."""
    (process,) = await HealthChecks()()
    assert (process.name, process.state) == ("bot", "ok")
    assert process.evidence["version"] == __version__
    assert 0 <= process.evidence["uptime_s"] < 60


async def test_every_part_is_asked_in_the_order_of_adding() -> None:
    """A check's report is passed on as it is; a part that is added later is asked, too."""
    redis, slack, inbox = map(healthy, ("redis", "slack", "inbox"))
    platforms: list[Part] = []
    check_health = HealthChecks([redis], platforms, [inbox])
    assert [part.name for part in await check_health()] == ["bot", "redis", "inbox"]
    platforms.append(slack)
    parts = await check_health()
    assert parts[1:] == [await redis.health(), await slack.health(), await inbox.health()]


async def test_a_probe_that_fails_is_a_part_that_is_down() -> None:
    """With the error as the evidence; the others are unharmed."""
    check_health = HealthChecks([Part("redis", broken), healthy("postgres")])
    _, redis, postgres = await check_health()
    assert redis == Health(name="redis", state="down", evidence={"error": "ConnectionRefusedError"})
    assert postgres.state == "ok"


async def test_a_probe_that_does_not_answer_is_given_up() -> None:
    """After a few seconds the part counts as down."""
    check_health = HealthChecks([Part("postgres", silent)], seconds=0.01)
    _, postgres = await check_health()
    assert (postgres.name, postgres.state) == ("postgres", "down")
    assert "no answer" in postgres.evidence["error"]


async def test_parts_are_asked_at_the_same_time() -> None:
    """Two probes that wait for each other both answer."""
    meeting = asyncio.Barrier(2)

    async def probe() -> Health:
        await meeting.wait()
        return Health(name="met", state="ok")

    check_health = HealthChecks([Part("one", probe), Part("other", probe)])
    async with asyncio.timeout(2):
        assert [part.state for part in await check_health()] == ["ok", "ok", "ok"]


async def test_a_caller_that_leaves_ends_the_examination() -> None:
    """Cancelling is not taken for a part that is down."""
    entered = asyncio.Event()

    async def probe() -> Health:
        entered.set()
        return await silent()

    check_health = HealthChecks([Part("postgres", probe)])
    task = asyncio.create_task(check_health())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_evidence_is_shown_without_the_marks_of_python() -> None:
    """Fault: administrators read `models ['main-model'], connected True`."""
    evidence = {"models": ["a", "b"], "connected": True, "dead": [], "last_error": None, "ping_ms": 1.5}
    assert describe([Health(name="model", state="ok", evidence=evidence)]) == (
        "- 🟢 **model** ok: models a and b, connected yes, dead none, last error none, ping ms 1.5"
    )
