"""The vocabulary: names of threads, and messages that survive being stored."""

import json
import re
from dataclasses import FrozenInstanceError, asdict, astuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import chat
from bot.chat import (
    Attachment,
    BotError,
    Message,
    PlatformError,
    RateLimited,
    Receipt,
    ThreadId,
    Turn,
    platform_info,
)

thoroughly = settings(deadline=None, max_examples=50)

names = st.text(min_size=1)
platforms = st.sampled_from(["discord", "http", "test"])
thread_ids = st.builds(ThreadId, platforms, st.text(), st.text(), st.text())
slack_ids = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", min_size=1)
slack_threads = st.builds(ThreadId, st.just("slack"), slack_ids, slack_ids, slack_ids | st.just(""))

attachments = st.builds(
    Attachment, name=st.text(), media_type=st.text(), size=st.integers(min_value=0), url=st.text()
)
messages = st.builds(
    Message,
    id=names,
    thread=thread_ids,
    author=names,
    text=st.text(),
    sent_at=st.floats(allow_nan=False),
    addressed=st.booleans(),
    direct=st.booleans(),
    author_name=st.text(),
    attachments=st.lists(attachments, max_size=3).map(tuple),
    channel=st.text(),
    parent=st.text(),
    is_private_thread=st.booleans(),
    place=st.dictionaries(st.text(), st.text(), max_size=3),
)


@thoroughly
@given(thread_ids | slack_threads)
def test_name_of_a_thread_is_in_the_alphabet_of_redis(id: ThreadId) -> None:
    """Lower-case letters, digits and `:._-`, of bounded length, whatever the platform's ids hold."""
    assert re.fullmatch(r"[a-z0-9:._-]+", str(id))
    assert len(str(id)) <= 4 * 128 + 3


@thoroughly
@given(thread_ids, thread_ids)
def test_different_threads_have_different_names(one: ThreadId, other: ThreadId) -> None:
    """And one thread has one."""
    assert (str(one) == str(other)) == (one == other)


@thoroughly
@given(platforms, names, names, names, st.integers(0, 3))
def test_upper_and_lower_case_are_different_threads(
    platform: str, space: str, channel: str, thread: str, field: int
) -> None:
    """RediSearch compares without case, so the names must differ in more than case."""
    fields = [platform, space, channel, thread]
    changed = [*fields]
    changed[field] = fields[field].swapcase()
    one, other = ThreadId(*fields), ThreadId(*changed)
    assert (str(one).lower() == str(other).lower()) == (one == other)


def test_names_stay_readable_where_they_can() -> None:
    """An operator finds a thread by the platform's own ids."""
    assert str(ThreadId("discord", "dm", "1234")) == "discord:dm:1234"
    assert str(ThreadId("http", "web", "test_1.a-b")) == "http:web:test_1.a-b"


@thoroughly
@given(slack_threads, slack_threads)
def test_slack_ids_are_lowered_and_stay_apart(one: ThreadId, other: ThreadId) -> None:
    """They are upper-case only, so nothing is lost, and no digest is needed."""
    assert str(one) == ":".join(each for each in astuple(one) if each).lower()
    assert (str(one) == str(other)) == (one == other)


@thoroughly
@given(names)
def test_nobody_can_name_the_digest_of_another_thread(secret: str) -> None:
    """A caller of HTTP who writes another thread's digest as thread id gets a thread of its own."""
    victim = ThreadId("http", "web", f"{secret} ")  # a blank, so that it is replaced
    digest = str(victim).split(":")[-1]
    assert digest.startswith("sha256.")
    assert str(ThreadId("http", "web", digest)) != str(victim)


@pytest.mark.parametrize("field", ["a:b", "a b", "A", "", "ä", "a\n", "x" * 129, "sha256.0"])
def test_a_field_that_could_be_mistaken_is_replaced_by_a_digest(field: str) -> None:
    """A separator, a capital, nothing at all, too much, or what looks like a digest."""
    assert re.fullmatch(r"http:sha256\.[0-9a-f]{40}:t", str(ThreadId("http", field, "t")))


