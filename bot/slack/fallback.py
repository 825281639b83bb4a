"""Last resorts for an answer that Slack does not accept in its usual form."""

import html
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from bot.chat import Json, Turn
from bot.platforms.fallback import notify
from bot.platforms.texts import answer, not_shown
from bot.slack import texts
from bot.slack.api import SlackApi
from bot.slack.errors import GivenUp, Refused, StoppedByUser, StreamEnded

log = logging.getLogger(__name__)

NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
"""Arguments that keep Slack from fetching links in a text: a model may have made them up."""

_TEXT_LIMIT = 40_000


def as_it_is(text: str) -> dict[str, Json]:
    """Return arguments that show a text without any formatting."""
    return {"text": html.escape(text, quote=False)[:_TEXT_LIMIT], "mrkdwn": False}


async def write_with_buttons(
    write: Callable[..., Awaitable[object]], content: Mapping[str, Json], plain: Mapping[str, Json]
) -> None:
    """Write `content`; if it has buttons and Slack refuses it, write `plain`, which is the same without them.

    Whatever the code: Slack has several for blocks, and more in time.
    """
    try:
        await write(**content)
    except (GivenUp, StoppedByUser, StreamEnded):
        raise
    except Refused as error:
        if "blocks" not in content:
            raise
        log.warning("buttons refused", extra={"error": str(error)})
        await write(**plain)


async def notify_author(api: SlackApi, turn: Turn, code: str) -> None:
    """Tell the author of a question privately that the answer cannot be shown. Never raises.

    `code` is Slack's error code.
    """
    place, thread = turn.messages[-1].place, turn.thread
    if not place["user"]:  # a hook reads nothing
        return
    channel = "" if turn.direct else f"<#{thread.channel}>"
    text = not_shown(answer(channel), texts.answer_refused(code))
    # Slack shows an ephemeral message only in a thread that already exists
    in_thread = {"thread_ts": thread.thread} if place["ts"] != thread.thread else {}
    ways: list[tuple[str, dict[str, Json]]] = [
        ("chat.postEphemeral", {"channel": thread.channel, "user": place["user"]} | in_thread),
        ("chat.postMessage", {"channel": place["user"]} | NO_PREVIEWS),
    ]
    await notify(
        ({"method": method}, partial(api.write, method, text=text, **arguments)) for method, arguments in ways
    )
