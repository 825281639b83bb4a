"""Last resorts for an answer that Slack does not accept in its usual form."""

import html
from functools import partial

from bot.chat import Json, Turn
from bot.platforms.fallback import notify
from bot.slack.api import SlackApi

NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
"""Arguments that keep Slack's servers from fetching the links in a text, which may be the model's."""

NOT_SHOWN = "I could not show part of my answer here: Slack does not accept it ({reason})."
_NOT_ANSWERED = (
    "I could not show my answer{where}: Slack does not accept it ({reason}). Ask an admin of the "
    "workspace for help, or ask me somewhere else."
)

_TEXT_LIMIT = 40_000


def as_it_is(text: str) -> dict[str, Json]:
    """Arguments that show a text in which nothing has a meaning for Slack."""
    return {"text": html.escape(text, quote=False)[:_TEXT_LIMIT], "mrkdwn": False}


async def notify_author(api: SlackApi, turn: Turn, reason: str) -> None:
    """Tell the author of a question, for their eyes only, that there is no answer. Never raises."""
    place, thread = turn.messages[-1].place, turn.thread
    where = "" if turn.direct else f" in <#{thread.channel}>"
    text = _NOT_ANSWERED.format(where=where, reason=reason)
    # Slack shows an ephemeral message only in a thread that people have begun
    in_thread = {"thread_ts": thread.thread} if place["ts"] != thread.thread else {}
    ways: list[tuple[str, dict[str, Json]]] = [
        ("chat.postEphemeral", {"channel": thread.channel, "user": place["user"]} | in_thread),
        ("chat.postMessage", {"channel": place["user"]} | NO_PREVIEWS),
    ]
    await notify(
        ({"method": method}, partial(api.write, method, text=text, **arguments)) for method, arguments in ways
    )