@thoroughly
@given(messages)
def test_a_message_survives_being_stored_as_json(message: Message) -> None:
    """Every field comes back as it was, types included."""
    restored = Message.from_json(json.loads(json.dumps(message.to_json())))
    assert restored == message
    assert isinstance(restored.thread, ThreadId)
    assert isinstance(restored.attachments, tuple)
    # nothing but defaults is left out, also of what is added to a message later
    stored, whole = message.to_json(), asdict(message)
    left_out = {name: value for name, value in whole.items() if name not in stored}
    assert json.dumps(stored | left_out, sort_keys=True) == json.dumps(whole, sort_keys=True)
    assert left_out == {name: Message.__dataclass_fields__[name].default for name in left_out}


def test_stored_message_without_later_fields_can_be_read() -> None:
    """A message that an older version stored lacks the fields that have defaults."""
    message = Message(
        id="1", thread=ThreadId("t", "s", "c"), author="t:a", text="x", sent_at=1, addressed=True
    )
    stored = json.loads(json.dumps(asdict(message)))
    for name in ("direct", "author_name", "place"):
        del stored[name]
    assert Message.from_json(stored) == message


def test_a_message_of_an_older_version_has_its_channel_in_its_place() -> None:
    """Stored before an upgrade: in a mailbox, or as the decision that a message in a mailbox carries."""
    thread = {"platform": "discord", "space": "100", "channel": "300", "thread": ""}
    place = {"guild": "100", "channel": "300", "parent": "200", "closed": "yes", "message": "1"}
    decision = {"request": "r", "verdict": "approved", "at": 5.5, "thread": thread, "asker": "discord:1"}
    old: dict[str, Any] = {
        "id": "discord:1",
        "thread": thread,
        "author": "discord:1",
        "text": "x",
        "sent_at": 1.0,
        "addressed": True,
        "attachments": [],
        "place": place,
        "decision": {**decision, "summary": "Change", "place": place | {"closed": ""}},
    }
    message = Message.from_json(old)
    assert (message.channel, message.parent, message.is_private_thread) == ("300", "200", True)
    assert message.place == {"guild": "100", "message": "1"}
    assert message.decision
    of_decision = message.decision
    assert (of_decision.channel, of_decision.parent, of_decision.is_private_thread) == ("300", "200", False)
    assert of_decision.place == message.place
    assert Message.from_json(json.loads(json.dumps(message.to_json()))) == message
    assert place["channel"] == "300", "what was read is left as it is"


def test_of_a_platform_that_is_not_registered_nothing_is_assumed() -> None:
    """A user id may mean two people in two spaces: memory then keeps them apart."""
    info = platform_info("nobody_knows_it")
    assert (info.title, info.location) == ("nobody_knows_it", "on nobody_knows_it")
    assert not info.has_global_ids
    assert [platform_info(name).location for name in ("slack", "discord", "http")] == [
        "on Slack",
        "on Discord",
        "over HTTP",
    ]


def test_a_message_cannot_be_changed() -> None:
    """A message is answered as it was accepted."""
    message = Message(
        id="1", thread=ThreadId("t", "s", "c"), author="t:a", text="x", sent_at=1, addressed=True
    )
    with pytest.raises(FrozenInstanceError):
        message.text = "y"  # type: ignore[misc]  # what is tested


async def test_a_receipt_merges_and_keeps_its_whole_state() -> None:
    """Each save stores all that is known so far."""
    kept: list[dict[str, Any]] = []

    async def keep(state: Any) -> None:
        kept.append(dict(state))

    receipt = Receipt(Turn(id="1", thread=ThreadId("t", "s", "c"), messages=()), keep, {"a": 1, "b": 1})
    await receipt.save(b=2)
    await receipt.save(c=3)
    assert kept == [{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}]
    assert receipt.state == kept[-1]


def test_all_errors_have_one_base_and_stand_in_the_drawn_tree() -> None:
    """The tree in the module's docstring is complete."""
    errors = [each for each in vars(chat).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert all(issubclass(error, BotError) for error in errors)
    tree = chat.errors.__doc__ or ""
    assert not [error.__name__ for error in errors if error.__name__ not in tree]


def test_rate_limited_tells_how_long_to_wait() -> None:
    """Its words are the reason, its `retry_after` the seconds."""
    error = RateLimited("too many requests", 2.5)
    assert (str(error), error.retry_after) == ("too many requests", 2.5)
    assert isinstance(error, PlatformError)
