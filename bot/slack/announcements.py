"""Announcements on Slack: messages in a channel, in whose threads users and the bot talk about them."""

import html

from bot.chat import Announcement, Opening, Receipt, ThreadId
from bot.chat.text import one_line
from bot.slack.api import SlackApi
from bot.slack.ids import own_id
from bot.slack.markdown import paginate
from bot.slack.messages import ReplyMessages
from bot.slack.page import Extra
from bot.slack.rate_limits import RateLimits
from bot.slack.timing import Timing

_KEY = "announcement"
_MOST_SUMMARY = 300
"""Most characters of the text in notifications."""


async def announce(
    announcement: Announcement,
    to: str,
    receipt: Receipt,
    api: SlackApi,
    limits: RateLimits,
    timing: Timing,
) -> Opening:
    """Post a message in a channel, once per receipt. Raises `PlatformError`."""
    team, channel = (await api.who()).team_id, own_id(to)
    messages = ReplyMessages(api, limits, ThreadId("slack", team, channel), receipt, timing)
    messages.extras.append(_render(announcement))
    await messages.recover()
    await messages.finish()
    ts: str = receipt.state["extras"][_KEY]
    return Opening(
        thread=ThreadId("slack", team, channel, ts),
        sent_at=float(ts),
        channel=api.ids.own(channel),
        # without a `channel_kind`: it is looked up where it matters, as that of a mention
        place={"team": team, "ts": ts, "user": "", "user_team": team},
    )


def _render(announcement: Announcement) -> Extra:
    text = paginate(announcement.text)[0].text
    footer = {"type": "plain_text", "text": announcement.footer, "emoji": False}
    blocks = [{"type": "markdown", "text": text}, {"type": "context", "elements": [footer]}]
    return Extra(_KEY, html.escape(one_line(announcement.text, _MOST_SUMMARY), quote=False), blocks)
