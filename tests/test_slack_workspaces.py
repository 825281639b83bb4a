"""Life of an installation: renewed tokens, organisations, missed messages, and its end."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Event
from bot.commands.health import describe
from bot.slack.app_credentials import AppCredentials
from bot.slack.events import team_of_interaction
from bot.slack.installations import Installation
from bot.slack.timing import Timing
from bot.storage.coordination import RedisCoordination
from tests.servers.model import ModelServer
from tests.servers.slack.app import SlackApp, Tenant
from tests.servers.slack.payloads import event_callback
from tests.servers.slack.service import ALICE, BOB, GENERAL
from tests.support import slack_platform
from tests.support.memory import wait_until_filed
from tests.support.platforms import platforms_with
from tests.support.settings import of_model
from tests.support.slack_app import install, run_app, vault
from tests.support.slack_platform import COMMANDS, Connect
from tests.support.wait import wait_until

connected = slack_platform.connect_platform
QUICK = platforms_with(slack_timing=Timing(installation_max_age=0.1), catch_up_seconds=0.1)


@pytest.fixture
async def app() -> AsyncIterator[SlackApp]:
    """Yield Slack with an app; the test fails if it had to refuse a request or an answer is unfinished."""
    async with SlackApp(ack_timeout=2, redelivery_delays=(0.2, 0.5, 1)) as slack:
        yield slack
        assert not slack.violations, slack.violations
        assert not slack.unfinished(), slack.unfinished()


async def ask(tenant: Tenant, text: str = "hello", thread: str | None = None) -> str:
    """Ask as Alice, and return the answer."""
    ts = await tenant.say(ALICE, GENERAL, f"{tenant.mention} {text}", thread)
    return await tenant.answer(GENERAL, thread or ts)


async def age(redis: Redis, id: str, seconds: float) -> None:
    """Let the token of an installation end in so many seconds, as far as the bot knows."""
    own = vault(redis)
    await own.write(id, {**(await own.read(id))[id], "expires_at": time.time() + seconds})
    await asyncio.sleep(0.15)  # the age from which the copies of the processes are compared


async def test_a_token_is_renewed_before_it_ends_and_by_one_process(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    app.oauth.token_seconds = 43_200
    one = app.add_workspace("T0ONE")
    async with (
        run_app(app, QUICK, **storage, **of_model(model)) as bot,
        run_app(app, QUICK, **storage, **of_model(model), bot_name="other"),
    ):
        await install(bot, app, one)
        await ask(one)
        assert app.oauth.refreshed == 0
        [first] = app.oauth.tokens_of("T0ONE")
        await age(redis, "T0ONE", 3_600)
        await asyncio.gather(*(ask(one, f"question {number}") for number in range(5)))
        assert app.oauth.refreshed == 1
        first, second = app.oauth.tokens_of("T0ONE")
        assert (await vault(redis).read("T0ONE"))["T0ONE"]["bot_token"] == second
        app.revoke(first)  # nobody uses it any more
        await ask(one, "again")


async def test_a_failed_renewal_leaves_the_old_token_in_use_until_the_next_attempt(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    """The answer of Slack is lost before it took effect."""
    app.oauth.token_seconds = 43_200
    one = app.add_workspace("T0ONE")
    timing = Timing(installation_max_age=0.1, token_retry_interval=0.1)
    async with run_app(
        app, platforms_with(slack_timing=timing, catch_up_seconds=0.1), **storage, **of_model(model)
    ) as bot:
        await install(bot, app, one)
        app.oauth.fails = 2
        await age(redis, "T0ONE", 3_600)
        await ask(one)

        async def is_renewed() -> bool:
            await ask(one)
            return app.oauth.refreshed == 1

        await wait_until(is_renewed, "the token is renewed later")


async def test_an_uninstalled_workspace_is_forgotten_and_others_are_not(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    """Threads, memory, requests and the installation are removed; the app can be installed again."""
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        await ask(one, "my cat is Ada")
        await ask(two, "my cat is Bea")
        await wait_until_filed(redis, 2)
        one.uninstall()
        await wait_until(lambda: _is_gone(redis, "T0ONE"), "the workspace is forgotten")
        left = await _stored(redis)
        assert not [each for each in left if b"Ada" in each or b"t0one" in each.lower()]
        assert [each for each in left if b"Bea" in each]
        assert "(message 1 of" in await ask(two, "still here?")
        assert "T0One" in await install(bot, app, one)
        assert "(message 1 of" in await ask(one, "hello again")
        await app.wait_until_settled()


async def test_a_question_asked_while_old_data_is_removed_is_answered_by_the_new_installation(
    storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """Fault: a late end of the removal took the new question for an old one."""
    slack = SlackApp(ack_timeout=2, redelivery_delays=(0.2, 0.5, 1, 1, 1))
    async with slack as app, run_app(app, QUICK, **storage, **of_model(model)) as bot:
        one, another = app.add_workspace("T0ONE"), RedisCoordination(redis, "another")
        await install(bot, app, one)
        await ask(one, "my cat is Ada")
        await app.wait_until_settled()
        await another.lease("slack:departure:T0ONE", 30)  # a process that removes the data
        one.uninstall()
        await wait_until(lambda: _has_left(redis, "T0ONE"), "the installation is removed")
        page = asyncio.create_task(install(bot, app, one))
        await wait_until(lambda: len(app.oauth.calls) > 1, "consent is given again")
        ts = await one.say(ALICE, GENERAL, f"{one.mention} what is my cat called?")
        await wait_until(lambda: len(app.deliveries[-1].attempts) > 1, "the question is not acknowledged")
        assert await _has_left(redis, "T0ONE"), "not installed before the end"
        await another.release("slack:departure:T0ONE")
        assert "200" in await page
        assert "(message 1 of" in await one.answer(GENERAL, ts)
        await app.wait_until_settled()
        assert len(one.bot_replies(GENERAL, ts)) == 1
        assert not [each for each in await _stored(redis) if b"Ada" in each]


async def _has_left(redis: Redis, team: str) -> bool:
    return "gone_at" in (await vault(redis).read(team)).get(team, {})


STAYS = tuple(
    f"{{bot}}:{name}:".encode()
    for name in ("seen", "limit", "lease", "rate", "spent", "vault_changes", "left")
)
"""Keys that stay for a time: ids of messages, counts, sums of usage."""


async def _is_gone(redis: Redis, team: str) -> bool:
    return not await vault(redis).read(team)


async def _stored(redis: Redis) -> list[bytes]:
    """Return all keys with their values, except those that stay for a time."""
    found: list[bytes] = []
    async for key in redis.scan_iter("*"):
        if key.startswith(STAYS):
            continue
        kind = await redis.type(key)
        value: Any = b""
        match kind:
            case b"string":
                value = await redis.get(key)
            case b"hash":
                value = await redis.hgetall(key)
            case b"zset":
                value = await redis.zrange(key, 0, -1)
            case b"set":
                value = await redis.smembers(key)
            case b"list":
                value = await redis.lrange(key, 0, -1)
            case b"stream":
                value = await redis.xrange(key)
            case _:
                value = await redis.dump(key)
        found.append(key + repr(value).encode())
    return found


async def test_a_late_notice_does_not_remove_a_newer_installation(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one = app.add_workspace("T0ONE")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        late = {"team_id": "T0ONE", "event_time": int(time.time()) - 60, "type": "event_callback"}
        one.send_payload(late | {"event": {"type": "app_uninstalled"}, "event_id": "Ev1"})
        other = {"type": "tokens_revoked", "tokens": {"oauth": ["U0SOMEBODY"], "bot": []}}
        one.send_event(other)
        await app.wait_until_settled()
        await ask(one)


async def test_an_organisation_is_installed_once_for_all_its_workspaces(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    """Each workspace keeps its own threads and names, and all go with the organisation."""
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    two.add_channel("C0SECOND")
    timing = Timing(installation_max_age=0.1, sweep_interval=0.1)
    platforms = platforms_with(slack_timing=timing, catch_up_seconds=0.1)
    async with run_app(app, platforms, **storage, **of_model(model)) as bot:
        assert "Organisation E0ORG" in await install(bot, app, one, two, organisation="E0ORG")
        assert "(message 1 of" in await ask(one)
        ts = await two.say(ALICE, "C0SECOND", f"{two.mention} hello")
        assert "(message 1 of" in await two.answer("C0SECOND", ts)
        assert (await vault(redis).read("T0TWO"))["T0TWO"]["organisation"] == "E0ORG"

        def are_listed() -> bool:
            listed = [call.args.get("team_id") for call in app.calls if call.method == "users.conversations"]
            return {"T0ONE", "T0TWO"} <= set(listed)

        await wait_until(are_listed, "the channels of each workspace are listed")
        one.uninstall()
        await wait_until(lambda: _is_empty(redis), "the organisation is forgotten")
        await app.wait_until_settled()


async def _is_empty(redis: Redis) -> bool:
    return not await vault(redis).read()


@pytest.mark.parametrize("told", [True, False], ids=["told of it", "not told of it"])
async def test_a_new_workspace_of_an_organisation_is_served_before_its_first_event(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis, *, told: bool
) -> None:
    """A command there was refused until somebody had written a message."""
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    timing = Timing(installation_max_age=0.1, organisation_min_age=0.0)
    platforms = platforms_with(slack_timing=timing, catch_up_seconds=0.1)
    async with run_app(app, platforms, **storage, **of_model(model)) as bot:
        await install(bot, app, one, organisation="E0ORG")

        async def is_known() -> bool:
            return "T0ONE" in await vault(redis).read()

        await wait_until(is_known, "its first workspace is known without an event")
        assert not app.count("users.info")
        app.add_to_organisation(two, "E0ORG", told=told)
        await app.wait_until_settled()
        assert ("T0TWO" in await vault(redis).read()) == told
        assert "not installed" not in await two.command_text("/agent-health", "", ALICE, GENERAL)
        ts = await two.say("W0WANDA", two.add_channel("C0SECOND"), f"{two.mention} hello")
        assert "(message 1 of" in await two.answer("C0SECOND", ts)
        outside = app.add_workspace("T0OUT")
        outside.workspace.organisation = "E0ORG"
        assert "not installed" in await outside.command_text("/agent-health", "", ALICE, GENERAL)


async def test_a_press_counts_in_a_workspace_that_the_installation_reaches(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Slack names no workspace for an organisation's installation: else that of the user would count."""
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one, organisation="E0ORG")
        await install(bot, app, two)
        ts = await one.say(ALICE, GENERAL, f"{one.mention} hello")
        await one.answer(GENERAL, ts)
        await app.wait_until_settled()
        [reply] = one.bot_replies(GENERAL, ts)
        await one.press(ALICE, GENERAL, reply.ts, "details")
        await wait_until(lambda: len(one.ephemerals) == 1, "the details are shown")
        [pressed] = [each.payload for each in app.deliveries if each.kind == "interactive"]
        of_organisation = {"team": None, "is_enterprise_install": True, "enterprise": {"id": "E0ORG"}}

        async def press_again(team: str, count: int) -> None:
            url = one.response_urls.issue(one.workspace, ALICE, GENERAL, reply)
            user = {**pressed["user"], "team_id": team}
            again = {**pressed, **of_organisation, "user": user, "response_url": url.url}
            delivery = one._deliver("interactive", again)
            await delivery.ended.wait()
            assert delivery.acked
            await wait_until(lambda: len(one.ephemerals) == count, "it is answered")

        await press_again("T0ONE", 2)
        await press_again("T0TWO", 3)
        await press_again("T0OUT", 4)
    refused = ["not installed in your workspace" in each.text for each in one.ephemerals]
    assert refused == [False, False, True, True]
    assert not two.ephemerals
    assert not [each for each in caplog.records if each.exc_info]


