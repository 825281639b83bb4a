"""The Slack server for tests streams answers and shows status and sessions as Slack does."""

import pytest
from slack_sdk.models.messages.chunk import TaskUpdateChunk
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.slack.service import ALICE, BOB, EVE, GENERAL, Slack
from tests.support import slack_client
from tests.support.slack_client import RECIPIENT, Json, error_of, section, start

environment = slack_client.environment
slack = slack_client.slack
client = slack_client.client
root = slack_client.root


def task(**fields: str) -> dict[str, Json]:
    return {"type": "task_update", "id": "1", "title": "Look", "status": "in_progress"} | fields


# --- streams


async def test_the_sdks_stream_shows_text_as_it_grows(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    stream = await client.chat_stream(channel=GENERAL, thread_ts=root, buffer_size=1, **RECIPIENT)
    await stream.append(markdown_text="Hello")
    running = TaskUpdateChunk(id="1", title="Looking", status="in_progress", details="a")
    await stream.append(chunks=[running])
    done = TaskUpdateChunk(id="1", title="Looked", status="complete", details="b", output="3 rows")
    await stream.append(markdown_text=", world", chunks=[done])
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    await stream.stop(markdown_text="!", blocks=[section("the end")], metadata=metadata)
    (message,) = slack.replies(GENERAL, root)
    steps = [(step.action, step.shown) for step in message.history]
    assert steps[0] == ("start", "Hello")
    assert steps[-1] == ("stop", "Hello, world!\nthe end")
    assert message.first_text_at == message.history[0].at
    assert message.streaming_state == "completed"
    assert message.metadata == metadata
    assert message.tasks["1"] == {
        "title": "Looked",
        "status": "complete",
        "details": "ab",
        "output": "3 rows",
        "sources": [],
    }
    assert await slack.answer(GENERAL, root) == "Hello, world!\nthe end"
    assert not slack.violations


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"recipient_team_id": None}, "missing_recipient_team_id"),
        ({"recipient_user_id": None}, "missing_recipient_user_id"),
        ({"recipient_user_id": "U0NOBODY"}, "user_not_found"),
        ({"thread_ts": "1.0"}, "cannot_reply_to_message"),
        ({"task_display_mode": "loud"}, "invalid_arguments"),
        ({"markdown_text": "a" * 12_001}, "msg_too_long"),
        ({"chunks": [{"type": "markdown_text", "text": "a" * 6_001}] * 2}, "msg_too_long"),
        ({"chunks": [{"type": "song"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "markdown_text", "text": "a", "colour": "red"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "task_update", "id": "1"}]}, "invalid_chunks"),
        ({"chunks": [task(status="completed")]}, "invalid_chunks"),
        ({"chunks": [task(title="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [task(details="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [task(output="a" * 257)]}, "invalid_chunks"),
        ({"chunks": [{"type": "blocks", "blocks": [{"type": "divider"}] * 51}]}, "msg_blocks_too_many"),
    ],
)
async def test_streams_are_refused(
    slack: Slack, client: AsyncWebClient, root: str, arguments: dict[str, Json], error: str
) -> None:
    complete = {"channel": GENERAL, "thread_ts": root, **RECIPIENT, **arguments}
    assert await error_of(client.chat_startStream(**complete)) == error
    assert not slack.replies(GENERAL, root)
    assert len(slack.violations) == 1


async def test_a_direct_message_needs_no_recipient(slack: Slack, client: AsyncWebClient) -> None:
    direct = slack.dm(ALICE)
    ts = await slack.say(ALICE, direct, "hello")
    await client.chat_startStream(channel=direct, thread_ts=ts)
    assert not slack.violations


async def test_metadata_at_the_start_of_a_stream_is_noted(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    await start(client, root, metadata={"event_type": "key", "event_payload": {}})
    assert slack.violations == ["chat.startStream: unknown arguments ['metadata']"]


async def test_an_open_stream_refuses_update_and_delete(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    ts = await start(client, root)
    assert await error_of(client.chat_update(channel=GENERAL, ts=ts, text="a")) == "streaming_state_conflict"
    assert await error_of(client.chat_delete(channel=GENERAL, ts=ts)) == "cant_delete_message"
    assert await error_of(client.chat_appendStream(channel=GENERAL, ts=ts)) == "no_text"


async def test_a_stopped_stream_takes_no_more(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = await start(client, root, markdown_text="a")
    await client.chat_stopStream(channel=GENERAL, ts=ts)
    for call in (client.chat_appendStream, client.chat_stopStream):
        error = await error_of(call(channel=GENERAL, ts=ts, markdown_text="b"))
        assert error == "message_not_in_streaming_state"
    assert len(slack.violations) == 2
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=root, markdown_text="b"))
    assert error == "message_not_owned_by_app"


@pytest.mark.parametrize("way", ["end_stream", "stream_lifetime"])
async def test_slack_ends_a_stream_and_then_takes_an_update(
    slack: Slack, client: AsyncWebClient, root: str, way: str
) -> None:
    ts = await start(client, root, markdown_text="a")
    if way == "end_stream":
        slack.end_stream(GENERAL, ts)
    else:
        slack.stream_lifetime = 0.0
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=ts, markdown_text="b"))
    assert error == "message_not_in_streaming_state"
    await client.chat_update(channel=GENERAL, ts=ts, markdown_text="ab")
    assert await slack.answer(GENERAL, root) == "ab"
    assert not slack.violations


