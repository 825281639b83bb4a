"""Approval requests as messages with buttons, and the presses on these.

https://docs.slack.dev/reference/block-kit/blocks, https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import html
import logging
from collections.abc import AsyncIterator, Mapping

import aiohttp

from bot.chat import Approval, InboxLookup, Json, Part, Receipt, StorageDown, ThreadId
from bot.commands.commands import (
    NOT_FOR_EXTERNAL,
    Commands,
    headline,
    named,
    standing,
)
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.markdown import mrkdwn
from bot.slack.messages import Extra, Messages
from bot.slack.rate_limits import Limits
from bot.slack.response_url import respond
from bot.slack.users import People

log = logging.getLogger(__name__)

APPROVE, REJECT = "approve", "reject"

_RESPOND_SECONDS = 1.5
"""Slack waits 3 s for the acknowledgement of a press."""


def as_extra(approval: Approval) -> Extra:
    """The message of a request: what would be done, as it is, and the buttons while it waits."""
    words = _written(approval, headline(approval, _placeholder, bold="*"))
    code = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": approval.action}]}
    blocks: list[Json] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}},
        {"type": "rich_text", "elements": [code]},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _standing(approval), "verbatim": True}]},
    ]
    if approval.state == "asked":
        buttons = [_button(approval, APPROVE, "primary"), _button(approval, REJECT, "danger")]
        blocks.append({"type": "actions", "elements": buttons})
    return Extra(approval.id, _plain(headline(approval, bold="")), blocks)


def _button(approval: Approval, action: str, style: str) -> Json:
    label = {"type": "plain_text", "text": action.capitalize()}
    return {"type": "button", "text": label, "action_id": action, "value": approval.id, "style": style}


def _standing(approval: Approval) -> str:
    is_named = {*approval.names, *filter(_is_ours, approval.approvers)}.__contains__
    return _written(approval, standing(approval, _placeholder, is_named))


def _placeholder(author: str) -> str:
    return f"\0{author}\0"


def _is_ours(author: str) -> bool:
    return author.startswith("slack:")


def _written(approval: Approval, text: str) -> str:
    """Escape a text and name people in it: who is on Slack is mentioned, which notifies them."""
    text = _plain(text)
    for author in {approval.by, *approval.askers, *approval.approvers}:
        name = f"<@{author.partition(':')[2]}>" if _is_ours(author) else named(approval, author)
        text = text.replace(_placeholder(author), name)
    return text


def _plain(text: str) -> str:
    return html.escape(text, quote=False)


async def set_aside(
    parts: AsyncIterator[Part], messages: Messages, lookup: InboxLookup
) -> AsyncIterator[Part]:
    """The parts that are shown in the text. Requests get messages of their own, which come after it."""
    async for part in parts:
        if not isinstance(part, Approval):
            yield part
        elif part.state == "asked":
            messages.extras.append(as_extra(part))
        else:
            await _settle(part, messages, lookup)


async def _settle(approval: Approval, messages: Messages, lookup: InboxLookup) -> None:
    """Take the buttons of a request away and say what was decided, if its message is still there."""
    receipt = await lookup.receipt_of(approval.asked_in) or {}
    ts = receipt.get("extras", {}).get(approval.id)
    if ts is None:
        log.warning("The message of a request is not known", extra={"request": approval.id})
        return
    try:
        await messages.change_extra(ts, as_extra(approval))
    except Refused as error:  # somebody has deleted it
        log.warning("The message of a request keeps its buttons", extra={"error": str(error)})


async def show(
    approval: Approval, to: str, receipt: Receipt, api: SlackApi, limits: Limits, *, is_channel: bool
) -> ThreadId:
    """Post a request in a channel or in somebody's direct messages; see `bot.chat.Platform.show_request`."""
    if "channel" not in receipt.state:
        name = to.partition(":")[2]
        opened = {} if is_channel else await api.repeat("conversations.open", users=name)
        await receipt.save(channel=opened["channel"]["id"] if opened else name)
    team, channel = (await api.who()).team_id, receipt.state["channel"]
    messages = Messages(api, limits, ThreadId("slack", team, channel), receipt)
    messages.extras.append(as_extra(approval))
    await messages.recover()
    await messages.finish()
    return ThreadId("slack", team, channel, receipt.state["extras"][approval.id])


async def settle(approval: Approval, receipt: Receipt, api: SlackApi, limits: Limits) -> None:
    """Let such a message say what was decided. Raises `PlatformError`."""
    thread = ThreadId("slack", (await api.who()).team_id, receipt.state["channel"])
    messages = Messages(api, limits, thread, receipt)
    await messages.change_extra(receipt.state["extras"][approval.id], as_extra(approval))


class Presses:
    """Takes the presses on our buttons; who presses one is told what comes of it, for their eyes only."""

    def __init__(self, commands: Commands, people: People, session: aiohttp.ClientSession) -> None:
        self._commands = commands
        self._people = people
        self._session = session
        self._answers: set[asyncio.Task[None]] = set()

    async def take(self, body: Mapping[str, Json], team: str) -> None:
        """Handle a `block_actions` payload, which Slack sends once. Presses on other things do nothing."""
        for action in body.get("actions") or ():
            if action.get("action_id") in (APPROVE, REJECT) and action.get("value"):
                words = await self._decide(action, body["user"], team)
                await self._answer(body["response_url"], words)

    async def _decide(self, action: Mapping[str, Json], user: Mapping[str, Json], team: str) -> str:
        approve, name = action["action_id"] == APPROVE, user.get("name") or ""
        if approve and await self._people.is_external(team, user["id"], word(user.get("team_id"))):
            return NOT_FOR_EXTERNAL
        try:
            decided = await self._commands.decide(
                action["value"], f"slack:{user['id']}", approve=approve, name=name
            )
        except StorageDown as error:
            log.warning("A decision was not taken", extra={"error": str(error)})
            return "That could not be taken just now. Please press the button again in a moment."
        return decided.words

    async def _answer(self, url: str, words: str) -> None:
        answer = asyncio.create_task(respond(self._session, url, mrkdwn(words)))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        await asyncio.wait([answer], timeout=_RESPOND_SECONDS)
