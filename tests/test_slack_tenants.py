"""Two workspaces with the same ids of users, channels and times: nothing of one is of the other."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.commands import ask_texts, home_texts
from bot.slack import texts
from bot.slack.home_view import FORGET_ALL
from tests.servers.model import ModelServer, Script
from tests.servers.slack.app import SlackApp, Tenant
from tests.servers.slack.rules import visible_text
from tests.servers.slack.service import ALICE, BOB, EVE, GENERAL
from tests.support.approvals import ASK, TAKEN, UNTOUCHED, request_in, shows_request
from tests.support.memory import wait_until_filed
from tests.support.obedient_model import obey, order
from tests.support.settings import of_model
from tests.support.slack_app import install, run_app, vault
from tests.support.table import Shelf
from tests.support.wait import wait_until

ONE, TWO = "T0ONE", "T0TWO"


@pytest.fixture
async def app() -> AsyncIterator[SlackApp]:
    """Yield Slack with an app; the test fails if it had to refuse a request or an answer is unfinished."""
    async with SlackApp(ack_timeout=2, redelivery_delays=(0.2, 0.5, 1)) as slack:
        yield slack
        assert not slack.violations, slack.violations
        assert not slack.unfinished(), slack.unfinished()


@pytest.fixture
def tenants(app: SlackApp) -> tuple[Tenant, Tenant]:
    """Return two workspaces whose next messages have the same times."""
    one, two = app.add_workspace(ONE), app.add_workspace(TWO)
    two.workspace._last_ts = one.workspace._last_ts = 2_000_000_000_000_000
    return one, two


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the model; Redis is empty."""
    return {**storage, **of_model(model)}


async def ask(tenant: Tenant, text: str = "hello", user: str = ALICE) -> str:
    """Ask in #general; return the answer."""
    ts = await tenant.say(user, GENERAL, f"{tenant.mention} {text}")
    return await tenant.answer(GENERAL, ts)


async def home_of(tenant: Tenant, user: str, words: str) -> str:
    """Open the Home tab of a user; return its text once it contains the words."""
    tenant.open_home(user, "home")

    def text() -> str:
        home = tenant.home(user)
        return visible_text(home["blocks"]) if home else ""

    await wait_until(lambda: words in text(), f"the tab shows {words}")
    return text()


async def test_an_administrator_of_one_workspace_is_nobody_in_another(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant]
) -> None:
    """Security: a user of any workspace whose id was that of an administrator was one."""
    one, two = tenants
    async with run_app(app, **storage, admin_users=f"slack:{ONE}/{ALICE}") as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        assert "redis" in await one.command_text("/agent-health", "", ALICE, GENERAL)
        assert "redis" not in await two.command_text("/agent-health", "", ALICE, GENERAL)
        refused = await two.command_text("/agent-redis", "get key", ALICE, GENERAL)
        assert f"slack:{TWO}/{ALICE}" in refused, "the operator is told whom to add"
        changed = await two.command_text("/agent-channel", "instructions be rude", ALICE, GENERAL)
        assert f"slack:{TWO}/{ALICE}" in changed
        assert "rude" not in await one.command_text("/agent-channel", "show", ALICE, GENERAL)
        assert home_texts.HEALTH in await home_of(one, ALICE, home_texts.HEALTH)
        assert home_texts.HEALTH not in await home_of(two, ALICE, home_texts.USAGE)


async def test_rates_and_usage_are_of_the_user_in_one_workspace(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant]
) -> None:
    """Security: a user could use up the rate and the budget of another one."""
    one, two = tenants
    async with run_app(app, **storage, user_rate=1, channel_rate=2) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        assert "(message 1 of" in await ask(one)
        assert "(message 1 of" not in await ask(one)
        unused = await two.command_text("/agent-usage", "", ALICE, GENERAL)
        assert unused != await one.command_text("/agent-usage", "", ALICE, GENERAL)
        assert "(message 1 of" in await ask(two)
        assert "(message 1 of" in await ask(two, user=BOB)


