"""`/agent-redis` on Slack: subcommand and arguments as the command's text, and a form for long values.

https://docs.slack.dev/surfaces/modals
"""

import asyncio
import logging
from collections.abc import Mapping

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import BotError, Json, PlatformError
from bot.commands.redis import (
    Caller,
    Draft,
    NotStorable,
    NotUnderstood,
    Operations,
    Set,
    describe,
    parse_ttl,
)
from bot.slack import responses
from bot.slack.api import SlackApi
from bot.slack.commands import REDIS, IsExternal
from bot.slack.fallback import NO_PREVIEWS
from bot.slack.markdown import mrkdwn
from bot.slack.responses import answer

log = logging.getLogger(__name__)

FORM = "agent-redis-set"
"""The `callback_id` of the form."""

_MOST_TYPED = 3_000
"""Characters that Slack takes in an input."""


def add_redis_command(app: AsyncApp, operations: Operations, api: SlackApi, is_external: IsExternal) -> None:
    """Let `app` answer the command and the form that it may open, for the caller's eyes only."""

    async def redis(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await answer(ack, api.session, body, _answered(operations, api, body, is_external))

    app.command(REDIS)(redis)
    _add_form(app, operations, api, is_external)


async def _answered(
    operations: Operations, api: SlackApi, body: Mapping[str, Json], is_external: IsExternal
) -> str:
    """The answer as Markdown; empty when a form is shown instead."""
    user, where = body["user_id"], f"slack:{body['team_id']}:{body['channel_id']}"
    caller = Caller(f"slack:{user}", where, is_external=await is_external(user))
    outcome = await operations.typed(body.get("text") or "", caller)
    if isinstance(outcome, str):
        return outcome
    view = _form(outcome, body["channel_id"])
    try:
        # within the three seconds for which Slack lets a trigger open something
        await api.write("views.open", trigger_id=body["trigger_id"], view=view)
    except PlatformError as error:
        return f"The form for the value could not be opened, please try again: {error}"
    return ""


def _form(draft: Draft, channel: str) -> dict[str, Json]:
    """The view that completes `draft`. Its blocks have the names of the fields of `Set`."""
    ttl = "" if draft.ttl is None else str(draft.ttl)
    return {
        "type": "modal",
        "callback_id": FORM,
        "private_metadata": channel,  # a submission does not tell where the command was given
        "title": _plain("Store a value"),
        "submit": _plain("Store"),
        "close": _plain("Cancel"),
        "blocks": [
            _input("key", "Key", draft.key),
            _input("value", "Value", "", multiline=True),
            _input("ttl", "Seconds until it is deleted (empty: it stays)", ttl, optional=True),
        ],
    }


def is_form(body: Mapping[str, Json]) -> bool:
    """Whether a payload of Slack's is our form, sent off."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == FORM


def _add_form(app: AsyncApp, operations: Operations, api: SlackApi, is_external: IsExternal) -> None:
    """Let `app` store what is sent off; what is wrong is told in the form, so that nothing typed is lost."""

    async def submitted(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        storing = asyncio.ensure_future(_store(operations, body, is_external))
        await asyncio.wait([storing], timeout=responses.ACK_SECONDS)
        if storing.done() and (faults := storing.result()[0]):
            await ack(response_action="errors", errors=faults)
            return
        await ack()
        faults, answer = await storing
        await _tell(api, body, answer or " ".join(faults.values()))

    app.view(FORM)(submitted)


async def _store(
    operations: Operations, body: Mapping[str, Json], is_external: IsExternal
) -> tuple[dict[str, str], str]:
    """What is wrong by the block that it is shown at; what to say when nothing is."""
    user = body["user"]
    where = f"slack:{user['team_id']}:{_channel(body)}"
    caller = Caller(f"slack:{user['id']}", where, is_external=await is_external(user["id"]))
    typed = {block: next(iter(each.values())) for block, each in body["view"]["state"]["values"].items()}
    key, value, ttl = (typed[block].get("value") or "" for block in ("key", "value", "ttl"))
    try:
        operation = Set(key, value, parse_ttl(ttl))
        return {}, describe(operation, await operations.run(operation, caller))
    except NotUnderstood as error:
        return {"ttl": str(error)}, ""
    except NotStorable as error:
        return {error.field: str(error)}, ""
    except BotError as error:
        return {"value": str(error)}, ""
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the person gets an answer
        return {"value": responses.apology(error)}, ""


async def _tell(api: SlackApi, body: Mapping[str, Json], answer: str) -> None:
    """Answer the person where the command was given, or directly where the bot may not write."""
    user, text = body["user"]["id"], mrkdwn(answer)
    try:
        try:
            await api.write("chat.postEphemeral", channel=_channel(body), user=user, text=text)
        except PlatformError:  # the bot is not in that channel
            await api.write("chat.postMessage", channel=user, text=text, **NO_PREVIEWS)
    except PlatformError as error:
        log.warning("A form was not answered", extra={"error": str(error)})


def _channel(body: Mapping[str, Json]) -> str:
    return str(body["view"].get("private_metadata") or "")


def _input(
    name: str, label: str, text: str, *, multiline: bool = False, optional: bool = False
) -> dict[str, Json]:
    element = {"type": "plain_text_input", "action_id": name, "max_length": _MOST_TYPED}
    element |= {"multiline": multiline} | ({"initial_value": text} if text else {})
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(label),
        "element": element,
        "optional": optional,
    }


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}
