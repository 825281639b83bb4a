"""`/agent-redis` on Slack: a typed line, and a form for a value of several lines.

https://docs.slack.dev/surfaces/modals
"""

import asyncio
import logging
from collections.abc import Mapping

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.models.blocks import InputBlock, PlainTextInputElement
from slack_sdk.models.views import View

from bot.chat import BotError, Json, PlatformError
from bot.commands.redis import Caller, Draft, NotStorable, NotUnderstood, Operations, Set, parse_ttl
from bot.slack import responses
from bot.slack.api import SlackApi
from bot.slack.commands import REDIS, IsExternal
from bot.slack.fallback import NO_PREVIEWS
from bot.slack.markdown import mrkdwn

log = logging.getLogger(__name__)

FORM = "agent-redis-set"
"""The `callback_id` of the form."""

_MAX_INPUT = 3_000
"""Characters that Slack takes in an input."""


def is_form(body: Mapping[str, Json]) -> bool:
    """Return true for a payload of Slack that submits our form."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == FORM


def add_redis_command(app: AsyncApp, operations: Operations, api: SlackApi, is_external: IsExternal) -> None:
    """Let `app` answer the command and the form that it may open, for the caller's eyes only.

    A fault is shown in the form, so that nothing typed is lost.
    """

    async def caller(user: str, team: str, channel: str) -> Caller:
        where = f"slack:{team}:{channel}"
        return Caller(f"slack:{user}", where, is_external=await is_external(user))

    async def answer(body: Mapping[str, Json]) -> str:
        author = await caller(body["user_id"], body["team_id"], body["channel_id"])
        outcome = await operations.typed(body.get("text") or "", author)
        return outcome if isinstance(outcome, str) else await _open_form(api, body, outcome)

    async def store(body: Mapping[str, Json]) -> tuple[dict[str, str], str]:
        user = body["user"]
        author = await caller(user["id"], user["team_id"], _channel(body))
        return await _store(operations, body["view"]["state"]["values"], author)

    async def command(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await responses.answer(ack, api.session, body, answer(body))

    async def form(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        storing = asyncio.ensure_future(store(body))
        await asyncio.wait([storing], timeout=responses.ACK_SECONDS)
        if storing.done() and (faults := storing.result()[0]):
            await ack(response_action="errors", errors=faults)
            return
        await ack()
        faults, text = await storing
        await _send(api, body["user"]["id"], _channel(body), text or " ".join(faults.values()))

    app.command(REDIS)(command)
    app.view(FORM)(form)


async def _open_form(api: SlackApi, body: Mapping[str, Json], draft: Draft) -> str:
    """Return nothing when the form is open, else a sentence."""
    try:
        # within the three seconds for which Slack lets a trigger open something
        await api.write(
            "views.open", trigger_id=body["trigger_id"], view=_form(draft, body["channel_id"]).to_dict()
        )
    except PlatformError as error:
        return f"The form for the value could not be opened, please try again: {error}"
    return ""


def _form(draft: Draft, channel: str) -> View:
    """Return the view that completes `draft`; its blocks have the names of the fields of `Set`."""
    ttl = None if draft.ttl is None else str(draft.ttl)
    return View(
        type="modal",
        callback_id=FORM,
        private_metadata=channel,  # a submission does not tell where the command was given
        title="Store a value",
        submit="Store",
        close="Cancel",
        blocks=[
            _input("key", "Key", draft.key),
            _input("value", "Value", multiline=True),
            _input("ttl", "Seconds until it is deleted (empty: it stays)", ttl, optional=True),
        ],
    )


def _input(
    name: str, label: str, text: str | None = None, *, multiline: bool = False, optional: bool = False
) -> InputBlock:
    element = PlainTextInputElement(
        action_id=name, initial_value=text, multiline=multiline, max_length=_MAX_INPUT
    )
    return InputBlock(block_id=name, label=label, element=element, optional=optional)


async def _store(
    operations: Operations, state: Mapping[str, Json], caller: Caller
) -> tuple[dict[str, str], str]:
    """Return the faults by the block that shows them, and the answer when there are none."""
    inputs = {block: next(iter(each.values())).get("value") or "" for block, each in state.items()}
    try:
        operation = Set(inputs["key"], inputs["value"], parse_ttl(inputs["ttl"]))
        return {}, operation.describe(await operations.run(operation, caller))
    except NotUnderstood as error:
        return {"ttl": str(error)}, ""
    except NotStorable as error:
        return {error.field: str(error)}, ""
    except BotError as error:
        return {"value": str(error)}, ""
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the person gets an answer
        return {"value": responses.apology(error)}, ""


async def _send(api: SlackApi, user: str, channel: str, answer: str) -> None:
    """Send the answer to the place of the command, or directly where the bot may not write."""
    text = mrkdwn(answer)
    try:
        try:
            await api.write("chat.postEphemeral", channel=channel, user=user, text=text)
        except PlatformError:  # the bot is not in that channel
            await api.write("chat.postMessage", channel=user, text=text, **NO_PREVIEWS)
    except PlatformError as error:
        log.warning("form not answered", extra={"error": str(error)})


def _channel(body: Mapping[str, Json]) -> str:
    return str(body["view"].get("private_metadata") or "")
