"""Installation in several workspaces over OAuth, through real HTTP, and answers in each of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yaml
from aiohttp import DummyCookieJar
from redis.asyncio import Redis
from yarl import URL

from bot.config import ConfigError
from bot.slack.scopes import needed_scopes
from tests.servers.model import ModelServer
from tests.servers.slack.app import SlackApp
from tests.servers.slack.service import ALICE, GENERAL
from tests.support.bot import ROOT
from tests.support.settings import of_model
from tests.support.slack_app import address, browser, install, run_app, vault
from tests.support.wait import wait_until


@pytest.fixture
async def app() -> AsyncIterator[SlackApp]:
    """Yield Slack with an app; the test fails if it had to refuse a request or an answer is unfinished."""
    async with SlackApp(ack_timeout=2, redelivery_delays=(0.2, 0.5, 1)) as slack:
        yield slack
        assert not slack.violations, slack.violations
        assert not slack.unfinished(), slack.unfinished()


@pytest.mark.parametrize("is_socket_mode", [False, True], ids=["http", "sockets"])
async def test_each_workspace_is_answered_with_its_own_token(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, *, is_socket_mode: bool
) -> None:
    """Even if channel, user and time are the same in both: the two threads do not know each other."""
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, is_socket_mode=is_socket_mode, **storage, **of_model(model)) as bot:
        assert "installed in T0One" in await install(bot, app, one)
        assert "200" in await install(bot, app, two)
        two.workspace._last_ts = one.workspace._last_ts = 2_000_000_000_000_000
        first = await one.say(ALICE, GENERAL, f"{one.mention} I am Ada")
        second = await two.say(ALICE, GENERAL, f"{two.mention} I am Bea")
        assert first == second
        assert "I am Ada (message 1 of" in await one.answer(GENERAL, first)
        assert "I am Bea (message 1 of" in await two.answer(GENERAL, second)
        await two.say(ALICE, GENERAL, "and who am I?", thread_ts=second)
        assert "(message 2 of" in await two.answer(GENERAL, second)
        await app.wait_until_settled()
    assert len(one.bot_replies(GENERAL, first)) == 1
    for tenant in (one, two):
        assert "chat.startStream" in app.calls_in(tenant.workspace.team)
    assert app.count("auth.test") == 2  # one for each installation, none for an event


async def test_commands_and_buttons_work_in_each_workspace(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    admins = frozenset({f"slack:T0TWO/{ALICE}"})
    async with run_app(app, **storage, **of_model(model), admin_users=admins) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        health = await two.command_text("/agent-health", "", ALICE, GENERAL)
        assert "workspaces" in health
        ts = await two.say(ALICE, GENERAL, f"{two.mention} hello")
        await two.answer(GENERAL, ts)
        [reply] = two.bot_replies(GENERAL, ts)
        await two.press(ALICE, GENERAL, reply.ts, "details")
        await wait_until(lambda: bool(two.ephemerals), "the details are shown in the same workspace")
        opened = await two.command("/agent-redis", "set key", ALICE, GENERAL)
        assert opened.acked
        await wait_until(lambda: bool(two.modals), "the form is open")
        assert not one.ephemerals
        assert not one.modals
        await two.submit(two.modals[0], {"value": "7"})
        await wait_until(lambda: len(two.ephemerals) > 1, "the form is answered")


async def test_the_installation_survives_a_restart_and_serves_another_process(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
    async with run_app(app, **storage, **of_model(model)) as bot:
        ts = await one.say(ALICE, GENERAL, f"{one.mention} hello")
        await one.answer(GENERAL, ts)
        async with run_app(app, **storage, **of_model(model), bot_name="other") as other:
            await install(bot, app, two)  # while the other process runs, which gets the events
            assert app.request_url == f"{address(other)}/slack/events"
            ts = await two.say(ALICE, GENERAL, f"{two.mention} hello")
            await two.answer(GENERAL, ts)


async def test_a_user_who_declines_installs_nothing(storage: dict[str, Any], app: SlackApp) -> None:
    async with run_app(app, **storage) as bot:
        assert "declined" in await install(bot, app)
    assert not app.oauth.calls


async def test_a_state_counts_once_and_only_in_the_browser_that_got_it(
    storage: dict[str, Any], app: SlackApp
) -> None:
    """Nobody can make another user's browser complete an installation."""
    app.choose(app.add_workspace("T0ONE"))
    async with run_app(app, **storage) as bot, browser(bot) as victim, browser(bot) as attacker:
        app.oauth.redirect_url = f"{address(bot)}/slack/oauth_redirect"
        begin = f"{address(bot)}/slack/install"
        async with attacker.get(begin, allow_redirects=False) as page:
            consent = page.headers["Location"]
            cookie = page.headers["Set-Cookie"]
            assert {"Secure", "HttpOnly", "SameSite=Lax"} <= {each.strip() for each in cookie.split(";")}
        async with attacker.get(consent, allow_redirects=False) as page:
            back = page.headers["Location"]
        async with victim.get(back) as page:
            assert page.status == 400
        async with victim.get(begin, allow_redirects=False), victim.get(back) as page:
            assert page.status == 400  # with a cookie of its own
        assert not app.oauth.calls
        async with attacker.get(back) as page:
            assert page.status == 200
        attacker.cookie_jar.update_cookies(
            {"slack-app-oauth-state": parse_qs(urlsplit(back).query)["state"][0]}
        )
        async with attacker.get(back) as page:
            assert page.status == 400
        assert len(app.oauth.calls) == 1


