"""Shortcuts on Slack: a question about a message, answered in its thread, and one from anywhere.

The form is acknowledged when the question is stored; sent again, it is recognised by its id.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import Deliver, InboxLookup, Json, Message, PlatformError, StorageDown, ThreadId
from bot.commands import ask_texts as texts
from bot.slack.api import SlackApi
from bot.slack.ask_forms import (
    Subject,
    ask_form,
    form_error,
    load_subject,
    question_blocks,
    question_in,
    question_summary,
    subject_of,
)
from bot.slack.block_text import word
from bot.slack.errors import Refused
from bot.slack.events import message_id
from bot.slack.fallback import NO_PREVIEWS
from bot.slack.responses import apology, follow_up
from bot.slack.slash_commands import ASK, ASK_ABOUT
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

_KINDS = {"is_im": "im", "is_mpim": "mpim", "is_private": "group"}


def is_ask(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack is a shortcut or its form."""
    view = body.get("view") or {}
    is_form = body.get("type") == "view_submission" and view.get("callback_id") == ASK
    return is_form or body.get("type") in ("shortcut", "message_action")


@dataclass(frozen=True, slots=True)
class Place:
    """Thread for the answer; `kind` is as in `channel_kind`, and `is_shared` is as in events."""

    channel: str
    thread_ts: str
    kind: str
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Questions that are asked by shortcuts."""

    api: SlackApi
    deliver: Deliver
    lookup: InboxLookup
    timing: Timing
    notes: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, ack: AsyncAck, body: Mapping[str, Json]) -> None:
        """Open the form."""
        await ack()
        who = await self.api.who()
        subject = subject_of(body, who.user_id)
        try:
            await self.api.write("views.open", trigger_id=body["trigger_id"], view=ask_form(subject))
        except PlatformError as error:
            log.warning("form of a shortcut not opened", extra={"error": str(error)})
            if url := word(body.get("response_url")):
                await follow_up(self.api.session, url, texts.NO_FORM)

    async def submit(self, ack: AsyncAck, body: Mapping[str, Json]) -> None:
        """Acknowledge once the question is stored; until then the form stays open with what was typed."""
        try:
            async with asyncio.timeout(self.timing.ack_timeout):
                await self._take(body)
        except (PlatformError, StorageDown, TimeoutError) as error:
            log.warning("question of a shortcut not taken", extra={"error": repr(error)})
            await ack(response_action="errors", errors=form_error(texts.NOT_TAKEN))
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a form: the user gets an answer
            await ack(response_action="errors", errors=form_error(apology(error)))
        else:
            await ack()

    async def _take(self, body: Mapping[str, Json]) -> None:
        subject, question = load_subject(body["view"]["private_metadata"]), question_in(body["view"])
        user, who = word(body["user"]["id"]), await self.api.who()
        id = message_id(who.team_id, subject.channel or user, subject.asked_ts)
        if await self.lookup.is_known(id):
            return
        thread = await self._thread_of(subject) if subject.channel else None
        place = thread or await self._direct(user, question, id)
        home = word(body["user"].get("team_id")) or who.team_id
        await self.deliver(_message(id, subject, question, user, place, who.team_id, home))
        if thread:
            note = asyncio.create_task(self._show_question(thread, user, question, id))
            self.notes.add(note)
            note.add_done_callback(self.notes.discard)

    async def _thread_of(self, subject: Subject) -> Place | None:
        """Return the thread of a message, or None where the bot cannot write."""
        try:
            answer = await self.api.read("conversations.info", channel=subject.channel)
        except Refused:
            return None
        channel = answer.get("channel") or {}
        if not (channel.get("is_member") or channel.get("is_im")):
            return None
        kind = next((name for flag, name in _KINDS.items() if channel.get(flag)), "channel")
        is_shared = channel.get("is_ext_shared") is not False
        return Place(subject.channel, subject.thread_ts, kind, is_shared and kind != "im")

    async def _direct(self, user: str, question: str, id: str) -> Place:
        """Return a new thread in direct messages, whose first message shows the question."""
        opened = await self.api.repeat("conversations.open", users=user)
        channel = word((opened.get("channel") or {}).get("id"))
        shown = await self._post(Place(channel, "", "im"), user, question, id)
        return Place(channel, word(shown.get("ts")), "im")

    async def _show_question(self, place: Place, user: str, question: str, id: str) -> None:
        """Show the question in the thread, where others would see only an answer."""
        try:
            await self._post(place, user, question, id)
        except PlatformError as error:
            log.info("question not shown", extra={"error": str(error)})

    async def _post(self, place: Place, user: str, question: str, id: str) -> Mapping[str, Json]:
        in_thread = {"thread_ts": place.thread_ts} if place.thread_ts else {}
        return await self.api.write(
            "chat.postMessage",
            channel=place.channel,
            text=question_summary(question),
            blocks=question_blocks(user, question),
            # else a later attempt might take it for the answer that it looks for
            metadata={"event_type": "bot_question", "event_payload": {"question": id}},
            **in_thread,
            **NO_PREVIEWS,
        )


def add_shortcuts(app: AsyncApp, ask_of: Callable[[Mapping[str, Json]], Ask]) -> None:
    """Register the shortcuts and their form; `ask_of` returns those of a payload's workspace."""

    async def open_form(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ask_of(body).open(ack, body)

    async def submit(ack: AsyncAck, body: Mapping[str, Json]) -> None:
        await ask_of(body).submit(ack, body)

    app.shortcut(ASK)(open_form)
    app.shortcut(ASK_ABOUT)(open_form)
    app.view(ASK)(submit)


def _message(
    id: str, subject: Subject, question: str, user: str, place: Place, team: str, home: str
) -> Message:
    return Message(
        id=id,
        thread=ThreadId("slack", team, place.channel, place.thread_ts),
        author=f"slack:{user}",
        text=question,
        sent_at=time.time(),
        addressed=True,
        direct=place.kind == "im",
        channel=place.channel,
        attachments=subject.attachments,
        quotes=subject.quotes,
        place={
            "team": team,
            "ts": max(subject.asked_ts, place.thread_ts, key=float),
            "user": user,
            "user_team": home,
            "channel_kind": place.kind,
            "shared": "yes" if place.is_shared else "",
        },
        author_space=f"slack:{home}" if home != team else "",
    )
