"""`/agent-redis` on Slack: a typed line, or a form for a value with several lines.

https://docs.slack.dev/surfaces/modals
"""

import asyncio
from collections.abc import Mapping

import aiohttp
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.models.blocks import InputBlock, PlainTextInputElement
from slack_sdk.models.views import View

from bot.chat import BotError, Json, PlatformError
from bot.commands.redis import InvalidArgument, Operations, RedisCaller, Set, parse_ttl, texts
from bot.slack import responses
from bot.slack.api import SlackApi
from bot.slack.slash_commands import REDIS, ApiOf, IsExternal

FORM = "agent-redis-set"
"""The `callback_id` of the form."""

_MAX_INPUT = 3_000
"""Characters that Slack takes in an input."""


def is_form(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack submits the form."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == FORM


def add_redis_command(
    app: AsyncApp,
    operations: Operations,
    api_of: ApiOf,
    session: aiohttp.ClientSession,
    is_external: IsExternal,
    ack_timeout: float,
) -> None:
    """Register the command and its form with `app`; only the caller sees the answers.

    The form shows errors itself, so that no input is lost.
    """

    async def caller(body: Mapping[str, Json], user: str, place: str) -> RedisCaller:
        author = api_of(body).ids.user(user)
        return RedisCaller(author, f"slack:{place}", is_external=await is_external(body))

    async def answer(body: Mapping[str, Json]) -> str:
        author = await caller(body, body["user_id"], f"{body['team_id']}:{body['channel_id']}")
        outcome = await operations.answer_text(body.get("text") or "", author)
        if isinstance(outcome, str):
            return outcome
        return await _open_form(api_of(body), body, outcome)

    async def store(body: Mapping[str, Json]) -> tuple[str, str]:
        user = body["user"]
        author = await caller(body, user["id"], f"{user['team_id']}:{_channel(body)}")
        return await _store(operations, body["view"]["state"]["values"], author)

    async def command(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await responses.answer(ack, session, body, answer(body), ack_timeout)

    async def form(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        storing = asyncio.ensure_future(store(body))
        await asyncio.wait([storing], timeout=ack_timeout)
        if storing.done() and storing.result()[0]:
            await ack(response_action="errors", errors=dict([storing.result()]))
            return
        await ack()
        _, text = await storing
        await responses.show_to(api_of(body), body["user"]["id"], _channel(body), text)

    app.command(REDIS)(command)
    app.view(FORM)(form)


async def _open_form(api: SlackApi, body: Mapping[str, Json], draft: Set) -> str:
    """Open the form; return nothing, or a sentence if it cannot be opened."""
    try:
        # within 3 s: a trigger of Slack expires after that
        await api.write(
            "views.open", trigger_id=body["trigger_id"], view=_form(draft, body["channel_id"]).to_dict()
        )
    except PlatformError as error:
        return texts.FORM_NOT_OPENED.format(error=error)
    return ""


def _form(draft: Set, channel: str) -> View:
    """Return the form that completes `draft`; its blocks are named after the fields of `Set`."""
    ttl = None if draft.ttl is None else str(draft.ttl)
    return View(
        type="modal",
        callback_id=FORM,
        private_metadata=channel,  # a submission does not say where the command was used
        title=texts.FORM,
        submit=texts.FORM_STORE,
        close=texts.FORM_CANCEL,
        blocks=[
            _input("key", texts.FORM_KEY, draft.key),
            _input("value", texts.FORM_VALUE, multiline=True),
            _input("ttl", texts.FORM_TTL, ttl, optional=True),
        ],
    )


def _input(
    name: str, label: str, text: str | None = None, *, multiline: bool = False, optional: bool = False
) -> InputBlock:
    element = PlainTextInputElement(
        action_id=name, initial_value=text, multiline=multiline, max_length=_MAX_INPUT
    )
    return InputBlock(block_id=name, label=label, element=element, optional=optional)


async def _store(operations: Operations, state: Mapping[str, Json], caller: RedisCaller) -> tuple[str, str]:
    """Store the value; return the answer, or an error after the input that shows it."""
    inputs = {block: next(iter(each.values())).get("value") or "" for block, each in state.items()}
    try:
        operation = Set(inputs["key"], inputs["value"], parse_ttl(inputs["ttl"]))
        return "", (await operations.run(operation, caller)).text
    except InvalidArgument as error:
        return error.field, str(error)
    except BotError as error:
        return "value", str(error)
    except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the user gets an answer
        return "value", responses.apology(error)


def _channel(body: Mapping[str, Json]) -> str:
    return str(body["view"].get("private_metadata") or "")
