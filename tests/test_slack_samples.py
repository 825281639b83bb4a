"""Events of Slack as they are (tests/samples/slack): each is read as it should be, and none stops the bot.

A sample holds the payload (`body`), the bots that are allowed (`bots`) and what the parser makes of it
(`expected`: null is nothing for the bot, "unreadable" an event that is logged and skipped).
"""

import contextlib
import copy
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bot.chat import Attachment, Correction, Event, Message, Quote, Stop, ThreadId, Withdrawal
from bot.slack.content import content_of
from bot.slack.events import Unreadable, parse_event, parse_message
from tests.servers.model import KEY, ModelServer
from tests.servers.slack.service import BOT_USER, TEAM, Slack
from tests.support.bot import run_bot
from tests.support.growth import MOST_GROWTH, grows

SAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "samples" / "slack").glob("*.json"))
}


def read(sample: dict[str, Any]) -> Any:
    try:
        event = parse_event(sample["body"], BOT_USER, frozenset(sample.get("bots", ())))
    except Unreadable:
        return "unreadable"
    return event and {"is": type(event).__name__} | describe_event(event)


def describe_event(event: Any) -> dict[str, Any]:
    """Return the fields of an event as the samples write them, without those that have their usual value."""
    said = {each.name: getattr(event, each.name) for each in fields(event) if each.name not in LEFT_OUT}
    usual = {each.name: each.default for each in fields(event) if each.default is not MISSING}
    return {
        name: describe_value(value)
        for name, value in said.items()
        if name not in usual or value != usual[name]
    }


LEFT_OUT = frozenset({"place", "sent_at"})


def describe_value(value: Any) -> Any:
    match value:
        case ThreadId():
            return str(value)
        case Message():
            return describe_event(value)
        case Attachment():
            return [value.name, value.media_type, value.size, value.url]
        case Quote():
            return [value.source, value.text]
        case tuple():
            return [describe_value(each) for each in value]
        case _:
            return value


@pytest.mark.parametrize("name", SAMPLES)
def test_each_shape_of_event_is_read_as_it_should_be(name: str) -> None:
    assert read(SAMPLES[name]) == SAMPLES[name]["expected"], SAMPLES[name]["about"]


HEARD = [name for name, sample in SAMPLES.items() if isinstance(sample["expected"], dict)]


@pytest.mark.parametrize("name", [name for name in HEARD if SAMPLES[name]["expected"]["is"] == "Message"])
def test_a_message_of_the_past_says_the_same(name: str) -> None:
    """Catch-up reads the history, which has the same shapes without channel and workspace."""
    sample, event = SAMPLES[name], SAMPLES[name]["body"]["event"]
    past = {key: value for key, value in event.items() if key not in ("channel", "channel_type")} | {
        "type": "message"
    }
    kind, bots = event.get("channel_type", "channel"), frozenset(sample.get("bots", ()))
    message = parse_message(past, event["channel"], kind, TEAM, BOT_USER, bots)
    assert message is not None
    now = describe_event(message)
    for key in ("id", "thread", "author", "text", "quotes", "attachments", "addressed"):
        assert now.get(key) == sample["expected"].get(key)


def test_the_longest_messages_are_read_to_a_bound() -> None:
    """Slack takes 40,000 characters in a text; forwarded messages come on top."""
    whole = content_of({"text": "a" * 40_000}, BOT_USER)
    assert whole.text == "a" * 40_000
    forwarded = {"is_share": True, "author_name": "Bob", "text": "word " * 6_000}
    cut = content_of({"text": "read all", "attachments": [forwarded] * 100}, BOT_USER)
    assert cut.text == "read all"
    assert sum(len(each.source + each.text) for each in cut.quotes) < 41_000
    assert cut.quotes[-1].text.endswith("[The rest of this message is left out: it is too long.]")


HOSTILE = {
    "blanks before no mention": "\t",
    "mentions": f" <@{BOT_USER}>",
    "half mentions": f" <@{BOT_USER}|",
    "half references": "<",
    "letters of no mention": "<@A",
    "entities": "&",
    "quotes": ">\n",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_no_text_that_somebody_writes_takes_more_than_linear_time(piece: str) -> None:
    """The blanks before a mention were looked for in a square number of steps: 51 s of silence."""

    def message(characters: int) -> str:
        return "a" + piece * (characters // len(piece)) + "b"

    assert grows(lambda text: content_of({"text": text}, BOT_USER), message) <= MOST_GROWTH


def lines_run(work: Callable[[], object]) -> int:
    """Steps of Python that `work` takes: no clock, so that a busy machine does not matter."""
    count = 0

    def step(*_: object) -> Any:
        nonlocal count
        count += 1
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_message_of_many_blocks_takes_steps_in_proportion_to_their_number() -> None:
    def steps(count: int) -> int:
        text = {"type": "mrkdwn", "text": f"<@{BOT_USER}> &amp; <https://x.org|x>"}
        section = {"type": "section", "text": text, "fields": [text] * 2}
        rich = {"type": "rich_text_section", "elements": [{"type": "user", "user_id": BOT_USER}] * 5}
        blocks = [section, {"type": "rich_text", "elements": [rich]}] * count
        share = {"is_share": True, "text": "x\n", "message_blocks": [{"message": {"blocks": blocks}}]}
        message = {"bot_id": "B1", "blocks": blocks, "attachments": [share] * 2}
        return lines_run(lambda: content_of(message, BOT_USER))

    assert steps(200) < 2.5 * steps(100)


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        0,
        -1,
        1e400,
        float("nan"),
        True,
        "",
        "x",
        "\ud800",
        [],
        {},
        [[]],
        [None],
        {"type": "message"},
        [{}],
    ]
) | st.text(max_size=5)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value within a payload."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


