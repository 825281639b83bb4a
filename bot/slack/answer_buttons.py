"""Presses of the buttons below answers, and reasons for votes.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import cast

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Json, Message, PlatformError, ThreadId, Vote
from bot.commands.commands import Commands
from bot.platforms.answers import DETAILS, RATE, REASON, REGENERATE, describe, explain, rate, regenerate
from bot.slack.answer_forms import reason_form
from bot.slack.api import SlackApi
from bot.slack.block_text import word
from bot.slack.slash_commands import ApiOf
from bot.slack.users import Users

log = logging.getLogger(__name__)


def is_reason(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack submits the form for a reason."""
    view = body.get("view") or {}
    return body.get("type") == "view_submission" and view.get("callback_id") == REASON


def add_reason_form(app: AsyncApp, commands: Commands, api_of: ApiOf) -> None:
    """Register the form for a reason with `app`; it stays open until the reason is stored."""

    async def form(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        inputs = body["view"]["state"]["values"]
        reason = word(inputs[REASON][REASON].get("value"))
        by = api_of(body).ids.user(body["user"]["id"])
        if error := await explain(commands, word(body["view"].get("private_metadata")), by, reason):
            await ack(response_action="errors", errors={REASON: error})
        else:
            await ack()

    app.view(REASON)(form)


class AnswerPresses:
    """Presses of buttons below answers."""

    def __init__(self, api: SlackApi, users: Users) -> None:
        self._api = api
        self._users = users
        self._forms: set[asyncio.Task[None]] = set()

    async def take(
        self, action: Mapping[str, Json], body: Mapping[str, Json], team: str, commands: Commands
    ) -> str:
        """Take the press of a button; return the answer for the user only, which may be empty."""
        name, value = word(action.get("action_id")), word(action.get("value"))
        if name not in (RATE, DETAILS, REGENERATE) or not value:
            return ""
        press = self._api.ids.of_message(await self._users.with_author(_press(body, team)))
        if name == RATE:
            return await self._rate(value, press, word(body.get("trigger_id")), commands)
        if name == DETAILS:
            return await describe(commands, value, press)
        return await regenerate(commands, value, press)

    async def _rate(self, value: str, press: Message, trigger: str, commands: Commands) -> str:
        """Store a vote; after one against the answer, open the form for a reason.

        Slack itself shows which button was pressed.
        """
        vote, _, answer = value.partition(":")
        if vote not in ("up", "down") or not answer:
            return ""
        if error := await rate(commands, answer, press, cast("Vote", vote)):
            return error
        if vote == "down":  # in a task: Slack waits only 3 s for the acknowledgement
            opening = asyncio.create_task(self._open_form(answer, trigger))
            self._forms.add(opening)
            opening.add_done_callback(self._forms.discard)
        return ""

    async def _open_form(self, answer: str, trigger: str) -> None:
        try:
            await self._api.write("views.open", trigger_id=trigger, view=reason_form(answer))
        except PlatformError as error:  # the vote is stored
            log.info("form for a reason not opened", extra={"error": str(error)})


def _press(body: Mapping[str, Json], team: str) -> Message:
    """Return a press as a message in the thread of the answer."""
    user, message = body["user"], body["message"]
    channel, ts = word(body["channel"]["id"]), word(message["ts"])
    home = word(user.get("team_id")) or team
    return Message(
        id="",
        thread=ThreadId("slack", team, channel, word(message.get("thread_ts")) or ts),
        author=f"slack:{word(user['id'])}",
        text="",
        sent_at=0,
        addressed=True,
        direct=channel.startswith("D"),
        channel=channel,
        place={
            "team": team,
            "ts": ts,
            "user": word(user["id"]),
            "user_team": home,
            # it does not tell who reads the channel; the details of an answer do, unless they are old
            "channel_kind": "",
            "shared": "yes",
        },
        author_space=f"slack:{home}" if home != team else "",
    )