async def test_a_command_in_a_workspace_without_the_app_is_refused(
    storage: dict[str, Any], app: SlackApp
) -> None:
    one = app.add_workspace("T0ONE")
    async with run_app(app, QUICK, **storage):
        assert "not installed" in await one.command_text("/agent-health", "", ALICE, GENERAL)


@pytest.mark.parametrize(
    ("body", "team"),
    [
        ({"team": {"id": "T1"}, "user": {"team_id": "T2"}}, "T1"),
        ({"team": None, "user": {"team_id": "T2"}}, "T2"),
        ({"team": {"id": "E1"}, "user": {"team_id": "T2"}}, "T2"),
        ({"team": {"id": "T1"}, "view": {"app_installed_team_id": "E1"}}, "T1"),
        ({"team": {"id": "T1"}, "view": {"app_installed_team_id": "T2"}}, "T2"),
        ({"team_id": "T1", "user_id": "U1"}, "T1"),
        ({"team": "T1", "user": [], "view": 7}, "unknown"),
    ],
)
def test_the_workspace_of_an_interaction_is_never_an_organisation(body: dict[str, Any], team: str) -> None:
    assert team_of_interaction(body) == team


async def test_a_workspace_can_leave_its_organisation(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    two.add_channel("C0SECOND")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one, two, organisation="E0ORG")
        await ask(one)
        ts = await two.say(ALICE, "C0SECOND", f"{two.mention} hello")
        await two.answer("C0SECOND", ts)
        left = {"type": "team_access_revoked", "team_ids": ["T0TWO"]}
        late = event_callback(one.workspace, left) | {"event_time": int(time.time()) - 60}
        await one.send_payload(late).ended.wait()
        assert not await _has_left(redis, "T0TWO"), "it was added again since then"
        one.send_event(left)
        await wait_until(lambda: _is_gone(redis, "T0TWO"), "the workspace is forgotten")
        await ask(one)
        await app.wait_until_settled()