async def test_settings_of_a_channel_are_of_one_workspace(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    one, two = tenants
    admins = f"slack:{ONE}/{ALICE}"
    async with run_app(app, **storage, admin_users=admins) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        await one.command_text("/agent-channel", "instructions speak in verse", ALICE, GENERAL)
        await ask(two)
        assert "verse" not in str(model.requests)
        await ask(one)
        assert "verse" in str(model.requests)


async def test_only_the_approver_in_their_own_workspace_sees_and_decides(
    storage: dict[str, Any],
    app: SlackApp,
    tenants: tuple[Tenant, Tenant],
    model: ModelServer,
    shelf: Shelf,
    database_url: str,
) -> None:
    """Security: the request comes from the other workspace, where somebody else has the approver's id."""
    one, two = tenants
    hers, his = two.dm(EVE), one.dm(BOB)
    approvals = {"sql_writes": "approval", "database_write_url": shelf.dsn, "database_url": database_url}
    async with run_app(app, **{**storage, **approvals}, approvers=f"slack:{ONE}/{BOB}") as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        model.script(ASK, "Done.")
        ts = await two.say(EVE, hers, "take one of each")
        await wait_until(lambda: any(map(shows_request, one.messages(his))), "the approver is asked")
        assert not [each for each in two.messages(two.dm(BOB)) if each.from_bot]
        [shown] = [each for each in one.messages(his) if shows_request(each)]
        assert f"<@{EVE}>" not in str(shown.blocks), "that is somebody else here"
        await wait_until(lambda: any(map(shows_request, two.messages(hers))), "the asker sees it")
        [own] = [each for each in two.messages(hers) if shows_request(each)]
        assert f"<@{BOB}>" not in str(own.blocks)
        request = request_in(str(shown.blocks))
        await two.say(BOB, two.dm(BOB), f"approve {request}")
        await two.press(BOB, hers, own.ts, "approve")
        await app.wait_until_settled()
        assert await shelf.stock() == UNTOUCHED
        await one.press(BOB, his, shown.ts, "approve")
        await wait_until(lambda: "Done." in two.transcript(hers, ts), "done")
        assert await shelf.stock() == TAKEN


@pytest.mark.parametrize("is_socket_mode", [False, True], ids=["http", "sockets"])
async def test_the_stop_button_ends_the_answer_of_its_own_workspace(
    storage: dict[str, Any],
    app: SlackApp,
    tenants: tuple[Tenant, Tenant],
    model: ModelServer,
    *,
    is_socket_mode: bool,
) -> None:
    one, two = tenants
    gate = asyncio.Event()
    model.script(Script(text="One.", gate=gate), Script(text="Two.", gate=gate))
    async with run_app(app, **storage, is_socket_mode=is_socket_mode) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        first = await one.say(ALICE, GENERAL, f"{one.mention} count")
        await wait_until(lambda: len(model.requests) == 1, "asked")
        second = await two.say(ALICE, GENERAL, f"{two.mention} count")
        await wait_until(lambda: len(model.requests) == 2, "asked in the other")
        assert first == second
        two.stop(ALICE, GENERAL, second)
        await app.wait_until_settled()
        gate.set()
        assert await one.answer(GENERAL, first) == "One."
        assert "Two." not in two.transcript(GENERAL, second)


async def test_memory_and_home_are_of_one_workspace(
    storage: dict[str, Any],
    app: SlackApp,
    tenants: tuple[Tenant, Tenant],
    model: ModelServer,
    redis: Redis,
) -> None:
    """Forgotten facts of one stay in the other, and an export goes to direct messages of the right one."""
    one, two = tenants
    model.respond = obey
    async with run_app(app, **storage) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        for tenant, drink in ((one, "tea"), (two, "rum")):
            fact = order("memory_save", text=f"Alice likes {drink}", scope="private")
            ts = await tenant.say(ALICE, tenant.dm(ALICE), fact)
            await tenant.answer(tenant.dm(ALICE), ts)
        await wait_until_filed(redis, 2)
        assert "rum" not in await home_of(one, ALICE, "Alice likes tea")
        assert "tea" not in await home_of(two, ALICE, "Alice likes rum")
        await two.command("/agent-memory", "export", ALICE, GENERAL)
        await wait_until(lambda: bool(_files(two)), "the file arrives")
        [data] = _files(two)
        assert b"rum" in data
        assert b"tea" not in data
        assert not _files(one)
        await one.press_home(ALICE, FORGET_ALL)
        assert "rum" in await two.command_text("/agent-memory", "show", ALICE, GENERAL)
        assert "tea" not in await one.command_text("/agent-memory", "show", ALICE, GENERAL)


def _files(tenant: Tenant) -> list[bytes]:
    return [
        file.data or b""
        for message in tenant.messages(tenant.dm(ALICE))
        if message.from_bot
        for file in message.files
    ]


async def test_files_and_names_are_read_with_the_token_of_their_workspace(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    one, two = tenants
    one.workspace.users[BOB] = "Ada Alone"
    two.workspace.users[BOB] = "Bea Beside"
    async with run_app(app, **storage) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        for tenant, name, other in ((one, "Ada Alone", "Bea"), (two, "Bea Beside", "Ada")):
            before = len(model.requests)
            ts = await tenant.say(
                ALICE,
                GENERAL,
                f"{tenant.mention} is it of <@{BOB}>?",
                files=[("note.txt", "text/plain", f"secret of {tenant.workspace.team}".encode())],
            )
            await tenant.answer(GENERAL, ts)
            heard = str(model.requests[before:])
            assert name in heard
            assert other not in heard
            assert f"secret of {tenant.workspace.team}" in heard


async def test_shortcuts_and_feedback_are_of_one_workspace(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    one, two = tenants
    model.respond = lambda _: "It is Monday."
    async with run_app(app, **storage) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        ts = await two.say(BOB, GENERAL, "Which day is it?")
        form = await two.shortcut(ask_texts.ASK_ABOUT, ALICE, (GENERAL, ts))
        await two.submit(form, {"question": "Tell me"})
        await two.answer(GENERAL, ts, until=lambda text: "It is Monday." in text)
        await app.wait_until_settled()
        assert not [each for each in one.messages(GENERAL) if each.from_bot]
        answer = next(each for each in two.bot_replies(GENERAL, ts) if "Monday" in each.visible_text)
        await two.press(ALICE, GENERAL, answer.ts, "rate", "positive_button")
        assert home_texts.feedback(1, 0) in await home_of(two, ALICE, home_texts.feedback(1, 0))
        assert home_texts.feedback(1, 0) not in await home_of(one, ALICE, home_texts.USAGE)


async def test_an_uninstallation_over_sockets_removes_one_workspace(
    storage: dict[str, Any], app: SlackApp, tenants: tuple[Tenant, Tenant], redis: Redis
) -> None:
    one, two = tenants
    async with run_app(app, **storage, is_socket_mode=True) as bot:
        await install(bot, app, one)
        await install(bot, app, two)
        await ask(one)
        await ask(two)
        form = await one.shortcut(ask_texts.ASK, ALICE)
        one.uninstall()

        async def is_gone() -> bool:
            return "bot_token" not in (await vault(redis).read(ONE)).get(ONE, {})

        await wait_until(is_gone, "the installation is removed")
        assert (await one.submit(form, {"question": "Which day is it?"})).errors == {
            "question": texts.NOT_INSTALLED
        }, "what was typed is not lost without a word"
        ts = await two.say(ALICE, GENERAL, f"{two.mention} still here?")
        assert await two.answer(GENERAL, ts)
