"""A platform is kept receiving, whatever happens to it."""

import asyncio
import logging
import time
from collections.abc import Mapping

import pytest

from bot.chat import (
    Announcement,
    Approval,
    Attachment,
    Audience,
    CredentialsRejected,
    Deliver,
    Event,
    Health,
    Message,
    NameKind,
    Opening,
    Receipt,
    Since,
    Stop,
    StorageDown,
    Thread,
    ThreadId,
    Unreachable,
)
from bot.commands.commands import Commands
from bot.platforms import supervise as module
from bot.platforms.receiver import Webhook
from bot.platforms.supervise import keep_up, persevere, supervise
from tests.support.commands import NO_COMMANDS

Outcome = Exception | float | None
"""How one call of `receive` ends: with an error, by itself, or after so many seconds of being connected."""


class Clock:
    """A clock that sleeping moves on; the event loop's own time is left alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    class Asyncio:
        sleep = clock.sleep

    monkeypatch.setattr(module, "asyncio", Asyncio)
    return clock


class ScriptedPlatform:
    """A platform whose connections end as scripted; after the last one it is cancelled, as at a stop."""

    name = "scripted"

    def __init__(self, clock: Clock, *outcomes: Outcome | tuple[float, Outcome]) -> None:
        self._clock = clock
        self._outcomes = list(outcomes)
        self.calls = 0

    @property
    def webhooks(self) -> Mapping[str, Webhook]:
        return {}

    async def receive(self, deliver: Deliver, commands: Commands) -> None:
        self.calls += 1
        if not self._outcomes:
            raise asyncio.CancelledError
        outcome = self._outcomes.pop(0)
        connected, ended = outcome if isinstance(outcome, tuple) else (0.0, outcome)
        self._clock.now += connected
        if isinstance(ended, Exception):
            raise ended

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        raise NotImplementedError

    async def catch_up(self, deliver: Deliver) -> None:
        raise NotImplementedError

    def thread(self, id: ThreadId) -> Thread:
        raise NotImplementedError

    def context(self, message: Message, since: Since | None) -> None:
        raise NotImplementedError

    def archive(self, message: Message) -> None:
        raise NotImplementedError

    async def audience(self, message: Message) -> Audience:
        return "members"

    async def name_of(self, kind: NameKind, id: str) -> str:
        raise NotImplementedError

    async def show_request(
        self, approval: Approval, to: str, receipt: Receipt, *, is_channel: bool
    ) -> ThreadId | None:
        raise NotImplementedError

    async def announce(self, announcement: Announcement, to: str, receipt: Receipt) -> Opening:
        raise NotImplementedError

    def forget_thread(self, id: ThreadId) -> None:
        raise NotImplementedError

    def refuse_stop(self, stop: Stop, words: str) -> None:
        raise NotImplementedError

    async def settle_request(self, approval: Approval, receipt: Receipt) -> None:
        raise NotImplementedError

    async def health(self) -> Health:
        raise NotImplementedError


async def deliver(event: Event) -> None:
    raise NotImplementedError


async def supervise_script(platform: ScriptedPlatform) -> None:
    """Supervise to the end of the script."""
    with pytest.raises(asyncio.CancelledError):
        await supervise(platform, deliver, NO_COMMANDS)


LOST = Unreachable("the socket was closed")
STORE = StorageDown("Redis did not answer")


async def test_a_lost_connection_is_built_anew_with_growing_delays(clock: Clock) -> None:
    """The pause doubles up to a minute."""
    platform = ScriptedPlatform(clock, *[LOST] * 9)
    await supervise_script(platform)
    assert platform.calls == 10
    assert clock.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_connection_that_lasted_starts_the_delays_anew(clock: Clock) -> None:
    """A connection that worked for more than a minute is tried again quickly."""
    platform = ScriptedPlatform(clock, LOST, LOST, LOST, (61.0, LOST), LOST)
    await supervise_script(platform)
    assert clock.slept == [1, 2, 4, 1, 2]


async def test_a_platform_that_stops_by_itself_is_started_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """`receive` that returns has lost its connection, too."""
    platform = ScriptedPlatform(clock, None)
    await supervise_script(platform)
    assert platform.calls == 2
    assert "platform stopped receiving" in caplog.text


async def test_an_unexpected_error_kills_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one platform is logged with its trace, and the platform goes on."""
    platform = ScriptedPlatform(clock, ZeroDivisionError("a bug"), KeyError("another"))
    await supervise_script(platform)
    assert platform.calls == 3
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


