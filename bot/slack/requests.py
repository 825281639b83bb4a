"""Requests on Slack: their messages, and the decisions made with their buttons.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import logging
from collections.abc import Mapping

from bot.chat import Approval, InboxLookup, Json, Receipt, Request, ThreadId
from bot.commands.commands import Commands
from bot.commands.decisions import Chooser
from bot.platforms.requests import ANSWER, APPROVE, REJECT, choose, decide, find_request
from bot.slack.answer_buttons import AnswerPresses
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.ids import own_id
from bot.slack.markdown import mrkdwn
from bot.slack.messages import ReplyMessages
from bot.slack.rate_limits import RateLimits
from bot.slack.request_forms import render_request
from bot.slack.responses import follow_up
from bot.slack.timing import Timing
from bot.slack.users import Users

log = logging.getLogger(__name__)


class Requests:
    """Requests of one answer, posted after its text."""

    def __init__(self, messages: ReplyMessages, lookup: InboxLookup) -> None:
        self._messages = messages
        self._lookup = lookup

    def show(self, request: Request) -> None:
        """Queue the message of a request: it follows the text."""
        self._messages.extras.append(render_request(request, self._messages.thread.space))

    async def settle(self, request: Request) -> None:
        """Replace the buttons of a request with the decision, if its message still exists."""
        message = await find_request(request, self._lookup)
        if message is None:
            return
        try:
            await _change(self._messages, message, request)
        except Refused as error:  # a user has deleted it
            log.warning("request buttons not removed", extra={"error": str(error)})


async def show_request(
    approval: Approval,
    to: str,
    receipt: Receipt,
    api: SlackApi,
    limits: RateLimits,
    timing: Timing,
    *,
    is_channel: bool,
) -> ThreadId:
    """Post a request in a channel or in a user's direct messages, once per receipt."""
    if "channel" not in receipt.state:
        name = own_id(to)
        opened = {} if is_channel else await api.repeat("conversations.open", users=name)
        channel = opened["channel"]["id"] if opened else name
        await receipt.save(channel=channel, team=(await api.who()).team_id)
    team, channel = (await api.who()).team_id, receipt.state["channel"]
    messages = ReplyMessages(api, limits, ThreadId("slack", team, channel), receipt, timing)
    messages.extras.append(render_request(approval, team))
    await messages.recover()
    await messages.finish()
    return ThreadId("slack", team, channel, receipt.state["extras"][approval.id])


async def settle_request(
    approval: Approval, receipt: Receipt, api: SlackApi, limits: RateLimits, timing: Timing
) -> None:
    """Show the decision in a message of `show_request`. Raises `PlatformError`."""
    thread = ThreadId("slack", (await api.who()).team_id, receipt.state["channel"])
    messages = ReplyMessages(api, limits, thread, receipt, timing)
    await _change(messages, receipt.state["extras"][approval.id], approval)


async def _change(messages: ReplyMessages, ts: str, request: Request) -> None:
    """Replace the message of a request, also one of another turn. Raises `Refused`."""
    thread, extra = messages.thread, render_request(request, messages.thread.space)
    await messages.writer.room("chat.update")
    await messages.writer.write(
        "chat.update", ts, channel=thread.channel, ts=ts, text=extra.text, blocks=extra.blocks
    )


class Buttons:
    """Buttons and menus of messages; only the user who presses one sees the answer."""

    def __init__(self, users: Users, api: SlackApi, timeout: float) -> None:
        self._users = users
        self._answer_presses = AnswerPresses(api, users)
        self._session = api.session
        self._ids = api.ids
        self._timeout = timeout
        self._answers: set[asyncio.Task[None]] = set()

    async def handle(self, body: Mapping[str, Json], team: str, commands: Commands) -> None:
        """Handle a `block_actions` payload, which Slack sends once. Other buttons do nothing."""
        for action in body.get("actions") or ():
            words = await self._take(action, body["user"], team, commands)
            if words := words or await self._answer_presses.take(action, body, team, commands):
                await self._answer(body["response_url"], words)

    async def _take(
        self, action: Mapping[str, Json], user: Mapping[str, Json], team: str, commands: Commands
    ) -> str:
        """Take the press of a button; return the answer, which is empty for other buttons."""
        name = word(action.get("action_id"))
        chosen = action.get("selected_option") or action
        request, _, option = word(chosen.get("value")).partition(":")
        if name in (APPROVE, REJECT) and request:
            return await self._decide(request, user, team, commands, approve=name == APPROVE)
        if name.partition(":")[0] == ANSWER and option.isascii() and option.isdecimal():
            return await self._choose(request, int(option), user, team, commands)
        return ""

    async def _decide(
        self, request: str, user: Mapping[str, Json], team: str, commands: Commands, *, approve: bool
    ) -> str:
        # matters only for an approval
        is_external = approve and await self._is_external(user, team)
        by, name = self._ids.user(user["id"]), await self._name(user, team)
        return await decide(commands, request, by, approve=approve, name=name, is_external=is_external)

    async def _choose(
        self, request: str, option: int, user: Mapping[str, Json], team: str, commands: Commands
    ) -> str:
        is_external = await self._is_external(user, team)
        name = await self._name(user, team)
        by = Chooser(self._ids.user(user["id"]), name, is_external=is_external)
        return await choose(commands, request, option, by)

    async def _name(self, user: Mapping[str, Json], team: str) -> str:
        """Return the display name of a user, or else the handle that the payload has."""
        names = await self._users.names(team, [user["id"]])
        return names.get(user["id"]) or word(user.get("name"))

    async def _is_external(self, user: Mapping[str, Json], team: str) -> bool:
        return await self._users.is_external(team, user["id"], word(user.get("team_id")))

    async def _answer(self, url: str, words: str) -> None:
        answer = asyncio.create_task(follow_up(self._session, url, mrkdwn(words)))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        await asyncio.wait([answer], timeout=self._timeout)