@pytest.mark.parametrize(
    "query",
    ["", "?code=1", "?state=1.2.3&code=1", "?error=access_denied", "?error=<script>", "?state=%00&code=%ff"],
)
async def test_a_foreign_address_installs_nothing_and_is_shown_nothing_of_itself(
    storage: dict[str, Any], app: SlackApp, query: str
) -> None:
    async with run_app(app, **storage) as bot, browser(bot) as session:
        async with session.get(f"{address(bot)}/slack/oauth_redirect{query}") as page:
            assert page.status == 400
            assert "script" not in await page.text()
        async with session.post(f"{address(bot)}/slack/install") as page:
            assert page.status == 405
        async with session.get(f"{address(bot)}/slack/events") as page:
            assert page.status == 405
        async with session.get(f"{address(bot)}/") as page:
            assert page.status == 403  # without API_TOKEN nothing else is served to the outside


@pytest.mark.parametrize("cookie", [b"\xff", b"\xc3\x28abc", "é".encode()])
async def test_a_cookie_of_any_bytes_is_refused(
    storage: dict[str, Any], app: SlackApp, caplog: pytest.LogCaptureFixture, cookie: bytes
) -> None:
    state = f"{int(time.time())}.{'a' * 32}.{'0' * 64}".encode()
    lines = (
        b"GET /slack/oauth_redirect?code=1&state=" + state + b" HTTP/1.1",
        b"Host: bot.example",
        b"Connection: close",
        b"Cookie: slack-app-oauth-state=" + cookie,
        b"",
        b"",
    )
    async with run_app(app, **storage) as bot:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address(bot)).port)
        writer.write(b"\r\n".join(lines))
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
    assert not [each for each in caplog.records if each.exc_info]


async def test_a_proxy_may_serve_the_bot_below_a_path(storage: dict[str, Any], app: SlackApp) -> None:
    """The browser returns to another path than the one that the bot sees."""
    app.choose(app.add_workspace("T0ONE"))
    async with run_app(app, **storage) as bot, browser(bot) as session:
        await session.get(f"{address(bot)}/slack/install", allow_redirects=False)
        sent = session.cookie_jar.filter_cookies(URL(f"{address(bot)}/bot/slack/oauth_redirect"))
        assert list(sent) == ["slack-app-oauth-state"]


