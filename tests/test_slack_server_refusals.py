"""The Slack server for tests refuses wrong calls as Slack does, and fails on demand."""

import asyncio
import json

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.servers.slack.service import ALICE, GENERAL, PROXY_VARIABLES, TEAM, Slack
from tests.support import slack_client
from tests.support.slack_client import Json, button, error_of, raw_socket, section, start

environment = slack_client.environment
slack = slack_client.slack
client = slack_client.client
root = slack_client.root


# --- refusals


@pytest.mark.parametrize(
    ("token", "method", "error"),
    [
        (None, "auth.test", "not_authed"),
        ("xoxb-somebody-elses", "auth.test", "invalid_auth"),
        ("xapp-test-app", "auth.test", "not_allowed_token_type"),
        ("xoxb-test-bot", "apps.connections.open", "not_allowed_token_type"),
    ],
)
async def test_tokens_are_checked(slack: Slack, token: str | None, method: str, error: str) -> None:
    assert await error_of(AsyncWebClient(token=token, base_url=slack.api_url).api_call(method)) == error
    assert slack.violations


REFUSED_MESSAGES: list[tuple[dict[str, Json], str]] = [
    ({"channel": GENERAL}, "no_text"),
    ({"text": "hello"}, "invalid_arguments"),
    ({"channel": "C0NOWHERE", "text": "hello"}, "channel_not_found"),
    ({"channel": "C0OTHER", "text": "hello"}, "not_in_channel"),
    ({"channel": "C0PRIVATE", "text": "hello"}, "channel_not_found"),
    ({"channel": GENERAL, "text": "a", "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "text": "", "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "blocks": [section("a")], "markdown_text": "b"}, "markdown_text_conflict"),
    ({"channel": GENERAL, "markdown_text": "b" * 12_001}, "msg_too_long"),
    ({"channel": GENERAL, "text": "a", "thread_ts": "1.000001"}, "cannot_reply_to_message"),
    ({"channel": GENERAL, "text": "a", "thread_ts": "REPLY"}, "cannot_reply_to_message"),
    ({"channel": GENERAL, "text": "a", "metadata": {"event_type": "key"}}, "invalid_metadata_format"),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "metadata": {"event_type": "k", "event_payload": {"k": "v" * 9_000}},
        },
        "metadata_too_large",
    ),
    ({"channel": GENERAL, "text": "a", "blocks": "nonsense"}, "invalid_blocks_format"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a")] * 51}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a" * 3_001)]}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("")]}, "invalid_blocks"),
    ({"channel": GENERAL, "text": "a", "blocks": [section("a" * 2_900)] * 5}, "msg_blocks_too_long"),
    ({"channel": GENERAL, "text": "a", "blocks": [{"type": "blink"}]}, "invalid_blocks"),
    (
        {"channel": GENERAL, "text": "a", "blocks": [section("a") | {"block_id": "b"}] * 2},
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "markdown", "text": "a" * 6_001}] * 2},
        "msg_too_long",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "header", "text": section("a" * 151)["text"]}]},
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "actions", "elements": [button()] * 26}]},
        "invalid_blocks",
    ),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "blocks": [{"type": "actions", "elements": [button(value="v" * 2_001)]}],
        },
        "invalid_blocks",
    ),
    (
        {"channel": GENERAL, "text": "a", "blocks": [{"type": "context_actions", "elements": [button()]}]},
        "invalid_blocks",
    ),
    (
        {
            "channel": GENERAL,
            "text": "a",
            "blocks": [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * 21]}],
        },
        "invalid_blocks",
    ),
]


@pytest.mark.parametrize(("arguments", "error"), REFUSED_MESSAGES)
async def test_messages_are_refused(
    slack: Slack, client: AsyncWebClient, root: str, arguments: dict[str, Json], error: str
) -> None:
    slack.add_channel("C0OTHER", members=[ALICE])
    slack.add_channel("C0PRIVATE", kind="group", members=[ALICE])
    if arguments.get("thread_ts") == "REPLY":
        arguments = arguments | {"thread_ts": await slack.say(ALICE, GENERAL, "more", root)}
    before = len(slack.messages(GENERAL))
    assert await error_of(client.api_call("chat.postMessage", json=arguments)) == error
    assert len(slack.violations) == 1
    assert len(slack.messages(GENERAL)) == before


async def test_what_slack_would_ignore_or_cut_is_noted(slack: Slack, client: AsyncWebClient) -> None:
    await client.api_call(
        "chat.postMessage", json={"channel": GENERAL, "text": "a" * 40_001, "colour": "red"}
    )
    assert len(slack.messages(GENERAL)[0].text) == 40_000
    assert len(slack.violations) == 2


