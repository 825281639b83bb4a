"""Channel that workspaces share (Slack Connect), where several of them have installed the app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access import texts as access_texts
from bot.app import Bot
from bot.slack.api import open_api
from bot.slack.events import bot_mentioned_in, parse_event, team_of_event
from bot.slack.shared_channels import Connections
from bot.slack.timing import Timing
from tests.servers.model import ModelServer, Script
from tests.servers.slack.app import SlackApp, Tenant
from tests.servers.slack.service import BOT_USER, GENERAL
from tests.support.platforms import platforms_with
from tests.support.settings import of_model
from tests.support.slack_app import install, run_app
from tests.support.wait import wait_until

HOST, GUEST = "T0HOST", "T0GUEST"
DANA, ERIN, ZOE = "U0DANA", "U0ERIN", "U0ZOE"
"""Dana is at home in the guest's workspace, Erin in the host's, Zoe in one without the app."""

SHARED = "C0SHARED"
QUICK = platforms_with(slack_timing=Timing(installation_max_age=0.1), catch_up_seconds=0.1)


@pytest.fixture
async def app() -> AsyncIterator[SlackApp]:
    """Yield Slack with an app; the test fails if it had to refuse a request or an answer is unfinished."""
    async with SlackApp(ack_timeout=2, redelivery_delays=(0.2, 0.5, 1)) as slack:
        yield slack
        assert not slack.violations, slack.violations
        assert not slack.unfinished(), slack.unfinished()


@pytest.fixture
def storage(storage: dict[str, Any], model: ModelServer) -> dict[str, Any]:
    """Settings of the session's servers with the model; Redis is empty."""
    return {**storage, **of_model(model)}


@pytest.fixture
def sides(app: SlackApp) -> tuple[Tenant, Tenant]:
    """Return the workspace that hosts a shared channel, and the one that is its guest."""
    host, guest = app.add_workspace(HOST), app.add_workspace(GUEST)
    app.share(SHARED, host, guest)
    guest._know(DANA)
    host._know(ERIN)
    for each in (host, guest):
        each.workspace.users[ZOE] = "zoe"
        each.workspace.described[ZOE] = {"team_id": "T0NINE"}
    return host, guest


@asynccontextmanager
async def run_on(app: SlackApp, sides: tuple[Tenant, Tenant], **settings: Any) -> AsyncIterator[Bot]:
    """Run the bot, installed on both sides."""
    async with run_app(app, QUICK, **settings) as bot:
        for each in sides:
            await install(bot, app, each)
        yield bot


def answers(side: Tenant, ts: str) -> list[tuple[str, str]]:
    """Return the answers in a thread, each with the workspace whose bot gave it."""
    return [(each.team, each.visible_text) for each in side.bot_replies(SHARED, ts)]


@pytest.mark.parametrize("told", [None, 1], ids=["both installations", "the host's installation"])
async def test_a_message_is_answered_once_by_the_installation_of_its_author(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], redis: Redis, told: int | None
) -> None:
    """Slack may name any installation in an event, and may send one event or one for each."""
    host, guest = sides
    app.installations_told = told
    async with run_on(app, sides, **storage):
        ts = await guest.say(DANA, SHARED, f"{guest.mention} hello")
        assert "(message 1 of" in await guest.answer(SHARED, ts)
        await guest.say(DANA, SHARED, "and then?", ts)
        await guest.answer(SHARED, ts, until=lambda text: "(message 2 of" in text)
        other = await host.say(ERIN, SHARED, f"{host.mention} hello")
        assert "(message 1 of" in await host.answer(SHARED, other)
        await app.wait_until_settled()
        used = await guest.command_text("/agent-usage", "", DANA, SHARED)
        assert used != await host.command_text("/agent-usage", "", DANA, SHARED), "the guest pays for Dana"
    assert [team for team, _ in answers(guest, ts)] == [GUEST]
    assert [team for team, _ in answers(host, other)] == [HOST]
    assert all(each.acked for each in app.deliveries)
    threads = [key.lower() async for key in redis.scan_iter("*c0shared*")]
    assert not [each for each in threads if b"t0host" in each and ts.encode() in each]


