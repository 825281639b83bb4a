"""Renewal of a token while the installation ends, or the app is installed again, in another process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from redis.asyncio import Redis

from bot.chat import StorageDown, Unreachable
from bot.slack.api import Clients, open_clients
from bot.slack.app_credentials import AppCredentials, IssuedToken
from bot.slack.errors import NotInstalled
from bot.slack.installations import Installation, Installations
from bot.slack.timing import Timing
from bot.slack.tokens import BotTokens, describe_loss
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.app import SlackApp
from tests.servers.slack.oauth import Grant
from tests.support.slack_app import vault

TIMING = Timing(installation_max_age=0.0, token_retry_interval=0.0)


@pytest.fixture
async def app() -> AsyncIterator[SlackApp]:
    async with SlackApp() as slack:
        slack.oauth.token_seconds = 43_200
        yield slack


@dataclass(frozen=True, slots=True)
class SlowCredentials(AppCredentials):
    """Credentials with which something else happens before Slack's answer arrives."""

    meanwhile: Callable[[], Awaitable[object]]

    async def exchange(self, clients: Clients, **arguments: str) -> IssuedToken:
        issued = await AppCredentials.exchange(self, clients, **arguments)
        await self.meanwhile()
        return issued


@asynccontextmanager
async def tokens_of(
    app: SlackApp, redis: Redis, meanwhile: Callable[[], Awaitable[object]]
) -> AsyncIterator[BotTokens]:
    credentials = SlowCredentials(app.oauth.client_id, app.oauth.client_secret, meanwhile)
    async with open_clients(app.api_url, TIMING) as clients:
        installations, coordination = Installations(vault(redis), 0.0), RedisCoordination(redis, "a")
        yield BotTokens(installations, clients, coordination, credentials, TIMING)


def installed(app: SlackApp, token: str, seconds: float = 3_600) -> Installation:
    """Return an installation whose token ends in so many seconds."""
    refresh = f"refresh {token}"
    app.oauth.refresh_tokens[refresh] = Grant([app.add_workspace("T0ONE").workspace], None)
    return Installation(
        id="T0ONE",
        name="One",
        url="",
        bot_token=token,
        bot_id="B1",
        bot_user_id="U1",
        refresh_token=refresh,
        expires_at=time.time() + seconds,
    )


async def nothing() -> None: ...


_renew = Installations.renew


async def fail(installations: Installations, old: Installation, new: Installation) -> None:
    """Fail to store what Slack has answered."""
    if new.renewal_began_at:
        await _renew(installations, old, new)
    else:
        raise StorageDown("no answer")


async def test_a_renewal_does_not_undo_an_uninstallation(app: SlackApp, redis: Redis) -> None:
    other = Installations(vault(redis), 0.0)
    await other.save(installed(app, "old"))
    async with tokens_of(app, redis, lambda: other.remove("T0ONE")) as tokens:
        with pytest.raises(NotInstalled):
            await tokens.installation("T0ONE")
    assert app.oauth.refreshed == 1
    assert await other.is_gone("T0ONE")


async def test_a_renewal_does_not_undo_a_new_installation(app: SlackApp, redis: Redis) -> None:
    other = Installations(vault(redis), 0.0)
    await other.save(installed(app, "old"))
    new = installed(app, "new", 43_200)
    async with tokens_of(app, redis, lambda: other.save(new)) as tokens:
        assert await tokens.installation("T0ONE") == new
    assert app.oauth.refreshed == 1
    assert await other.reload("T0ONE") == new


async def test_a_record_of_an_earlier_version_is_renewed(app: SlackApp, redis: Redis) -> None:
    """It lacks a field that has a default by now."""
    own, old = vault(redis), installed(app, "old")
    await Installations(own, 0.0).save(old)
    record = dict((await own.read("T0ONE"))["T0ONE"])
    del record["bot_name"]
    await own.write("T0ONE", record)

    async with tokens_of(app, redis, nothing) as tokens:
        renewed = await tokens.installation("T0ONE")
    assert renewed.bot_token != "old"
    assert await Installations(own, 0.0).reload("T0ONE") == renewed


