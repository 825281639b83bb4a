"""Authors of Slack's messages: name, team and guest status, from the event or from `users.info`."""

import math
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.chat import Correction, Event, Locale, Message, ThreadId
from bot.slack.api import open_api
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing
from bot.slack.users import Users
from bot.storage.coordination import RedisCoordination
from tests.servers.slack.service import ALICE, BOB, GENERAL, TEAM, Slack

DANA = "U0DANA"
LOCALE = Locale("Europe/Berlin", 3600, "de-DE")
"""What the server says of everybody."""


def message_by(user: str = DANA, **more: Any) -> Message:
    return Message(
        id="slack:1",
        thread=ThreadId("slack", TEAM, GENERAL, "1.0"),
        author=f"slack:{user}",
        text="hello",
        sent_at=1.0,
        addressed=True,
        place={"user": user},
        **more,
    )


PATIENT = Timing(author_timeout=5)


async def hand_over(slack: Slack, redis: Redis, *events: Event, timing: Timing = PATIENT) -> list[Event]:
    """The events as they are handed over by one process."""
    arrived: list[Event] = []

    async def deliver(event: Event) -> None:
        arrived.append(event)

    async with open_api(slack.bot_token, slack.api_url, PATIENT) as api:
        hand_over = Users(api, RateLimits(RedisCoordination(redis, "one")), timing).add_authors(deliver)
        for event in events:
            await hand_over(event)
    return arrived


@pytest.mark.parametrize(
    ("described", "author_space", "is_guest"),
    [
        ({"team_id": TEAM}, "", False),
        ({"team_id": TEAM, "is_restricted": True}, "", True),
        ({"team_id": TEAM, "is_ultra_restricted": True}, "", True),
        ({"team_id": "T0OTHER0001"}, "slack:T0OTHER0001", False),
        ({"team_id": "T0OTHER0001", "is_stranger": True}, "slack:T0OTHER0001", True),
        ({"team_id": "T0GRID00002", "enterprise_user": {"teams": ["T0GRID00002", TEAM]}}, "", False),
        ({"team_id": None, "enterprise_user": 7, "profile": None, "real_name": None}, "", False),
    ],
)
async def test_slack_is_asked_whose_team_somebody_is_in_and_whether_they_are_a_guest(
    slack: Slack, redis: Redis, described: dict[str, Any], author_space: str, is_guest: bool
) -> None:
    slack.describe(DANA, **described)
    [message] = await hand_over(slack, redis, message_by())
    assert message == replace(
        message_by(),
        author_name="" if "profile" in described else "dana",
        author_space=author_space,
        is_guest=is_guest,
        locale=LOCALE,
    )


async def test_what_the_event_says_of_its_author_stays(slack: Slack, redis: Redis) -> None:
    slack.describe(DANA, team_id="T0OTHER0001")
    told = message_by(author_name="Dana Doe", author_space="slack:T0OTHER0002", is_guest=True)
    assert await hand_over(slack, redis, told) == [replace(told, locale=LOCALE)]


async def test_the_team_that_an_event_names_stays_where_slack_tells_none(slack: Slack, redis: Redis) -> None:
    """Fault: an answer without a team made a member of somebody of another organisation."""
    slack.describe(DANA, team_id=None)
    partner = message_by(author_name="Dana Doe", author_space="slack:T0OTHER0002")
    assert await hand_over(slack, redis, partner) == [replace(partner, locale=LOCALE)]


async def test_what_slack_said_of_somebody_stays_while_it_does_not_answer(slack: Slack, redis: Redis) -> None:
    """Fault: a guest counted as a member for as long as `users.info` failed."""
    forgetful = replace(PATIENT, author_max_age=0)
    slack.describe(DANA, team_id="T0OTHER0001", is_restricted=True)
    async with open_api(slack.bot_token, slack.api_url, PATIENT) as api:
        people = Users(api, RateLimits(RedisCoordination(redis, "one")), forgetful)
        assert await people.is_external(TEAM, DANA)
        slack.fail("users.info", error="internal_error", times=math.inf)
        assert await people.is_external(TEAM, DANA)
        assert slack.count("users.info") > 1