@st.composite
def broken_events(draw: st.DrawFn) -> tuple[Any, frozenset[str]]:
    """A sample from which keys are missing, or in which values are something else."""
    name = draw(st.sampled_from(sorted(set(SAMPLES) - {"malformed-deep-nesting"})))
    payload = copy.deepcopy(SAMPLES[name]["body"])
    for _ in range(draw(st.integers(1, 4))):
        found = list(places(payload))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        holder = payload
        for step in way:
            holder = holder[step]
        if draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(JUNK))  # else a later step would change the strategy
    return payload, frozenset(SAMPLES[name].get("bots", ()))


def check_sound(event: Event | None) -> None:
    """It can be stored, read back, named and sent on."""
    match event:
        case Message():
            assert Message.from_json(json.loads(json.dumps(event.to_json()))) == event
            assert math.isfinite(event.sent_at)
            assert all(isinstance(value, str) for value in event.place.values())
            assert isinstance(event.addressed, bool)
            assert isinstance(event.is_guest, bool)
            texts = [event.id, str(event.thread), event.author, event.author_name, event.author_space]
            texts += [
                event.text,
                *(each.source + each.text for each in event.quotes),
                *event.bot_ids,
                *(each.name + each.url for each in event.attachments),
            ]
            "".join(texts).encode()
        case Correction():
            assert math.isfinite(event.edited_at)
            check_sound(event.message)
        case Withdrawal():
            event.message_id.encode()
        case Stop():
            assert math.isfinite(event.at)
            f"{event.by} {event.thread} {event.message_id}".encode()
        case _:
            assert event is None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(broken_events())
def test_whatever_is_missing_or_wrong_an_event_is_sound_or_skipped(
    broken: tuple[Any, frozenset[str]],
) -> None:
    """Nothing but `Unreadable` comes out of the parser, and nothing that the inbox cannot store."""
    payload, bots = broken
    with contextlib.suppress(Unreadable):
        check_sound(parse_event(payload, BOT_USER, bots))
    event = payload.get("event")
    if isinstance(event, dict):
        with contextlib.suppress(Unreadable):
            check_sound(parse_message(event, "C1", "channel", TEAM, BOT_USER, bots))


IGNORED = [
    "plain",
    "hidden",
    "huddle",
    "channel-join",
    "unknown-event",
    "assistant-thread-started",
    "slackbot",
]
SKIPPED = [name for name, sample in SAMPLES.items() if sample["expected"] == "unreadable"]
COMMON = [
    "app-mention",
    "me-message",
    "rich-text-of-a-person",
    "forwarded",
    "forwarded-alert",
    "forwarded-alone",
    "forwarded-approval",
    "forwarded-stop",
    "forwarded-from-private-channel",
    "pasted-table",
    "bot-blocks",
    "bot-attachments",
    "workflow",
    "slack-connect-user",
    "malformed-elements",
]


async def test_the_whole_bot_reads_common_events_and_skips_the_broken_ones(
    redis: Redis, redis_url: str, database_url: str, model: ModelServer, slack: Slack
) -> None:
    """Each reaches the model with its text; one that is broken is acknowledged and costs nothing else."""
    slack.describe("U0DANA", team_id="T0OTHER0001")
    slack.courier.ack_timeout = 60  # what comes again has not been acknowledged
    model.respond = lambda request: "I have read it."
    connection = {"redis_url": redis_url, "database_url": database_url}
    connection |= {"openai_api_key": KEY, "openai_base_url": model.base_url}
    connection |= {"slack_bot_token": slack.bot_token, "slack_app_token": slack.app_token}
    bots = ",".join(sorted({bot for name in COMMON for bot in SAMPLES[name].get("bots", ())}))
    options = {"slack_api_url": slack.api_url, "allowed_bots": bots, "allow_external": "all"}
    async with run_bot(**connection, **options):
        await slack.wait_for_connections(2)
        for name in [*SKIPPED, *IGNORED]:
            slack.send_payload(SAMPLES[name]["body"])
        slack.send_payload(
            {"type": "event_callback", "authorizations": 5, "event": []}
        )  # Bolt cannot read it
        for name in COMMON:
            body = SAMPLES[name]["body"]
            event = {key: value for key, value in body["event"].items() if key != "files"}
            if event.get("channel_type") == "im":
                event["channel"] = slack.dm(event["user"])
            ts = slack.send_message(event, is_ext_shared_channel=body["is_ext_shared_channel"])
            await slack.answer(event["channel"], ts)
            expected, question = SAMPLES[name]["expected"], newest_question(model)
            assert all(line in question for line in expected["text"].splitlines()), name
            for source, text in expected.get("quotes", ()):
                quote = [f"[data from {source}]", *(f"> {line}" for line in text.splitlines())]
                assert "\n".join([*quote, "[end of data]"]) in question, name
        await slack.wait_until_settled()
    assert all(len(each.attempts) == 1 for each in slack.deliveries)
    assert len(model.requests) == len(COMMON)
    assert not slack.violations


def newest_question(model: ModelServer) -> str:
    """The newest question in the newest request, without the indentation of its following lines."""
    question = [each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user"][-1]
    return str(question).replace("\n  ", "\n")