async def test_a_token_that_was_not_stored_does_not_replace_a_new_installation(
    app: SlackApp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis fails when the renewed token is stored; the app is installed again before the next attempt."""
    other = Installations(vault(redis), 0.0)
    await other.save(installed(app, "old"))

    async with tokens_of(app, redis, nothing) as tokens:
        with monkeypatch.context() as patch:
            patch.setattr(Installations, "renew", fail)
            assert (await tokens.installation("T0ONE")).bot_token == "old"
        new = installed(app, "new")
        await other.save(new)
        renewed = await tokens.installation("T0ONE")
    assert await other.reload("T0ONE") == renewed
    assert [each["refresh_token"] for each in app.oauth.calls] == ["refresh old", new.refresh_token]


async def test_a_token_that_was_not_stored_is_stored_by_the_next_attempt(
    app: SlackApp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Installations(vault(redis), 0.0)
    await other.save(installed(app, "old"))

    async with tokens_of(app, redis, nothing) as tokens:
        with monkeypatch.context() as patch:
            patch.setattr(Installations, "renew", fail)
            await tokens.installation("T0ONE")
        renewed = await tokens.installation("T0ONE")
    assert renewed.bot_token != "old"
    assert await other.reload("T0ONE") == renewed
    assert app.oauth.refreshed == 1


async def test_no_token_is_requested_while_the_answer_could_not_be_stored(
    app: SlackApp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack revokes a refresh token when it is used."""

    async def fail_always(*_: object) -> None:
        raise StorageDown("no answer")

    await Installations(vault(redis), 0.0).save(installed(app, "old"))
    monkeypatch.setattr(Installations, "renew", fail_always)
    async with tokens_of(app, redis, nothing) as tokens:
        assert (await tokens.installation("T0ONE")).bot_token == "old"
    assert not app.oauth.calls


async def test_a_renewal_whose_answer_was_lost_is_tried_again_and_then_needs_a_new_installation(
    app: SlackApp, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The process ends after Slack's answer, before it is stored."""
    other = Installations(vault(redis), 0.0)
    await other.save(installed(app, "old"))

    async def be_killed() -> None:
        raise asyncio.CancelledError

    async with tokens_of(app, redis, be_killed) as tokens:
        with pytest.raises(asyncio.CancelledError):
            await tokens.installation("T0ONE")
    left = await other.reload("T0ONE")
    assert left
    assert left.renewal_began_at
    assert not left.refused_at
    async with tokens_of(app, redis, nothing) as tokens:
        for _ in range(2):
            assert (await tokens.installation("T0ONE")).bot_token == "old", "it is valid until it ends"
        assert [each["refresh_token"] for each in app.oauth.calls] == ["refresh old"] * 2
        [refused] = other.refused if await other.reload("T0ONE") else []
        assert "ends at" in describe_loss(refused)
        assert "install the app again at /slack/install" in describe_loss(refused)
        await other.save(replace(refused, expires_at=time.time() - 1))
        with pytest.raises(Unreachable, match=r"has ended.*install the app again"):
            await tokens.installation("T0ONE")
        assert len(app.oauth.calls) == 2, "a refused token is not sent again"
        await other.save(installed(app, "new", 43_200))
        assert (await tokens.installation("T0ONE")).bot_token == "new"
    assert [each for each in caplog.records if each.levelname == "ERROR" and "token refused" in each.message]


async def test_a_renewal_whose_answer_was_lost_succeeds_if_slack_still_takes_the_token(
    app: SlackApp, redis: Redis
) -> None:
    other = Installations(vault(redis), 0.0)
    old = installed(app, "old")
    await other.save(replace(old, renewal_began_at=time.time() - 60))
    async with tokens_of(app, redis, nothing) as tokens:
        renewed = await tokens.installation("T0ONE")
    assert renewed.bot_token != "old"
    assert not renewed.renewal_began_at
    assert await other.reload("T0ONE") == renewed
