"""Slack's payloads become messages, or nothing."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from bot.chat import Attachment, Correction, Message, Stop, ThreadId, Withdrawal
from bot.slack.block_text import plain_text
from bot.slack.events import parse_event, parse_message

BOT = "U0BOT"
TS = "1700000000.000100"


def body(**event: Any) -> dict[str, Any]:
    common = {"type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "ts": TS}
    return {
        "type": "event_callback",
        "team_id": "T1",
        "event_id": "Ev1",
        "authorizations": [{"team_id": "T1", "user_id": BOT}],
        "event": common | {"team": "T1"} | event,
    }


def read(**event: Any) -> Message:
    message = parse_event(body(**event), BOT)
    assert isinstance(message, Message)
    return message


def test_a_mention_in_a_channel_opens_a_thread_under_itself() -> None:
    message = read(text=f"<@{BOT}> how many orders?", client_msg_id="x")
    assert message.id == f"slack:T1:C1:{TS}"
    assert message.thread == ThreadId("slack", "T1", "C1", TS)
    assert str(message.thread) == f"slack:t1:c1:{TS}"
    assert message.author == "slack:U1"
    assert message.text == "how many orders?"
    assert message.sent_at == 1700000000.0001
    assert message.addressed
    assert not message.direct
    assert message.channel == "C1"
    assert message.place["user"] == "U1"


def test_the_two_events_of_one_mention_are_the_same_message() -> None:
    text = f"<@{BOT}> hello"
    mention = parse_event(body(type="app_mention", channel_type=None, text=text) | {"event_id": "Ev2"}, BOT)
    assert isinstance(mention, Message)
    twin = read(text=text)
    assert (mention.id, mention.thread, mention.text) == (twin.id, twin.thread, twin.text)
    assert mention.addressed
    assert twin.addressed


def test_a_message_is_the_same_after_storage() -> None:
    message = read(text=f"<@{BOT}> hello", files=[FILE])
    assert Message.from_json(message.to_json()) == message


def test_a_direct_message_needs_no_mention_and_is_its_own_conversation() -> None:
    message = read(channel="D1", channel_type="im", text="hello")
    assert message.addressed
    assert message.direct
    assert message.thread == ThreadId("slack", "T1", "D1", TS)


def test_a_group_direct_message_is_like_a_channel() -> None:
    assert parse_event(body(channel="G1", channel_type="mpim", text="hello"), BOT) is None
    assert read(channel="G1", channel_type="mpim", text=f"<@{BOT}> hello").addressed


def test_an_unaddressed_message_counts_only_inside_a_thread() -> None:
    assert parse_event(body(text="lunch?"), BOT) is None
    message = read(text="and in March?", thread_ts="1699999999.000001")
    assert not message.addressed
    assert message.thread.thread == "1699999999.000001"


def test_a_mention_inside_a_thread_belongs_to_that_thread() -> None:
    message = read(text=f"<@{BOT}> sum this up", thread_ts="1699999999.000001")
    assert message.addressed
    assert message.thread.thread == "1699999999.000001"


def test_a_mention_of_somebody_else_is_no_mention_of_the_bot() -> None:
    assert parse_event(body(text=f"<@{BOT}2> hello"), BOT) is None


@pytest.mark.parametrize(
    ("text", "purpose"),
    [
        ("and in March?", ""),
        ("<@U2> can you look?", "aside"),
        ("<@U2|bob> can you look?", "aside"),
        ("<!here> lunch", "aside"),
        ("<!subteam^S1|@sales> please", "aside"),
        ("the 3rd <!date^1392734382^{date}|Feb>, &lt;@U2&gt;, <#C2>, <https://a.example/@U2>", ""),
        (f"<@{BOT}> tell <@U2>", ""),
    ],
)
def test_what_is_said_to_others_in_a_thread_is_an_aside(text: str, purpose: str) -> None:
    """To a user or a group; not if the bot is mentioned, too."""
    assert read(text=text, thread_ts="1699999999.000001").purpose == purpose


def test_a_mention_in_a_forwarded_message_makes_no_aside() -> None:
    """Its author did not write it now."""
    forwarded = {"is_share": True, "author_name": "Bob", "text": "<@U2> look"}
    message = read(text="and this?", attachments=[forwarded], thread_ts="1699999999.000001")
    assert message.purpose == ""


def test_nothing_but_a_mention_is_an_empty_message() -> None:
    assert read(text=f"<@{BOT}>").text == ""


@pytest.mark.parametrize(
    "event",
    [
        {"bot_id": "B1"},
        {"subtype": "bot_message"},
        {"subtype": "channel_join"},
        {"subtype": "assistant_app_thread"},
        {"edited": {"user": "U1", "ts": TS}},
        {"user": BOT},
        {"user": "USLACKBOT"},
        {"user": None},
        {"type": "reaction_removed"},
    ],
    ids=str,
)
def test_what_no_person_wrote_is_ignored(event: dict[str, Any]) -> None:
    assert parse_event(body(**{"text": f"<@{BOT}> hello", **event}), BOT) is None


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast"])
def test_subtypes_that_people_write(subtype: str) -> None:
    assert read(subtype=subtype, text=f"<@{BOT}> hello", thread_ts=TS).text == "hello"


FILE = {
    "id": "F1",
    "name": "orders.csv",
    "mimetype": "text/csv",
    "size": 12,
    "url_private": "https://files.slack.com/files-pri/T1-F1/orders.csv",
    "url_private_download": "https://files.slack.com/files-pri/T1-F1/download/orders.csv",
}


def test_files_become_attachments_unless_they_were_deleted() -> None:
    """One that another service keeps is refused with a sentence when it is to be fetched."""
    drive = "https://drive.example.com/x"
    external = {"id": "F3", "name": "plan", "is_external": True, "url_private": drive}
    deleted = {"id": "F2", "mode": "tombstone"}
    message = read(channel_type="im", subtype="file_share", text="see this", files=[FILE, external, deleted])
    assert message.attachments == (
        Attachment(name="orders.csv", media_type="text/csv", size=12, url=str(FILE["url_private_download"])),
        Attachment(name="plan", media_type="application/octet-stream", size=0, url=drive),
    )


def test_an_event_of_a_whole_organisation_names_its_workspace_in_the_authorizations() -> None:
    payload = body(text=f"<@{BOT}> hello") | {"team_id": None, "enterprise_id": "E1"}
    message = parse_event(payload, BOT)
    assert isinstance(message, Message)
    assert message.thread.space == "T1"
    message = parse_event(payload | {"authorizations": [{"team_id": None, "enterprise_id": "E1"}]}, BOT)
    assert isinstance(message, Message)
    assert message.thread.space == "E1"


def test_a_guest_in_a_shared_channel_keeps_the_team_that_streams_must_name() -> None:
    message = read(text=f"<@{BOT}> hello", team="T2", user_team="T2")
    assert message.thread.space == "T1"
    assert message.place["user_team"] == "T2"


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        ("a &lt;b&gt; &amp;&amp; c", "a <b> && c"),
        ("&amp;lt;", "&lt;"),
        ("https://x.org/?a=1&amp;copy=2", "https://x.org/?a=1&copy=2"),
        (f"hey <@{BOT}> do it", "hey do it"),
        (f"<@{BOT}|agent> do it", "do it"),
        ("ask <@U2> or <@U3|bob>", "ask @U2 or @bob"),
        ("in <#C2|sales> or <#C3|>", "in #sales or #C3"),
        ("<https://x.org/a?b=1&amp;c=2|the page>", "the page (https://x.org/a?b=1&c=2)"),
        ("<https://x.org>", "https://x.org"),
        ("<http://x.org|x.org>", "http://x.org"),
        ("<mailto:a@x.org|a@x.org>", "a@x.org"),
        ("<!here> and <!subteam^S1|@team>", "@here and @team"),
        ("<!date^1700000000^{date}|14 Nov 2023>", "14 Nov 2023"),
    ],
)
def test_text_is_read_as_a_person_reads_it(raw: str, readable: str) -> None:
    assert plain_text(raw, BOT) == readable


def edit_event(now: dict[str, Any], before: dict[str, Any] | None = None) -> Any:
    common = {"type": "message", "user": "U1", "ts": TS, "text": f"<@{BOT}> hello"}
    return parse_event(
        body(subtype="message_changed", message=common | now, previous_message=common | (before or {})), BOT
    )


def test_an_edit_is_a_correction_of_the_same_message() -> None:
    correction = edit_event({"text": f"<@{BOT}> hallo", "edited": {"user": "U1", "ts": "1700000009.000200"}})
    assert isinstance(correction, Correction)
    assert correction.message.text == "hallo"
    assert correction.message.id == f"slack:T1:C1:{TS}"
    assert correction.edited_at == 1700000009.0002


@pytest.mark.parametrize("is_shared", [True, False])
def test_an_edit_tells_as_much_of_the_channel_and_the_author_as_a_new_message(is_shared: bool) -> None:
    """Fault: edited in a channel shared with others, a message counted as read by members alone."""
    more = {"user": "U2", "user_team": "E1", "text": f"<@{BOT}> hello"}
    outer = {
        "is_ext_shared_channel": is_shared,
        "authorizations": [{"team_id": "T1", "enterprise_id": "E1", "user_id": BOT}],
    }
    common = {"type": "message", "ts": TS} | more
    now = common | {"text": f"<@{BOT}> hallo", "edited": {"user": "U2", "ts": "1700000009.000200"}}
    edited = parse_event(body(subtype="message_changed", message=now, previous_message=common) | outer, BOT)
    new = parse_event(body(**more) | outer, BOT)
    assert isinstance(edited, Correction)
    assert isinstance(new, Message)
    assert edited.message.place == new.place
    assert edited.message.place["shared"] == ("yes" if is_shared else "")
    assert edited.message.author_space == new.author_space == ""


def test_a_change_that_is_no_edit_is_ignored() -> None:
    """Slack changes a message for a preview of a link, or when it gets its first reply."""
    assert edit_event({"attachments": [{"title": "a preview"}]}) is None
    assert edit_event({"reply_count": 1}) is None
    assert edit_event({"edited": {"user": "U1", "ts": TS}}) is None


def test_our_own_edit_is_ignored() -> None:
    own = {"user": BOT, "bot_id": "B1", "text": "new", "edited": {"user": BOT, "ts": TS}}
    assert edit_event(own, {"text": "old"}) is None


def test_a_deletion_withdraws_the_message() -> None:
    """Also of one that has replies, of which Slack leaves a stone behind."""
    withdrawal = Withdrawal(message_id=f"slack:T1:C1:{TS}")
    assert parse_event(body(subtype="message_deleted", deleted_ts=TS, ts="1700000009.1"), BOT) == withdrawal
    assert edit_event({"subtype": "tombstone", "user": "USLACKBOT"}) == withdrawal


def test_a_reaction_with_a_cross_stops_the_message() -> None:
    item = {"type": "message", "channel": "C1", "ts": TS}
    event = {"type": "reaction_added", "reaction": "x", "item": item, "item_user": "U1"}
    assert parse_event(body(**event), BOT) == Stop(by="slack:U1", message_id=f"slack:T1:C1:{TS}")
    assert parse_event(body(**event | {"reaction": "eyes"}), BOT) is None
    assert parse_event(body(**event | {"item": {"type": "file", "file": "F1"}}), BOT) is None


def test_the_stop_button_of_slack_stops_the_thread() -> None:
    stop = parse_event(body(type="agent_session_stopped", thread_ts=TS, streaming_message_ts=[]), BOT)
    assert stop == Stop(by="slack:U1", thread=ThreadId("slack", "T1", "C1", TS))


def test_a_message_of_the_past_is_the_one_that_was_missed() -> None:
    """The history tells neither channel nor workspace; what was edited since is taken as it reads now."""
    past = {"type": "message", "user": "U1", "ts": TS, "text": f"<@{BOT}> hello", "team": "T1"}
    missed = parse_message(
        past | {"edited": {"user": "U1", "ts": "1700000009.1"}}, "C1", "channel", "T1", BOT
    )
    assert missed == read(text=f"<@{BOT}> hello")


OTHER = {"bot_id": "B7", "user": "U7", "bot_profile": {"id": "B7", "name": "other"}}
WEBHOOK = {"bot_id": "B8", "user": None, "subtype": "bot_message", "username": "alerts"}


@pytest.mark.parametrize(
    ("event", "listed", "author"),
    [(OTHER, "slack:B7", "slack:U7"), (OTHER, "slack:U7", "slack:U7"), (WEBHOOK, "slack:B8", "slack:B8")],
)
def test_a_bot_that_is_listed_is_heard_under_the_rules_for_people(
    event: dict[str, Any], listed: str, author: str
) -> None:
    """A webhook, and an app that posts under another name, has no user."""
    mention = parse_event(body(**event, text=f"<@{BOT}> hello"), BOT, {listed})
    assert isinstance(mention, Message)
    assert (mention.author, mention.addressed) == (author, True)
    assert listed in mention.bot_ids
    assert Message.from_json(mention.to_json()) == mention
    assert parse_event(body(**event, text="hello"), BOT, {listed}) is None
    assert parse_event(body(**event, text=f"<@{BOT}> hello"), BOT, {"slack:B9"}) is None


def test_the_bot_never_hears_itself_whatever_is_listed() -> None:
    own = {"bot_id": "B1", "user": BOT, "text": f"<@{BOT}> hello"}
    assert parse_event(body(**own), BOT, {"slack:B1", f"slack:{BOT}"}) is None


def test_the_edits_of_a_bot_are_not_heard() -> None:
    """An answer that grows by edits would be answered at each of them."""
    now = OTHER | {"type": "message", "text": f"<@{BOT}> hello you", "ts": TS, "edited": {"ts": TS}}
    event = body(subtype="message_changed", message=now, previous_message={"text": f"<@{BOT}> hello"})
    assert parse_event(event, BOT, {"slack:B7"}) is None


def test_a_bots_message_of_the_past_is_the_one_that_was_missed() -> None:
    said = {"type": "message", "text": f"<@{BOT}> hello", "ts": TS} | OTHER
    message = parse_message(said, "C1", "channel", "T1", BOT, {"slack:B7"})
    assert message == parse_event(body(**OTHER, text=f"<@{BOT}> hello"), BOT, {"slack:B7"})
    assert parse_message(said, "C1", "channel", "T1", BOT) is None


def test_a_message_that_an_older_version_stored_is_of_a_person() -> None:
    stored = json.loads(json.dumps(asdict(read(text=f"<@{BOT}> hello"))))
    del stored["roles"], stored["bot_ids"], stored["author_space"], stored["is_guest"]
    assert Message.from_json(stored) == read(text=f"<@{BOT}> hello")