async def test_a_crowd_of_strangers_makes_few_requests_at_once(
    storage: dict[str, Any], app: SlackApp, redis: Redis
) -> None:
    async with run_app(app, **storage) as bot, aiohttp.ClientSession(cookie_jar=DummyCookieJar()) as session:

        async def come_back(number: int) -> int:
            async with session.get(f"{address(bot)}/slack/install", allow_redirects=False) as page:
                state = parse_qs(urlsplit(page.headers["Location"]).query)["state"][0]
            cookie = {"Cookie": f"slack-app-oauth-state={state}"}
            query = {"state": state, "code": f"x{number}"}
            async with session.get(
                f"{address(bot)}/slack/oauth_redirect", params=query, headers=cookie
            ) as page:
                return page.status

        app.oauth.goes_on.clear()
        crowd = [asyncio.create_task(come_back(number)) for number in range(30)]
        await wait_until(lambda: sum(each.done() for each in crowd) == 26, "the others are refused")
        assert len(app.oauth.calls) <= 4
        app.oauth.goes_on.set()
        found = await asyncio.gather(*crowd)
    assert sorted(found) == [400] * 4 + [503] * 26
    assert len(app.oauth.calls) == 4
    assert len([each async for each in redis.scan_iter("*slack:state*")]) == 4


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        ("secret", 502, "operator"),
        ("lost", 503, "try again"),
        ("code", 400, "begin again"),
    ],
)
async def test_a_failed_exchange_is_told_and_installs_nothing(
    storage: dict[str, Any], app: SlackApp, redis: Redis, trouble: str, status: int, words: str
) -> None:
    one = app.add_workspace("T0ONE")
    async with run_app(app, **storage) as bot:
        if trouble == "secret":
            app.oauth.client_secret = "changed"
        elif trouble == "lost":
            app.oauth.fails = 1
        else:
            app.oauth.used_codes.update(f"code.{number}" for number in range(10))
        page = await install(bot, app, one)
    assert page.startswith(str(status))
    assert words in page
    assert not await vault(redis).read()


async def test_nothing_secret_is_stored_in_clear_or_logged(
    storage: dict[str, Any],
    model: ModelServer,
    app: SlackApp,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app.oauth.token_seconds = 43_200
    one = app.add_workspace("T0ONE")
    with caplog.at_level("DEBUG"):
        async with run_app(app, **storage, **of_model(model)) as bot:
            await install(bot, app, one)
            ts = await one.say(ALICE, GENERAL, f"{one.mention} hello")
            await one.answer(GENERAL, ts)
    secrets = [*app.oauth.tokens_of("T0ONE"), *app.oauth.refresh_tokens]
    assert len(secrets) == 2
    stored = [(await redis.dump(key)) or b"" async for key in redis.scan_iter("*")]
    for secret in secrets:
        assert not any(secret.encode() in each for each in stored)
        assert secret not in caplog.text


def test_the_scopes_are_those_of_the_manifest() -> None:
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text())
    assert needed_scopes() == sorted(manifest["oauth_config"]["scopes"]["bot"])


async def test_an_event_of_an_unknown_workspace_is_acknowledged_and_left(
    storage: dict[str, Any], app: SlackApp
) -> None:
    one = app.add_workspace("T0ONE")
    async with run_app(app, **storage):
        await one.say(ALICE, GENERAL, f"{one.mention} hello")
        await app.wait_until_settled()
        await asyncio.sleep(0)
    assert all(each.acked for each in app.deliveries)
    assert not app.calls_in("T0ONE")


async def test_with_another_key_the_bot_does_not_start_and_with_the_right_one_nothing_is_lost(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one = app.add_workspace("T0ONE")
    async with run_app(app, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
    with pytest.raises(ConfigError, match="ENCRYPTION_KEY: 1 of 1"):
        async with run_app(app, **storage, **of_model(model), encryption_key="ff" * 32):
            pass
    async with run_app(app, **storage, **of_model(model)):
        ts = await one.say(ALICE, GENERAL, f"{one.mention} hello")
        assert "(message 1 of" in await one.answer(GENERAL, ts)