async def test_a_stranger_is_answered_once_and_by_the_host_if_it_allows_that(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    """Security: whose bot works for a stranger was chance, and both did."""
    host, guest = sides
    async with run_on(app, sides, **storage):
        ts = await guest.say(ZOE, SHARED, f"{guest.mention} hello")
        refused = await host.answer(SHARED, ts)
        await app.wait_until_settled()
        assert answers(host, ts) == [(HOST, refused)]
    assert access_texts.EXTERNAL_NOT_ALLOWED[:20] in refused
    assert not model.requests
    async with run_app(app, QUICK, **storage, allow_external="chat"):
        for place in sides:
            ts = await place.say(ZOE, SHARED, f"{place.mention} hello")
            await place.answer(SHARED, ts)
            await app.wait_until_settled()
            assert [team for team, _ in answers(place, ts)] == [HOST]


async def test_where_the_authors_bot_is_not_a_member_the_author_is_external(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    """Security: the workspace that pays decides, although the author's workspace has the app, too."""
    host, guest = sides
    guest.remove_bot(SHARED)
    async with run_on(app, sides, **storage):
        ts = await guest.say(DANA, SHARED, f"{guest.mention} hello")
        assert access_texts.EXTERNAL_NOT_ALLOWED[:20] in await host.answer(SHARED, ts)
        await app.wait_until_settled()
    assert [team for team, _ in answers(host, ts)] == [HOST]
    assert not model.requests


async def test_an_edit_and_a_cross_reach_the_installation_that_answers(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    host, guest = sides
    app.installations_told = 1
    async with run_on(app, sides, **storage):
        ts = await guest.say(DANA, SHARED, f"{guest.mention} hello")
        await guest.answer(SHARED, ts)
        guest.edit(SHARED, ts, f"{guest.mention} good evening")
        await guest.answer(SHARED, ts, until=lambda text: "good evening" in text)
        gate = asyncio.Event()
        model.script(Script(text="Never shown.", gate=gate))
        before = len(model.requests)
        ts = await guest.say(DANA, SHARED, f"{guest.mention} count")
        await wait_until(lambda: len(model.requests) > before, "asked")
        item = {"type": "message", "channel": SHARED, "ts": ts}
        event = {"type": "reaction_added", "reaction": "x", "item": item, "event_ts": ts}
        delivery = host.send_event(event | {"user": DANA})
        await delivery.ended.wait()
        gate.set()
        assert "Never shown." not in await guest.answer(SHARED, ts)


async def test_a_deleted_question_with_replies_is_withdrawn_from_the_installation_that_answers(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], model: ModelServer, redis: Redis
) -> None:
    """Slack puts a message of its own in its place, which is not of the author."""
    host, guest = sides
    async with run_on(app, sides, **storage):
        gate = asyncio.Event()
        model.script(Script(text="Never shown.", gate=gate))
        ts = await guest.say(DANA, SHARED, f"{guest.mention} count")
        await wait_until(lambda: bool(model.requests), "asked")
        before = {"type": "message", "user": DANA, "ts": ts, "text": "count", "user_team": GUEST}
        left = {"type": "message", "subtype": "tombstone", "user": "USLACKBOT", "ts": ts, "hidden": True}
        event = {"type": "message", "subtype": "message_changed", "channel": SHARED, "event_ts": ts}
        changed = {"channel_type": "channel", "message": left, "previous_message": before}
        delivery = host.send_event(event | changed)
        await delivery.ended.wait()
        withdrawn = await redis.hget(f"{{bot}}:seen:slack:{GUEST}:{SHARED}:{ts}", "withdrawn")
        gate.set()
        assert withdrawn
        await wait_until(lambda: not app.unfinished(), "the turn has ended")


async def test_a_button_counts_where_its_message_was_posted_with_the_rights_there(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], model: ModelServer
) -> None:
    host, guest = sides
    async with run_on(app, sides, **storage):
        ts = await guest.say(DANA, SHARED, f"{guest.mention} hello")
        await guest.answer(SHARED, ts)
        await app.wait_until_settled()
        [reply] = guest.bot_replies(SHARED, ts)
        asked = len(model.requests)
        await host.press(ERIN, SHARED, reply.ts, "regenerate")
        await wait_until(lambda: bool(guest.ephemerals), "the press is answered")
        assert guest.ephemerals[-1].user == ERIN
        assert not host.ephemerals
        assert len(model.requests) == asked, "a user of the other side is external here"
        await guest.press(DANA, SHARED, reply.ts, "details")
        await wait_until(lambda: len(guest.ephemerals) == 2, "the details are shown")


async def test_what_was_missed_is_answered_once_by_the_same_installation(
    storage: dict[str, Any], app: SlackApp, sides: tuple[Tenant, Tenant], redis: Redis
) -> None:
    _, guest = sides
    async with run_on(app, sides, **storage):
        for each in sides:
            ts = await each.say("U0ALICE", GENERAL, f"{each.mention} hello")
            await each.answer(GENERAL, ts)

        async def are_known() -> bool:
            heard = await redis.zrange("{bot}:heard", 0, -1)
            return {b"slack:T0HOST", b"slack:T0GUEST"} <= set(heard)

        await wait_until(are_known, "it is known until when everything was heard")
        await app.wait_until_settled()
    app.request_url = None
    missed = await guest.say(DANA, SHARED, f"{guest.mention} are you there?")
    async with run_app(app, QUICK, **storage):
        assert "are you there?" in await guest.answer(SHARED, missed)

        def have_read() -> set[str]:
            read = [call for call in app.calls if call.method == "conversations.history"]
            return {call.team for call in read if call.args["channel"] == SHARED}

        await wait_until(lambda: have_read() == {HOST, GUEST}, "both have read the channel")
    assert [team for team, _ in answers(guest, missed)] == [GUEST]


def test_the_bot_of_another_installation_is_not_answered() -> None:
    event = {
        "type": "message",
        "channel": SHARED,
        "channel_type": "channel",
        "user": "U0OTHERBOT",
        "bot_id": "B0OTHER",
        "app_id": "A1",
        "text": f"<@{BOT_USER}> hello",
        "ts": "1.0",
    }
    body = {"api_app_id": "A1", "team_id": HOST, "event": event}
    bots = frozenset({"slack:B0OTHER"})
    assert parse_event(body, BOT_USER, bots) is None
    assert parse_event({**body, "api_app_id": "A2"}, BOT_USER, bots)


def test_an_author_is_external_although_their_team_has_the_app_too() -> None:
    """Security: each team in `authorizations` counted as the one that answers."""
    event = {
        "type": "app_mention",
        "channel": SHARED,
        "user": DANA,
        "user_team": GUEST,
        "text": f"<@{BOT_USER}> hello",
        "ts": "1.0",
    }
    body = {"event": event, "authorizations": [{"team_id": HOST}, {"team_id": GUEST}]}
    message = parse_event(body, BOT_USER)
    assert message
    assert message.is_external  # type: ignore[union-attr]


def test_without_an_authorization_the_workspace_is_the_one_that_receives_the_event() -> None:
    """In a shared channel `team_id` is its host, which may be a stranger's workspace."""
    body = {"team_id": HOST, "context_team_id": GUEST, "authorizations": [{"team_id": None}]}
    assert team_of_event({**body, "is_ext_shared_channel": True}) == GUEST
    assert team_of_event(body) == HOST


@pytest.mark.parametrize(
    ("text", "bot"), [("<@U0B> hi", "U0B"), ("<@U0A> and <@U0B>", "U0A"), ("hi", "U0A"), ("<@U0C>", "U0A")]
)
def test_a_mention_of_the_other_installations_bot_is_one_of_this_bot(text: str, bot: str) -> None:
    body = {"event": {"text": text}, "authorizations": [{"user_id": "U0B", "is_bot": True}]}
    assert bot_mentioned_in(body, "U0A") == bot


async def test_a_channel_is_described_once_also_if_slack_names_no_members(app: SlackApp) -> None:
    """Slack does not say of direct messages who is a member."""
    tenant = app.add_workspace(HOST)
    app.web_api.tokens["xoxb-host"], app.web_api.workspaces["xoxb-host"] = "bot", tenant.workspace
    async with open_api("xoxb-host", app.api_url, Timing()) as api:
        connections = Connections(api, Timing())
        for _ in range(3):
            assert (await connections.of(tenant.dm(DANA), is_member=True)).is_member
        assert app.count("conversations.info") == 1