async def test_a_workspace_whose_token_is_lost_is_named_and_recovers_with_a_new_installation(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    """Slack's answer with the next token is lost; others go on, and what is missed is answered later."""
    app.oauth.token_seconds = 43_200
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    timing = Timing(installation_max_age=0.1, token_retry_interval=0.1)
    platforms = platforms_with(slack_timing=timing, catch_up_seconds=0.1)
    async with run_app(app, platforms, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        await ask(one)
        app.oauth.loses = 1
        await age(redis, "T0ONE", 3_600)
        slack = next(each for each in bot.platforms if each.name == "slack")

        async def is_named() -> bool:
            await ask(one)
            trouble = str((await slack.health()).evidence.get("trouble"))
            return "T0ONE: its token ends at" in trouble and "/slack/install" in trouble

        await wait_until(is_named, "health says until when the old token is valid")
        await app.wait_until_settled()
        await age(redis, "T0ONE", -1)
        assert "lost my access" in await one.command_text("/agent-health", "", ALICE, GENERAL)
        ts = await one.say(ALICE, GENERAL, f"{one.mention} are you there?")
        await app.wait_until_settled()
        assert all(each.acked for each in app.deliveries), "else Slack would end the events of all"
        assert not one.bot_replies(GENERAL, ts)
        assert "(message 1 of" in await ask(two)
        assert "200" in await install(bot, app, one)
        assert "are you there?" in await one.answer(GENERAL, ts)

        async def is_well() -> bool:
            return "trouble" not in (await slack.health()).evidence

        await wait_until(is_well, "health names it no more")


@pytest.mark.parametrize("is_socket_mode", [False, True], ids=["http", "sockets"])
async def test_what_was_missed_is_read_in_each_workspace_with_its_token(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis, *, is_socket_mode: bool
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    settings: dict[str, Any] = {**storage, **of_model(model)}
    async with run_app(app, QUICK, is_socket_mode=is_socket_mode, **settings) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        await ask(one)
        await ask(two)

        async def are_known() -> bool:
            heard = await redis.zrange("{bot}:heard", 0, -1)
            return {b"slack:T0ONE", b"slack:T0TWO"} <= set(heard)

        await wait_until(are_known, "it is known until when everything was heard")
        await app.wait_until_settled()
    app.request_url = None
    missed = [await each.say(BOB, GENERAL, f"{each.mention} are you there?") for each in (one, two)]
    async with run_app(app, QUICK, is_socket_mode=is_socket_mode, **settings):
        for tenant, ts in zip((one, two), missed, strict=True):
            assert "are you there? (message 1 of" in await tenant.answer(GENERAL, ts)
    assert [len(each.bot_replies(GENERAL, ts)) for each, ts in zip((one, two), missed, strict=True)] == [1, 1]


async def test_a_workspace_in_trouble_is_named_and_does_not_stop_the_others(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    timing = Timing(installation_max_age=0.1, sweep_interval=0.1)
    platforms = platforms_with(slack_timing=timing, catch_up_seconds=0.1)
    async with run_app(app, platforms, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        app.revoke(app.oauth.tokens_of("T0ONE")[0])
        slack = next(each for each in bot.platforms if each.name == "slack")

        async def is_named() -> bool:
            health = await slack.health()
            return "T0ONE" in str(health.evidence.get("trouble")) and health.state == "degraded"

        await wait_until(is_named, "health names the workspace")
        health = await slack.health()
        assert health.evidence["workspaces"] == 2
        assert "/slack/install" in str(health.evidence["trouble"])
        await ask(two)


async def test_health_of_a_thousand_workspaces_is_a_summary(
    app: SlackApp, redis: Redis, connected: Connect
) -> None:
    """Also if all of them are in trouble at once."""
    own = vault(redis)
    for number in range(1_000):
        lost = Installation(
            id=f"T{number:04}",
            name="A" * 200,
            url="",
            bot_token="xoxb",
            bot_id="B1",
            bot_user_id="U1",
            refresh_token="xoxe",
            expires_at=1.0,
            refused_at=1.0,
        )
        await own.write(lost.id, asdict(lost))
    http: dict[str, Any] = {"app_token": None, "signing_secret": "secret", "bot_token": None}
    credentials = AppCredentials(app.oauth.client_id, app.oauth.client_secret)
    async with connected(app, **http, credentials=credentials, vault=own) as slack:
        receiving = asyncio.create_task(slack.receive(nothing, COMMANDS))

        async def is_counted() -> bool:
            return (await slack.health()).evidence.get("workspaces") == 1_000

        await wait_until(is_counted, "the workspaces are known")
        health = await slack.health()
        receiving.cancel()
        await asyncio.wait([receiving])
    assert health.state == "degraded"
    assert health.evidence["tokens_lost"] == health.evidence["workspaces_in_trouble"] == 1_000
    assert len(describe([health])) < 2_000


async def nothing(_: Event) -> None: ...


async def test_a_damaged_record_does_not_stop_other_workspaces_and_the_app_can_be_installed_again(
    storage: dict[str, Any], model: ModelServer, app: SlackApp, redis: Redis
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
    await redis.hset("{bot}:vault:slack", "T0ONE", await redis.hget("{bot}:vault:slack", "T0TWO"))
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await ask(two)
        assert "200" in await install(bot, app, one)
        await ask(one)


async def test_files_are_read_and_shown_with_the_token_of_their_workspace(
    storage: dict[str, Any], model: ModelServer, app: SlackApp
) -> None:
    one, two = app.add_workspace("T0ONE"), app.add_workspace("T0TWO")
    async with run_app(app, QUICK, **storage, **of_model(model)) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        files = [("a.txt", "text/plain", b"the secret is 42")]
        ts = await two.say(ALICE, GENERAL, f"{two.mention} read this", files=files)
        await two.answer(GENERAL, ts)
    assert "the secret is 42" in str(model.requests[-1])


async def test_the_record_of_an_installation_says_nothing_in_a_log(redis: Redis) -> None:
    installation = Installation(
        id="T1", name="One", url="", bot_token="xoxb-secret", bot_id="B1", bot_user_id="U1"
    )
    assert "secret" not in repr(replace(installation, refresh_token="xoxe-secret"))
    assert asdict(installation)["bot_token"] == "xoxb-secret"
