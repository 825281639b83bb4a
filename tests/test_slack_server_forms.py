"""The Slack server for tests handles history, files, reactions, buttons and forms as Slack does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.servers.slack.service import ALICE, BOT_USER, GENERAL, Slack
from tests.support import slack_client
from tests.support.slack_client import Json, button, error_of, section, serve, socket_mode
from tests.support.wait import wait_until

environment = slack_client.environment
slack = slack_client.slack
client = slack_client.client
root = slack_client.root


# --- reading


async def test_history_has_roots_newest_first_in_pages(slack: Slack, client: AsyncWebClient) -> None:
    stamps = [await slack.say(ALICE, GENERAL, str(number)) for number in range(5)]
    reply = await slack.say(ALICE, GENERAL, "reply", stamps[0])
    first = await client.conversations_history(channel=GENERAL, limit=3)
    cursor = first["response_metadata"]["next_cursor"]
    second = await client.conversations_history(channel=GENERAL, limit=3, cursor=cursor)
    seen = [each["ts"] for each in [*first["messages"], *second["messages"]]]
    assert seen == stamps[::-1]
    assert not second["has_more"]
    assert second["messages"][-1]["latest_reply"] == reply
    later = await client.conversations_history(channel=GENERAL, oldest=stamps[2])
    assert [each["ts"] for each in later["messages"]] == stamps[:2:-1]


async def test_replies_start_with_the_root(slack: Slack, client: AsyncWebClient, root: str) -> None:
    one = await slack.say(ALICE, GENERAL, "one", root)
    metadata = {"event_type": "key", "event_payload": {"key": "1"}}
    await client.chat_postMessage(channel=GENERAL, thread_ts=root, text="two", metadata=metadata)
    answer = await client.conversations_replies(
        channel=GENERAL, ts=root, oldest=one, include_all_metadata=True
    )
    assert [each["text"] for each in answer["messages"]] == ["a question", "two"]
    assert answer["messages"][1]["metadata"] == metadata
    plain = await client.conversations_replies(channel=GENERAL, ts=root)
    assert not any("metadata" in each for each in plain["messages"])
    assert await error_of(client.conversations_replies(channel=GENERAL, ts="1.0")) == "thread_not_found"


async def test_conversations_of_the_bot(slack: Slack, client: AsyncWebClient) -> None:
    slack.add_channel("C0OTHER", members=[ALICE])
    opened = await client.conversations_open(users=[ALICE])
    direct = slack.dm(ALICE)
    assert opened["channel"]["id"] == direct
    listed = await client.users_conversations(types="public_channel,im")
    assert {each["id"] for each in listed["channels"]} == {GENERAL, direct}
    assert (await client.conversations_info(channel=direct))["channel"]["user"] == ALICE


# --- files, reactions, response URLs, buttons


async def test_a_file_goes_up_in_three_steps(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.files_upload_v2(
        filename="a.csv", content="a,b", channel=GENERAL, thread_ts=root, initial_comment="Here"
    )
    (message,) = slack.replies(GENERAL, root)
    assert message.text == "Here"
    assert [(file.name, file.data) for file in message.files] == [("a.csv", b"a,b")]
    assert not slack.violations


async def test_files_are_refused(slack: Slack, client: AsyncWebClient) -> None:
    empty = client.files_getUploadURLExternal(filename="a", length=0)
    assert await error_of(empty) == "invalid_arguments"
    ticket = await client.files_getUploadURLExternal(filename="a", length=2)
    missing = client.files_completeUploadExternal(files=[{"id": str(ticket["file_id"]), "title": "a"}])
    assert await error_of(missing) == "file_not_found"
    async with aiohttp.ClientSession() as session:
        answer = await session.post(str(ticket["upload_url"]), data=b"too long")
        assert answer.status == 400
    assert len(slack.violations) == 3


async def test_a_persons_file_needs_the_bots_token(slack: Slack) -> None:
    await slack.say(ALICE, GENERAL, "look", files=[("a.txt", "text/plain", b"inside")])
    event = slack.deliveries[0].event
    assert event["subtype"] == "file_share"
    url = event["files"][0]["url_private_download"]
    async with aiohttp.ClientSession() as session:
        answer = await session.get(url, headers={"Authorization": f"Bearer {slack.bot_token}"})
        assert await answer.read() == b"inside"
        assert not slack.violations
        assert b"Sign in" in await (await session.get(url)).read()
        assert slack.violations


async def test_a_reaction_counts_once(slack: Slack, client: AsyncWebClient, root: str) -> None:
    await client.reactions_add(channel=GENERAL, timestamp=root, name="eyes")
    again = client.reactions_add(channel=GENERAL, timestamp=root, name="eyes")
    assert await error_of(again) == "already_reacted"
    assert slack.message(GENERAL, root).reactions == {("eyes", BOT_USER)}
    assert not slack.violations


async def test_a_response_url_is_good_for_five_answers(slack: Slack) -> None:
    url = slack.response_urls.issue(slack.workspace, ALICE, GENERAL)
    webhook = AsyncWebhookClient(url.url)
    statuses = [(await webhook.send(text=str(number))).status_code for number in range(6)]
    assert statuses == [200] * 5 + [404]
    assert len(slack.violations) == 1
    assert len(slack.ephemerals) == 5


async def test_a_response_url_expires_and_wants_text(slack: Slack) -> None:
    url = AsyncWebhookClient(slack.response_urls.issue(slack.workspace, ALICE, GENERAL).url)
    assert (await url.send(response_type="ephemeral")).status_code == 400
    slack.response_urls.lifetime = 0.0
    expired = AsyncWebhookClient(slack.response_urls.issue(slack.workspace, ALICE, GENERAL).url)
    assert (await expired.send(text="late")).status_code == 404
    assert len(slack.violations) == 2


def a_view(**fields: Json) -> dict[str, Json]:
    text = {"type": "plain_text", "text": "A form"}
    element = {"type": "plain_text_input", "action_id": "name", "max_length": 5}
    block = {"type": "input", "block_id": "name", "label": text, "element": element}
    return {"type": "modal", "callback_id": "form", "title": text, "submit": text, "blocks": [block]} | fields


OTHER = {"text": {"type": "plain_text", "text": "Other"}, "value": "other"}


def a_choice(**fields: Json) -> dict[str, Json]:
    option = {"text": {"type": "plain_text", "text": "One"}, "value": "one"}
    element = {"type": "radio_buttons", "action_id": "choice", "options": [option]} | fields
    return {"type": "input", "block_id": "choice", "label": option["text"], "element": element}


@asynccontextmanager
async def asking_app(slack: Slack, client: AsyncWebClient, http: bool) -> AsyncIterator[None]:
    """/ask opens a form, which is told that the name `no` is wrong."""
    app = AsyncApp(client=client, signing_secret=slack.signing_secret if http else None)

    @app.command("/ask")
    async def ask(ack: AsyncAck, body: dict[str, Json], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=a_view(private_metadata="kept"))

    @app.view("form")
    async def form(ack: AsyncAck, view: dict[str, Json], client: AsyncWebClient) -> None:
        assert view["private_metadata"] == "kept"
        name = view["state"]["values"]["name"]["name"]["value"]
        if name == "no":
            await ack(response_action="errors", errors={"name": "not that one"})
        else:
            await ack()

    if not http:
        async with socket_mode(slack, app):
            yield
        return
    async with serve(app) as slack.request_url:
        yield


@pytest.mark.parametrize("http", [False, True], ids=["socket", "http"])
async def test_a_form_is_opened_sent_off_and_shows_errors(
    slack: Slack, client: AsyncWebClient, http: bool
) -> None:
    async with asking_app(slack, client, http):
        assert (await slack.command("/ask", "", ALICE, GENERAL)).acked
        await wait_until(lambda: len(slack.modals) == 1, "the form is shown")
        [form] = slack.modals
        for wrong in ({"name": ""}, {"name": "longer"}, {"name": "x", "other": "y"}):
            with pytest.raises(LookupError):
                await slack.submit(form, wrong)
        assert (await slack.submit(form, {"name": "no"})).errors == {"name": "not that one"}
        assert form.is_open
        assert not (await slack.submit(form, {"name": "yes"})).is_open
        with pytest.raises(LookupError):
            await slack.submit(form, {"name": "again"})
    assert not slack.violations


async def test_a_form_without_an_answer_stays_open(slack: Slack, client: AsyncWebClient) -> None:
    """Slack tells the person that there was trouble; it does not send the form again."""
    async with asking_app(slack, client, http=False):
        await slack.command("/ask", "", ALICE, GENERAL)
        await wait_until(lambda: len(slack.modals) == 1, "the form is shown")
    form = await slack.submit(slack.modals[0], {"name": "yes"})
    assert form.is_open
    assert form.errors is not None
    assert "trouble" in form.errors[""]


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (a_view(type="home"), "invalid_arguments"),
        (a_view(title={"type": "plain_text", "text": "x" * 25}), "invalid_arguments"),
        (a_view(title={"type": "mrkdwn", "text": "x"}), "invalid_arguments"),
        (a_view(private_metadata="x" * 3_001), "invalid_arguments"),
        (a_view(callback_id="x" * 256), "invalid_arguments"),
        (a_view(blocks=[]), "invalid_arguments"),
        (a_view(blocks=[a_choice(options=[])]), "invalid_arguments"),
        (a_view(blocks=[a_choice(initial_option=OTHER)]), "invalid_arguments"),
        (a_view(blocks=[a_choice(options=[OTHER] * 11)]), "invalid_arguments"),
        (a_view(blocks=[section("x" * 3_001)]), "invalid_arguments"),
        (a_view(blocks=a_view()["blocks"] * 2), "invalid_arguments"),
        ({name: value for name, value in a_view().items() if name != "submit"}, "invalid_arguments"),
    ],
)
async def test_a_faulty_form_is_refused(
    slack: Slack, client: AsyncWebClient, view: dict[str, Json], code: str
) -> None:
    trigger = slack.workspace.new_trigger(ALICE)
    assert await error_of(client.views_open(trigger_id=trigger, view=view)) == code
    assert slack.modals == []


async def test_a_trigger_opens_one_form_and_not_for_long(slack: Slack, client: AsyncWebClient) -> None:
    trigger = slack.workspace.new_trigger(ALICE)
    await client.views_open(trigger_id=trigger, view=a_view())
    assert await error_of(client.views_open(trigger_id=trigger, view=a_view())) == "exchanged_trigger_id"
    assert await error_of(client.views_open(trigger_id="made up", view=a_view())) == "invalid_trigger_id"
    slack.workspace.trigger_lifetime = 0
    late = slack.workspace.new_trigger(ALICE)
    assert await error_of(client.views_open(trigger_id=late, view=a_view())) == "expired_trigger_id"


async def test_a_pressed_button_replaces_its_message(slack: Slack, client: AsyncWebClient) -> None:
    app = AsyncApp(client=client)

    @app.action("press")
    async def press(ack: AsyncAck, action: dict[str, Json], respond: AsyncRespond) -> None:
        await ack()
        await respond(text=f"pressed {action['value']}", replace_original=True)

    blocks = [{"type": "actions", "elements": [button(value="yes")]}]
    ts = str((await client.chat_postMessage(channel=GENERAL, text="Sure?", blocks=blocks))["ts"])
    await slack.wait_until_settled()  # nobody listens yet
    async with socket_mode(slack, app):
        assert (await slack.press(ALICE, GENERAL, ts, "press")).acked
        await wait_until(lambda: slack.message(GENERAL, ts).visible_text == "pressed yes", "it was replaced")
    assert not slack.violations


async def test_an_open_form_is_replaced_by_its_newest_hash_only_and_has_two_above_it(
    slack: Slack, client: AsyncWebClient
) -> None:
    opened = await client.views_open(trigger_id=slack.workspace.new_trigger(ALICE), view=a_view())
    id, newest = str(opened["view"]["id"]), str(opened["view"]["hash"])
    updated = await client.views_update(view_id=id, hash=newest, view=a_view(private_metadata="new"))
    assert slack.modals[0].view["private_metadata"] == "new"
    late = client.views_update(view_id=id, hash=newest, view=a_view())
    assert await error_of(late) == "hash_conflict"
    assert str(updated["view"]["id"]) == id
    for _ in range(2):
        await client.views_push(trigger_id=slack.workspace.new_trigger(ALICE), view=a_view())
    assert not slack.violations
    more = client.views_push(trigger_id=slack.workspace.new_trigger(ALICE), view=a_view())
    assert await error_of(more) == "push_limit_reached"
    assert await error_of(client.views_update(view_id="V0", view=a_view())) == "not_found"
    nothing_open = client.views_push(trigger_id=slack.workspace.new_trigger(BOT_USER), view=a_view())
    assert await error_of(nothing_open) == "not_found"
    assert len(slack.modals) == 3
