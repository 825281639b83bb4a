"""`/agent-channel` on Slack: the text of the command is its subcommand; without one, a form is opened.

https://docs.slack.dev/surfaces/modals
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, PlatformError, Refuse, StorageDown
from bot.commands import channel_texts as texts
from bot.commands.channel import ChannelCaller, ChannelCommand, FormField
from bot.slack.block_text import word
from bot.slack.channel_form import FORM, FormPlace, changes_in, channel_form, load_place
from bot.slack.responses import answer, apology, show_to
from bot.slack.slash_commands import CHANNEL, ApiOf, IsExternal

log = logging.getLogger(__name__)

Errors = Mapping[FormField, str]

ShowHome = Callable[[Mapping[str, Json], str, str], None]
"""Function that shows the Home tab of a payload's user again: with its private metadata, and a notice."""


def is_channel_form(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack submits the form."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == FORM


def add_channel_command(
    app: AsyncApp,
    command: ChannelCommand,
    api_of: ApiOf,
    session: aiohttp.ClientSession,
    is_external: IsExternal,
    show_home: ShowHome,
    ack_timeout: float,
) -> None:
    """Register `/agent-channel` and its form with `app`; only the caller sees the answers.

    The form shows errors itself, so that no input is lost.
    """

    async def caller(body: Mapping[str, Json], user: str, name: str, channel: str) -> ChannelCaller:
        ids, is_outsider = api_of(body).ids, await is_external(body)
        return ChannelCaller(
            author=ids.user(user), name=name, channel=ids.channel(channel), is_external=is_outsider
        )

    async def text(body: Mapping[str, Json]) -> str:
        channel, typed = word(body["channel_id"]), word(body.get("text"))
        by = await caller(body, body["user_id"], word(body.get("user_name")), channel)
        if typed.strip():
            return await command.answer_text(typed, by)
        form = await command.read_form(by)
        if isinstance(form, Refuse):
            return form.sentence
        view, trigger = channel_form(form, FormPlace(channel)), word(body.get("trigger_id"))
        try:
            await api_of(body).write("views.open", trigger_id=trigger, view=view)
        except PlatformError as error:  # a trigger of Slack expires after 3 s
            log.warning("form of channel settings not opened", extra={"error": str(error)})
            return "\n".join([texts.FORM_NOT_OPENED, await command.answer_text("show", by), texts.USAGE])
        return ""

    async def run(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, session, body, text(body), ack_timeout)

    async def store(body: Mapping[str, Json], place: FormPlace, changes: Mapping[FormField, str]) -> Errors:
        user = body["user"]
        by = await caller(body, word(user["id"]), word(user.get("username")), place.channel)
        return await command.submit(changes, by)

    async def submit(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        place, changes = load_place(body["view"]), changes_in(body["view"])
        errors = await _stored(store(body, place, changes), changes, ack_timeout)
        if errors:
            await ack(response_action="errors", errors={str(field): each for field, each in errors.items()})
            return
        await ack()
        if not changes:
            return
        words = texts.RESET_DONE if "reset" in changes else texts.FORM_STORED
        if place.home:
            show_home(body, place.home, words)
        else:
            await show_to(api_of(body), word(body["user"]["id"]), place.channel, words)

    app.command(CHANNEL)(run)
    app.view(FORM)(submit)


async def _stored(storing: Awaitable[Errors], changes: Mapping[FormField, str], ack_timeout: float) -> Errors:
    """Return the errors of the inputs; what takes too long, or fails, is sent again by the user."""
    try:
        async with asyncio.timeout(ack_timeout):
            return await storing
    except (PlatformError, StorageDown, TimeoutError) as error:
        log.warning("channel settings not stored", extra={"error": repr(error)})
        sentence = texts.NOT_STORED
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the user gets an answer
        sentence = apology(error)
    return {next(iter(changes), "instructions"): sentence}