async def test_a_person_stops_a_stream(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = await start(client, root, markdown_text="a")
    event = slack.stop(ALICE, GENERAL, root).event
    assert event["type"] == "agent_session_stopped"
    assert event["streaming_message_ts"] == [ts]
    error = await error_of(client.chat_appendStream(channel=GENERAL, ts=ts, markdown_text="b"))
    assert error == "stopped_by_user"
    assert not slack.violations


# --- status, sessions, prompts


async def test_a_status_lasts_until_the_reply(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.assistant_threads_setStatus(
        channel_id=GENERAL, thread_ts=root, status="is thinking", loading_messages=["Hm"]
    )
    assert slack.status(GENERAL, root) == "is thinking"
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="done")
    assert slack.status(GENERAL, root) == ""
    assert [each.status for each in slack.statuses] == ["is thinking", ""]
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="")
    assert not slack.violations


async def test_statuses_and_prompts_are_refused(slack: Slack, client: AsyncWebClient, root: str) -> None:
    status, session = client.assistant_threads_setStatus, client.agents_sessions_setStatus
    assert await error_of(status(channel_id=GENERAL, thread_ts="1.0", status="x")) == "invalid_thread_ts"
    many = status(channel_id=GENERAL, thread_ts=root, status="x", loading_messages=["x"] * 11)
    assert await error_of(many) == "invalid_arguments"
    assert await error_of(session(channel_id=GENERAL, thread_ts=root, status="busy")) == "invalid_status"
    assert await error_of(session(channel_id=GENERAL, status="active")) == "thread_ts_required"
    prompts = [{"title": "a", "message": "b"}] * 5
    call = client.assistant_threads_setSuggestedPrompts(channel_id=GENERAL, prompts=prompts)
    assert await error_of(call) == "invalid_arguments"
    assert len(slack.violations) == 5


async def test_an_answer_is_not_finished_while_its_session_works(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    await client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="processing")
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="wait")
    with pytest.raises(AssertionError, match="an answer in"):
        await slack.answer(GENERAL, root, timeout=0.05)
    await client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="active")
    assert await slack.answer(GENERAL, root) == "wait"


async def test_opening_the_app_is_an_event(slack: Slack, client: AsyncWebClient) -> None:
    event = slack.open_home(ALICE).event
    assert (event["type"], event["tab"], event["channel"]) == ("app_home_opened", "messages", slack.dm(ALICE))
    prompts = [{"title": "Help", "message": "What can you do?"}]
    await client.assistant_threads_setSuggestedPrompts(channel_id=event["channel"], prompts=prompts)
    assert slack.workspace.prompts[event["channel"], None] == prompts


async def test_a_session_has_the_details_of_its_creation_until_a_user_changes_them(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    session, place = client.agents_sessions_setStatus, {"channel_id": GENERAL, "thread_ts": root}
    for title in ("One", "Two"):
        await session(**place, status="processing", title=title, initiator_user_id=ALICE)
    assert slack.workspace.titles[GENERAL, root] == "One"
    event = slack.rename_session(BOB, GENERAL, root, "Three").event
    assert (event["previous_title"], event["title"]) == ("One", "Three")
    await client.agents_sessions_rename(**place, title="Four")
    assert slack.workspace.titles[GENERAL, root] == "Four"
    assert not slack.violations


async def test_sessions_are_refused(slack: Slack, client: AsyncWebClient, root: str) -> None:
    session, rename = client.agents_sessions_setStatus, client.agents_sessions_rename
    place = {"channel_id": GENERAL, "thread_ts": root}
    assert await error_of(rename(**place, title="None")) == "session_not_found"
    long = session(**place, status="active", title="x" * 201)
    assert await error_of(long) == "invalid_arguments"
    stranger = session(**place, status="active", initiator_user_id=EVE)
    assert await error_of(stranger) == "user_not_found"
    slack.workspace.is_agent = False
    assert await error_of(session(**place, status="active")) == "not_agent_app"
    assert len(slack.violations) == 4


async def test_without_the_event_of_the_stop_button_slack_warns(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    place = {"channel_id": GENERAL, "thread_ts": root}
    assert "warning" not in (await client.agents_sessions_setStatus(**place, status="processing")).data
    slack.workspace.has_stop_button = False
    answer = await client.agents_sessions_setStatus(**place, status="processing")
    assert answer["warning"] == "missing_agent_session_stopped_event_subscription"
    await client.agents_sessions_setStatus(**place, status="active")


async def test_a_title_of_a_plan_needs_a_plan(slack: Slack, client: AsyncWebClient, root: str) -> None:
    title = {"type": "plan_update", "title": "Steps"}
    ts = await start(client, root, chunks=[title], task_display_mode="plan")
    assert slack.message(GENERAL, ts).plan == "Steps"
    other = await start(client, root, markdown_text="a")
    append = client.chat_appendStream(channel=GENERAL, ts=other, chunks=[title])
    assert await error_of(append) == "invalid_chunks"
    assert len(slack.violations) == 1