async def test_an_unknown_method_is_refused(slack: Slack, client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("chat.sing")) == "unknown_method"
    assert slack.violations


async def test_a_disabled_method_is_no_violation(slack: Slack, client: AsyncWebClient, root: str) -> None:
    slack.disable("agents.sessions.setStatus")
    call = client.agents_sessions_setStatus(channel_id=GENERAL, thread_ts=root, status="processing")
    assert await error_of(call) == "unknown_method"
    assert not slack.violations


async def test_updates_are_refused(slack: Slack, client: AsyncWebClient, root: str) -> None:
    ts = str((await client.chat_postMessage(channel=GENERAL, text="one"))["ts"])
    assert await error_of(client.chat_update(channel=GENERAL, ts=ts, text="a" * 4_001)) == "msg_too_long"
    assert await error_of(client.chat_update(channel=GENERAL, ts=root, text="a")) == "cant_update_message"
    assert await error_of(client.chat_update(channel=GENERAL, ts="1.0", text="a")) == "message_not_found"
    assert await error_of(client.chat_delete(channel=GENERAL, ts=root)) == "cant_delete_message"
    assert len(slack.violations) == 4


async def test_an_update_keeps_metadata_unless_it_is_given(slack: Slack, client: AsyncWebClient) -> None:
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    ts = str((await client.chat_postMessage(channel=GENERAL, text="one", metadata=metadata))["ts"])
    await client.chat_update(channel=GENERAL, ts=ts, text="two")
    assert slack.message(GENERAL, ts).metadata == metadata
    assert [step.shown for step in slack.message(GENERAL, ts).history] == ["one", "two"]
    await client.chat_update(channel=GENERAL, ts=ts, text="two", metadata={})
    assert slack.message(GENERAL, ts).metadata is None


async def test_a_removed_bots_writes_are_refused_without_a_violation(
    slack: Slack, client: AsyncWebClient
) -> None:
    slack.remove_bot(GENERAL)
    assert await error_of(client.chat_postMessage(channel=GENERAL, text="a")) == "not_in_channel"
    slack.revoke(slack.bot_token)
    assert await error_of(client.auth_test()) == "token_revoked"
    assert not slack.violations


@pytest.mark.parametrize(
    ("arguments", "is_noted"),
    [
        ({"text": "see https://example.com"}, True),
        ({"markdown_text": "[x](http://example.com)", "unfurl_links": False}, True),
        ({"text": "see https://example.com", "unfurl_links": True, "unfurl_media": False}, True),
        ({"text": "see https://example.com", "unfurl_links": False, "unfurl_media": False}, False),
        ({"text": "nothing to see"}, False),
    ],
)
async def test_a_text_whose_links_slack_would_fetch_is_noted(
    slack: Slack, client: AsyncWebClient, arguments: dict[str, Json], is_noted: bool
) -> None:
    await client.api_call("chat.postMessage", json={"channel": GENERAL} | arguments)
    assert bool(slack.violations) is is_noted


async def test_files_info_describes_a_file_and_users_info_a_person(
    slack: Slack, client: AsyncWebClient
) -> None:
    await slack.say(ALICE, GENERAL, "look", files=[("a.csv", "text/csv", b"a,b")])
    [id] = slack.workspace.files
    assert (await client.files_info(file=id))["file"]["size"] == 3
    assert await error_of(client.files_info(file="F0OTHER")) == "file_not_found"
    slack.describe("U0DANA", team_id="T0OTHER0001", is_restricted=True)
    user = (await client.users_info(user="U0DANA"))["user"]
    assert (user["name"], user["team_id"], user["is_restricted"]) == ("dana", "T0OTHER0001", True)


async def test_tolerated_refusals_are_no_violation(slack: Slack, client: AsyncWebClient) -> None:
    slack.tolerate("channel_not_found")
    assert await error_of(client.chat_postMessage(channel="C0GONE", text="a")) == "channel_not_found"
    assert not slack.violations


async def test_reading_methods_take_no_json(slack: Slack, client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("users.info", json={"user": ALICE})) == "invalid_arguments"
    assert (await client.users_info(user=ALICE))["user"]["name"] == "alice"


async def test_an_ephemeral_message_needs_a_member(slack: Slack, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel=GENERAL, user=ALICE, text="psst")
    assert [each.text for each in slack.ephemerals] == ["psst"]
    call = client.chat_postEphemeral(channel=GENERAL, user="U0NOBODY", text="psst")
    assert await error_of(call) == "user_not_in_channel"


