"""Approval requests on Slack: messages with buttons, and the decisions made with them.

https://docs.slack.dev/reference/block-kit/blocks, https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import html
import logging
from collections.abc import Mapping

import aiohttp

from bot.chat import Approval, InboxLookup, Json, Receipt, ThreadId
from bot.commands import approval_texts
from bot.commands.approval_texts import display_name, headline, status_text
from bot.commands.commands import Commands
from bot.platforms.approvals import APPROVE, REJECT, decide, find_request, has_name
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.markdown import mrkdwn
from bot.slack.messages import Extra, ReplyMessages
from bot.slack.rate_limits import RateLimits
from bot.slack.responses import follow_up
from bot.slack.timing import Timing
from bot.slack.users import Users

log = logging.getLogger(__name__)


def render_request(approval: Approval) -> Extra:
    """Return the message of a request: the action, its state, and the buttons while it waits."""
    words = _fill_names(approval, headline(approval, _placeholder, bold="*"))
    code = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": approval.action}]}
    blocks: list[Json] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}},
        {"type": "rich_text", "elements": [code]},
        {
            "type": "context",
            "elements": [{"type": "mrkdwn", "text": _status_text(approval), "verbatim": True}],
        },
    ]
    if approval.state == "asked":
        buttons = [
            _button(approval, APPROVE, approval_texts.APPROVE, "primary"),
            _button(approval, REJECT, approval_texts.REJECT, "danger"),
        ]
        blocks.append({"type": "actions", "elements": buttons})
    return Extra(approval.id, _plain(headline(approval, bold="")), blocks)


def _button(approval: Approval, action: str, text: str, style: str) -> Json:
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "text": label, "action_id": action, "value": approval.id, "style": style}


def _status_text(approval: Approval) -> str:
    return _fill_names(approval, status_text(approval, _placeholder, has_name(approval, "slack")))


def _placeholder(author: str) -> str:
    return f"\0{author}\0"


def _is_ours(author: str) -> bool:
    return author.startswith("slack:")


def _fill_names(approval: Approval, text: str) -> str:
    """Escape a text and fill in names; users on Slack are mentioned, which notifies them."""
    text = _plain(text)
    for author in {approval.by, *approval.askers, *approval.approvers}:
        name = f"<@{author.partition(':')[2]}>" if _is_ours(author) else display_name(approval, author)
        text = text.replace(_placeholder(author), name)
    return text


def _plain(text: str) -> str:
    return html.escape(text, quote=False)


class Approvals:
    """Approval requests of one answer, posted after its text."""

    def __init__(self, messages: ReplyMessages, lookup: InboxLookup) -> None:
        self._messages = messages
        self._lookup = lookup

    def show(self, approval: Approval) -> None:
        """Queue the message of a request: it follows the text."""
        self._messages.extras.append(render_request(approval))

    async def settle(self, approval: Approval) -> None:
        """Replace the buttons of a request with the decision, if its message still exists."""
        message = await find_request(approval, self._lookup)
        if message is None:
            return
        try:
            await self._messages.change_extra(message, render_request(approval))
        except Refused as error:  # a user has deleted it
            log.warning("approval buttons not removed", extra={"error": str(error)})


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
        name = to.partition(":")[2]
        opened = {} if is_channel else await api.repeat("conversations.open", users=name)
        await receipt.save(channel=opened["channel"]["id"] if opened else name)
    team, channel = (await api.who()).team_id, receipt.state["channel"]
    messages = ReplyMessages(api, limits, ThreadId("slack", team, channel), receipt, timing)
    messages.extras.append(render_request(approval))
    await messages.recover()
    await messages.finish()
    return ThreadId("slack", team, channel, receipt.state["extras"][approval.id])


async def settle_request(
    approval: Approval, receipt: Receipt, api: SlackApi, limits: RateLimits, timing: Timing
) -> None:
    """Show the decision in a message of `show_request`. Raises `PlatformError`."""
    thread = ThreadId("slack", (await api.who()).team_id, receipt.state["channel"])
    messages = ReplyMessages(api, limits, thread, receipt, timing)
    await messages.change_extra(receipt.state["extras"][approval.id], render_request(approval))


class ApprovalButtons:
    """Buttons of requests; only the user who presses one sees the answer."""

    def __init__(self, users: Users, session: aiohttp.ClientSession, timeout: float) -> None:
        self._users = users
        self._session = session
        self._timeout = timeout
        self._answers: set[asyncio.Task[None]] = set()

    async def handle(self, body: Mapping[str, Json], team: str, commands: Commands) -> None:
        """Handle a `block_actions` payload, which Slack sends once. Other buttons do nothing."""
        for action in body.get("actions") or ():
            if action.get("action_id") in (APPROVE, REJECT) and action.get("value"):
                words = await self._decide(action, body["user"], team, commands)
                await self._answer(body["response_url"], words)

    async def _decide(
        self, action: Mapping[str, Json], user: Mapping[str, Json], team: str, commands: Commands
    ) -> str:
        approve = action["action_id"] == APPROVE
        # matters only for an approval
        is_external = approve and await self._users.is_external(team, user["id"], word(user.get("team_id")))
        return await decide(
            commands,
            action["value"],
            f"slack:{user['id']}",
            approve=approve,
            name=user.get("name") or "",
            is_external=is_external,
        )

    async def _answer(self, url: str, words: str) -> None:
        answer = asyncio.create_task(follow_up(self._session, url, mrkdwn(words)))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        await asyncio.wait([answer], timeout=self._timeout)