@pytest.mark.parametrize(("claimed", "is_external"), [("T0OTHER0001", True), (TEAM, False), ("", False)])
async def test_the_team_that_a_press_names_counts_while_slack_does_not_answer(
    slack: Slack, redis: Redis, claimed: str, is_external: bool
) -> None:
    slack.fail("users.info", error="user_not_found", times=math.inf)
    async with open_api(slack.bot_token, slack.api_url, PATIENT) as api:
        people = Users(api, RateLimits(RedisCoordination(redis, "one")), PATIENT)
        assert await people.is_external(TEAM, DANA, claimed) is is_external


async def test_each_author_is_asked_about_once_and_bots_never(slack: Slack, redis: Redis) -> None:
    slack.describe(DANA)
    correction = Correction(message=message_by(), edited_at=2.0)
    events = await hand_over(
        slack, redis, message_by(), message_by(), correction, message_by(bot_ids=("slack:B1",))
    )
    assert slack.count("users.info") == 1
    assert isinstance(events[2], Correction)
    assert events[2].message.author_name == "dana"


@pytest.mark.parametrize(
    "trouble", [{"status": 500}, {"error": "user_not_found"}, {"error": "ratelimited"}, {}], ids=str
)
async def test_no_failure_keeps_a_message_back(slack: Slack, redis: Redis, trouble: dict[str, Any]) -> None:
    """It is then handed over as it is; Slack is not asked again for a while."""
    slack.describe(DANA)
    slack.fail("users.info", times=9, **trouble)
    hasty = Timing(author_timeout=0.2)
    assert await hand_over(slack, redis, message_by(), message_by(), timing=hasty) == [
        message_by(),
        message_by(),
    ]
    assert slack.count("users.info") <= 3  # with the repetitions of one question


async def test_an_app_without_the_scope_asks_about_nobody_for_an_hour(slack: Slack, redis: Redis) -> None:
    slack.web_api.scopes.remove("users:read")
    slack.tolerate("missing_scope")
    assert await hand_over(slack, redis, message_by(), message_by(ALICE)) == [message_by(), message_by(ALICE)]
    assert slack.count("users.info") == 1


async def test_names_take_no_question_from_the_authors_of_new_messages(slack: Slack, redis: Redis) -> None:
    """Their access depends on the answer. Who was not asked about for a name is asked about as an author."""
    slack.describe(DANA, is_restricted=True)
    limits = RateLimits(RedisCoordination(redis, "one"))
    while not await limits.delay(TEAM, "users.info"):
        pass
    async with open_api(slack.bot_token, slack.api_url, PATIENT) as api:
        people = Users(api, limits, PATIENT)
        assert await people.names(TEAM, [DANA]) == {}
        assert not slack.count("users.info")
        assert (await people.with_author(message_by())).is_guest
        assert await people.names(TEAM, [DANA]) == {DANA: "dana"}


async def test_of_many_names_those_that_slack_tells_in_time_are_kept(slack: Slack, redis: Redis) -> None:
    """Fault: one that came late took all others with it. Known ones take no place."""
    users = [f"U0WRITER{number}" for number in range(4)]
    for each in users:
        slack.describe(each)
    hasty = Timing(author_timeout=5, names_timeout=0.5)
    async with open_api(slack.bot_token, slack.api_url, PATIENT) as api:
        people = Users(api, RateLimits(RedisCoordination(redis, "one")), hasty)
        assert len(await people.names(TEAM, users[:2], most=2)) == 2
        assert set(await people.names(TEAM, users[:3], most=1)) == set(users[:3])
        slow = slack.slow("users.info", 30)
        assert set(await people.names(TEAM, users)) == set(users[:3])
        slack.web_api.faults.remove(slow)
        assert set(await people.names(TEAM, users)) == set(users)


async def test_questions_about_authors_stay_below_what_slack_allows(slack: Slack, redis: Redis) -> None:
    limits = RateLimits(RedisCoordination(redis, "other"))
    for _ in range(90 - 1):  # of 100
        assert not await limits.delay(TEAM, "users.info", is_urgent=True)
    events = await hand_over(slack, redis, message_by(ALICE), message_by(BOB))
    assert [event.author_name for event in events if isinstance(event, Message)] == ["alice", ""]
    assert slack.count("users.info") == 1
