"""Names on Slack: the agent reads names where a message has the ids of users, channels and groups."""

import math
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Message as Asked
from bot.chat import ThreadId
from bot.platforms.names import KnownNames
from bot.slack.api import open_api
from bot.slack.block_text import plain_text
from bot.slack.names import Names
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.slack.users import Users
from bot.storage.coordination import RedisCoordination
from tests.servers.model import ModelServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, GENERAL, TEAM, Message, Slack
from tests.support.bot import run_bot
from tests.support.settings import of_model, of_slack
from tests.support.wait import wait_until

GROUP = "S0ONCALL"
PRIVATE = "C0PRIVATE"


@pytest.fixture
def settings(storage: dict[str, Any], model: ModelServer, slack: Slack) -> dict[str, Any]:
    """Settings of the bot; the model answers each request with one word."""
    model.respond = lambda _: "Understood."
    slack.workspace.groups[GROUP] = "oncall"
    return {**storage, **of_model(model), **of_slack(slack)}


async def ask(slack: Slack, text: str) -> None:
    ts = await slack.say(ALICE, GENERAL, f"{slack.mention} {text}")
    await slack.answer(GENERAL, ts)
    await slack.wait_until_settled()


def question(model: ModelServer) -> str:
    return str(model.requests[-1]["messages"][-1]["content"])


async def test_users_channels_and_groups_have_their_names(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """They are looked up once; the name of a private channel is not told."""
    slack.add_channel(PRIVATE, "group", [BOB, BOT_USER])
    text = f"are <@{BOB}>, <#{GENERAL}|>, <#{PRIVATE}|> and <!subteam^{GROUP}> there?"
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, text)
        assert question(model) == f"are @bob, #general, #{PRIVATE} and @oncall there?"
        before = len(slack.calls)
        await ask(slack, text)
        assert question(model) == f"are @bob, #general, #{PRIVATE} and @oncall there?"
    later = slack.calls[before:]
    assert not {"users.info", "usergroups.list"} & {call.method for call in later}
    assert PRIVATE not in {call.args.get("channel") for call in later}


@pytest.mark.parametrize("reader", ["guest", "other organisation"])
async def test_the_name_of_a_channel_is_not_told_to_who_may_not_see_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer, reader: str
) -> None:
    """Fault: an id that a guest typed became a name, and so did one that others wrote in the thread."""
    slack.add_channel("C0OTHER")
    if reader == "guest":
        slack.describe(ALICE, is_restricted=True)
    else:
        slack.workspace.channels[GENERAL].is_shared = True
    async with run_bot(**settings, allow_external="all"):
        await slack.wait_for_connections()
        root = await slack.say(BOB, GENERAL, "what is in <#C0OTHER|> ?")
        await slack.say(ALICE, GENERAL, f"{slack.mention} and <@{BOB}>, <#C0OTHER> ?", thread_ts=root)
        await slack.answer(GENERAL, root)
        await slack.wait_until_settled()
    assert "what is in #C0OTHER ?" in question(model)
    assert "and @bob, #C0OTHER ?" in question(model)
    assert "C0OTHER" not in {call.args.get("channel") for call in slack.calls}


async def test_a_group_among_very_many_is_looked_up_once(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: the names of the others took its place, and all were listed for each message."""
    slack.workspace.groups.update({f"S0GROUP{number}": f"group{number}" for number in range(1_200)})
    async with run_bot(**settings):
        await slack.wait_for_connections()
        for _ in range(2):
            await ask(slack, f"is <!subteam^{GROUP}> there?")
            assert question(model) == "is @oncall there?"
    assert slack.count("usergroups.list") == 1


def test_a_name_that_is_renewed_takes_no_place_of_another() -> None:
    names = KnownNames()
    for number in (*range(1_000), *range(1_000)):
        names.put(str(number), "name", 60)
    assert all(names.get(str(number)) == "name" for number in range(1_000))
    names.put("999", "new", 60)
    assert names.get("0") == "name"


def test_a_name_stays_for_a_limited_time_while_the_service_is_silent() -> None:
    """However often it is kept: the time begins when the name was told."""
    names, gone = KnownNames(), KnownNames(max_age=0.0)
    for each in (names, gone):
        each.put("1", "name", 0)
    assert (names.keep("1", 60), gone.keep("1", 60)) == ("name", "")
    assert (names.get("1"), gone.get("1")) == ("name", "")
    told_at = names.entries["1"][2]
    assert names.keep("1", 60) == "name"
    assert names.entries["1"][2] == told_at


async def test_names_stay_while_slack_is_silent_and_go_when_it_is_not_asked(
    slack: Slack, redis: Redis
) -> None:
    """Fault: ten ids of others took all look-ups, and a channel that had been closed kept its name."""
    slack.workspace.groups.update({f"S0GROUP{number:02}": f"group{number}" for number in range(25)})
    slack.workspace.groups[GROUP] = "oncall"
    slack.tolerate("channel_not_found")
    timing = Timing(author_max_age=0.0, unknown_author_max_age=0.0)
    message = Asked(
        id="1", thread=ThreadId("slack", TEAM, GENERAL), author=ALICE, text="", sent_at=0.0, addressed=True
    )
    async with open_api(slack.bot_token, slack.api_url, timing) as api:
        limits = RateLimits(RedisCoordination(redis, "one"))
        names = Names(api, limits, Users(api, limits, timing), timing)

        async def readable(text: str) -> str:
            return (await names.readable(message, [text]))[0]

        assert await readable(f"#{GENERAL} @{GROUP}") == "#general @oncall"
        methods = ("conversations.info", "usergroups.list")
        silent = [slack.fail(each, status=500, times=math.inf) for each in methods]
        assert await readable(f"#{GENERAL} @{GROUP}") == "#general @oncall"
        for each in silent:
            slack.web_api.faults.remove(each)
        before = slack.count("conversations.info")
        junk = " ".join(f"#C0JUNK{number:02}" for number in range(10))
        assert await readable(f"{junk} #{GENERAL}") == f"{junk} #{GENERAL}"
        assert slack.count("conversations.info") == before + 10
        groups = " ".join(f"@S0GROUP{number:02}" for number in range(25))
        assert (await readable(groups)).count("@group") == 20


async def test_names_that_are_known_take_no_place_of_others(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: of many ids only the first ones became names, however often they had been looked up."""
    users = [f"U0WRITER{number:02}" for number in range(25)]
    for each in users:
        slack.describe(each)
    text = "are " + " ".join(f"<@{each}>" for each in users) + " there?"
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, text)
        assert question(model).count("@writer") == 20
        await ask(slack, text)
    assert question(model).count("@writer") == 25