# --- faults and rates


async def test_a_rate_limit_names_its_seconds(slack: Slack, client: AsyncWebClient) -> None:
    fault = slack.fail("chat.postMessage", status=429, retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=GENERAL, text="a")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "7"
    await client.chat_postMessage(channel=GENERAL, text="a")
    assert fault.hits == 1
    assert not slack.violations


@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_connection_breaks_before_or_after_the_write(
    slack: Slack, client: AsyncWebClient, after_applying: bool
) -> None:
    slack.fail("chat.postMessage", after_applying=after_applying)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.chat_postMessage(channel=GENERAL, text="a")
    assert len(slack.messages(GENERAL)) == after_applying


async def test_any_method_can_answer_with_an_error(slack: Slack, client: AsyncWebClient) -> None:
    fault = slack.fail("*", times=float("inf"), error="internal_error")
    assert await error_of(client.auth_test()) == "internal_error"
    assert await error_of(client.users_info(user=ALICE)) == "internal_error"
    fault.lift()
    await client.auth_test()


async def test_a_slow_call_succeeds(slack: Slack, client: AsyncWebClient) -> None:
    slack.slow("auth.test", 0.05)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await client.auth_test()
    assert loop.time() - before >= 0.04


async def test_an_outage_ends(slack: Slack, client: AsyncWebClient) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await raw_socket(slack, session)
        slack.outage = "unreachable"
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.auth_test()
    slack.outage = "broken"
    with pytest.raises(SlackApiError) as caught:
        await client.auth_test()
    assert caught.value.response.status_code == 500
    slack.outage = None
    await client.auth_test()


async def test_calls_are_counted_and_limited_when_asked(
    slack: Slack, client: AsyncWebClient, root: str
) -> None:
    for _ in range(20):
        await start(client, root)
    assert not slack.over_tier()
    await start(client, root)
    assert slack.over_tier() == {"chat.startStream": 21}
    slack.enforce_tiers = True
    assert await error_of(start(client, root)) == "ratelimited"
    assert slack.count("chat.startStream") == 22
    assert not slack.violations


async def test_forms_and_query_strings_are_understood(slack: Slack) -> None:
    blocks = json.dumps([section("shown")])
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {slack.bot_token}"}) as session:
        form = {"channel": GENERAL, "text": "a", "blocks": blocks}
        url = f"{slack.api_url}chat.postMessage"
        for answer in (await session.post(url, data=form), await session.post(url, params=form)):
            assert (await answer.json())["ok"]
    assert [each.visible_text for each in slack.messages(GENERAL)] == ["shown", "shown"]


async def test_the_environment_for_a_child_process_names_one_mode(slack: Slack) -> None:
    socket = slack.environ
    assert socket["SLACK_API_URL"] == slack.api_url
    assert "SLACK_APP_TOKEN" in socket
    assert "SLACK_SIGNING_SECRET" not in socket
    assert all(socket[name] == "" for name in PROXY_VARIABLES)
    slack.request_url = "http://127.0.0.1:1/slack/events"
    assert "SLACK_APP_TOKEN" not in slack.environ
    assert slack.environ["SLACK_SIGNING_SECRET"] == slack.signing_secret


async def test_what_manifest_yml_does_not_ask_for_is_refused(client: AsyncWebClient, slack: Slack) -> None:
    slack.web_api.scopes.remove("chat:write")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=GENERAL, text="hello")
    assert caught.value.response["needed"] == "chat:write"
    assert len(slack.violations) == 1


async def test_what_an_app_leaves_open_is_told(client: AsyncWebClient, slack: Slack, root: str) -> None:
    assert slack.unfinished() == []
    place = {"channel": GENERAL, "thread_ts": root}
    card = {"type": "task_update", "id": "c", "title": "Count", "status": "in_progress"}
    asker = {"recipient_team_id": TEAM, "recipient_user_id": ALICE}
    stream = await client.chat_startStream(**place, **asker, chunks=[card])
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="is thinking…")
    assert slack.unfinished() == [
        f"stream {stream['ts']}",
        f"card c of {stream['ts']}",
        f"status in {(GENERAL, root)}",
    ]
    await client.assistant_threads_setStatus(channel_id=GENERAL, thread_ts=root, status="")
    done = [card | {"status": "complete"}]
    await client.chat_stopStream(channel=GENERAL, ts=stream["ts"], chunks=done)
    assert slack.unfinished() == []