@pytest.mark.parametrize("lost", [LOST, STORE], ids=repr)
async def test_what_is_expected_is_logged_without_a_trace(
    clock: Clock, caplog: pytest.LogCaptureFixture, lost: Exception
) -> None:
    """A lost connection, to the service or to Redis, is a line with its reason and the pause."""
    await supervise_script(ScriptedPlatform(clock, lost))
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    fields = vars(record)
    assert (fields["platform"], fields["error"], fields["retry_s"]) == (
        "scripted",
        str(lost),
        1.0,
    )


REFUSED = CredentialsRejected("Slack refuses SLACK_BOT_TOKEN")


@pytest.mark.parametrize("before", [[], [LOST], [LOST, ZeroDivisionError("a bug"), None]])
async def test_credentials_refused_from_the_start_are_raised(clock: Clock, before: list[Outcome]) -> None:
    """A wrong setting ends the program, also when the service could not be reached at first."""
    with pytest.raises(CredentialsRejected) as caught:
        await supervise(ScriptedPlatform(clock, *before, REFUSED), deliver, NO_COMMANDS)
    assert caught.value is REFUSED


async def test_credentials_refused_after_a_long_connection_are_tried_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that was revoked takes one platform away, not the program."""
    await supervise_script(ScriptedPlatform(clock, (61.0, LOST), REFUSED, REFUSED))
    assert [record.message for record in caplog.records].count("credentials refused") == 2
    assert clock.slept == [1, 2, 4]


async def test_credentials_refused_within_a_long_connection_are_tried_again(clock: Clock) -> None:
    """A refusal that ends the connection itself is tried again, too."""
    platform = ScriptedPlatform(clock, (61.0, REFUSED), REFUSED)
    await supervise_script(platform)
    assert platform.calls == 3


async def test_credentials_refused_after_several_short_connections_are_tried_again(clock: Clock) -> None:
    """A platform that was let in again and again has no wrong setting."""
    platform = ScriptedPlatform(clock, (50.0, LOST), (50.0, LOST), REFUSED)
    await supervise_script(platform)
    assert platform.calls == 4


async def test_a_part_of_a_platform_raises_refused_credentials_at_any_time(clock: Clock) -> None:
    """Then the whole platform is supervised, and decides what that means."""
    platform = ScriptedPlatform(clock, LOST, (61.0, LOST), (61.0, REFUSED))
    with pytest.raises(CredentialsRejected):
        await persevere("part", lambda: platform.receive(deliver, NO_COMMANDS))
    assert platform.calls == 3


async def test_a_stop_ends_it_at_once() -> None:
    """Cancelling reaches a platform that is connected, and nothing swallows it."""
    connected = asyncio.Event()

    class Connected(ScriptedPlatform):
        async def receive(self, deliver: Deliver, commands: Commands) -> None:
            connected.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(supervise(Connected(Clock()), deliver, NO_COMMANDS))
    await connected.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_ends_the_pause_between_two_connections() -> None:
    """Nobody waits for a back-off to end."""
    lost = asyncio.Event()

    class Lost(ScriptedPlatform):
        async def receive(self, deliver: Deliver, commands: Commands) -> None:
            lost.set()
            raise LOST

    began = time.monotonic()
    task = asyncio.create_task(supervise(Lost(Clock()), deliver, NO_COMMANDS, first_delay=60))
    await lost.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 30  # half of the pause


async def test_events_go_to_the_inbox(clock: Clock) -> None:
    """The platform is given the very function that takes events over, and the commands, each time."""
    given: list[tuple[Deliver, Commands]] = []

    class Listening(ScriptedPlatform):
        async def receive(self, deliver: Deliver, commands: Commands) -> None:
            given.append((deliver, commands))
            await super().receive(deliver, commands)

    await supervise_script(Listening(clock, LOST))
    assert given == [(deliver, NO_COMMANDS)] * 2


async def test_catching_up_goes_on_whatever_happens_to_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A history that cannot be read now is read later; live messages do not depend on it."""

    class Forgetful(ScriptedPlatform):
        async def catch_up(self, deliver: Deliver) -> None:
            await self.receive(deliver, NO_COMMANDS)

    platform = Forgetful(clock, Unreachable("away"), RuntimeError("a bug"), None)
    with pytest.raises(asyncio.CancelledError):
        await keep_up(platform, deliver)
    assert platform.calls == 4
    assert clock.slept == [module.CATCH_UP_SECONDS] * 3
    assert caplog.text.count("catch-up not finished") == 2