async def test_a_channel_that_slack_describes_late_takes_no_name_from_others(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """Fault: none of the ids became a name."""
    slack.add_channel("C0OTHER")
    async with run_bot(**settings):
        await slack.wait_for_connections()
        slack.slow("conversations.info", 30, times=math.inf)
        await ask(slack, f"are <@{BOB}>, <#C0OTHER|> and <!subteam^{GROUP}> there?")
    assert question(model) == "are @bob, #C0OTHER and @oncall there?"


async def test_an_id_stays_if_slack_does_not_tell_the_name(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """A missing scope costs names, and no answer."""
    slack.web_api.scopes -= {"users:read", "usergroups:read"}
    slack.tolerate("missing_scope")
    slack.fail("conversations.info", error="internal_error", times=math.inf)
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, f"are <@{BOB}>, <#{GENERAL}|> and <!subteam^{GROUP}> there?")
    assert question(model) == f"are @{BOB}, #{GENERAL} and @{GROUP} there?"


async def test_a_new_name_is_used_after_slack_has_told_it(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, f"is <@{BOB}> there?")
        assert question(model) == "is @bob there?"
        user = {"id": BOB, "team_id": "T0TEAM00001", "profile": {"display_name": "robert"}}
        delivery = slack.send_event({"type": "user_change", "user": user, "event_ts": "1.0"})
        await wait_until(lambda: delivery.acked, "the change is taken")
        await ask(slack, f"is <@{BOB}> there now?")
    assert question(model) == "is @robert there now?"


async def test_a_second_process_learns_names_from_the_first(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    for _ in range(2):
        async with run_bot(**settings):
            await slack.wait_for_connections()
            await ask(slack, f"is <@{BOB}> there?")
    assert question(model) == "is @bob there?"
    asked = [call.args["user"] for call in slack.calls if call.method == "users.info"]
    assert sorted(asked) == [ALICE, BOB]


async def test_the_agent_knows_the_local_time_and_the_locale_of_the_asker(
    settings: dict[str, Any], slack: Slack, model: ModelServer
) -> None:
    """They come last in the system message."""
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, "what now?")
    system = model.requests[-1]["messages"][0]["content"].splitlines()[-1]
    assert system.startswith("For the user who asks now it is ")
    assert system.endswith("(Europe/Berlin). The locale of their app is de-DE.")


@pytest.mark.parametrize("slashes", ["//", "///", "/////"])
@pytest.mark.parametrize("pattern", ["{}", "<{}|y>", "[a]({})"])
async def test_a_name_that_looks_like_a_link_is_not_followed(
    settings: dict[str, Any], slack: Slack, model: ModelServer, pattern: str, slashes: str
) -> None:
    """A link counts only if the author has written it: not if they mention a user of that name."""
    slack.add_channel("C0OTHER")
    plan = slack.workspace.new_ts()
    slack.workspace.add(Message(channel="C0OTHER", ts=plan, user=BOB, text="The plan is green."))
    link = f"https://test.slack.com/archives/C0OTHER/p{plan.replace('.', '')}"
    name = pattern.format(link.replace("//", slashes))
    slack.describe(BOB, profile={"display_name": name})
    async with run_bot(**settings):
        await slack.wait_for_connections()
        await ask(slack, f"what says <@{BOB}> ?")
    assert question(model) == f"what says @{pattern.format(link).replace('//', '/')} ?"
    assert "green" not in str(model.requests[-1])


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("<!subteam^S0ONCALL|@oncall>", "@oncall"),
        ("<!subteam^S0ONCALL>", "@S0ONCALL"),
        ("<!date^1392734382^{date}|Feb 18, 2014>", "Feb 18, 2014"),
        ("<!date^1392734382^{date}>", "2014-02-18 14:39 UTC"),
        ("<!date^99999999999999999^{date}>", ""),
        ("<!here>", "@here"),
    ],
)
def test_a_group_or_a_date_is_read_as_users_see_it(text: str, readable: str) -> None:
    assert plain_text(text, BOT_USER) == readable
