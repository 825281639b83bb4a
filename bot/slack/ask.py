"""Shortcuts on Slack: a question about a message, answered in its thread, and one from anywhere.

The form is acknowledged when the question is stored; sent again, it is recognised by its id. In a thread the
answer shows the question first; in direct messages the question begins the thread, and is looked for before.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.chat import (
    CredentialsRejected,
    Deliver,
    InboxLookup,
    Json,
    Message,
    PlatformError,
    StorageDown,
    ThreadId,
)
from bot.commands import ask_texts as texts
from bot.slack.api import SlackApi
from bot.slack.ask_forms import (
    SHORTCUT,
    Subject,
    ask_form,
    files_in,
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

_MOST_SEARCHED = 50

_KINDS = {"is_im": "im", "is_mpim": "mpim", "is_private": "group"}


def is_ask(body: Mapping[str, Json]) -> bool:
    """Return whether a payload of Slack is a shortcut or its form."""
    view = body.get("view") or {}
    is_form = body.get("type") == "view_submission" and view.get("callback_id") == ASK
    return is_form or body.get("type") in ("shortcut", "message_action")


@dataclass(frozen=True, slots=True)
class Place:
    """Thread for the answer; `kind` is as in `channel_kind`, and `is_shared` is as in events.

    `shows_question`: its first message is the question, which otherwise comes before the answer.
    """

    channel: str
    thread_ts: str
    kind: str
    is_shared: bool = False
    shows_question: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Questions that are asked by shortcuts."""

    api: SlackApi
    deliver: Deliver
    lookup: InboxLookup
    timing: Timing
    locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Locks of the questions that are being taken, by id."""

    async def open(self, ack: AsyncAck, body: Mapping[str, Json]) -> None:
        """Open the form."""
        await ack()
        who = await self.api.who()
        subject = subject_of(body, who.user_id)
        try:
            await self._open_form(subject, word(body.get("trigger_id")))
        except PlatformError as error:
            log.warning("form of a shortcut not opened", extra={"error": str(error)})
            if url := word(body.get("response_url")):
                await follow_up(self.api.session, url, texts.NO_FORM)

    async def _open_form(self, subject: Subject, trigger: str) -> None:
        """Open the form; without an input for files if the app lacks the scope for it."""
        takes_files = not subject.channel  # a message brings its own
        try:
            view = ask_form(subject, takes_files=takes_files)
            await self.api.write("views.open", trigger_id=trigger, view=view)
        except (CredentialsRejected, Refused):
            if not takes_files:
                raise
            view = ask_form(subject, takes_files=False)
            await self.api.write("views.open", trigger_id=trigger, view=view)

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
        home = word(body["user"].get("team_id")) or who.team_id
        id = message_id(who.team_id, subject.channel or user, subject.asked_ts)
        async with self.locks.setdefault(id, asyncio.Lock()):
            if await self.lookup.is_known(id):
                return
            thread = await self._thread_of(subject) if subject.channel else None
            place = thread or await self._direct(user, question, id, subject.asked_ts)
            message = _message(id, subject, question, user, place, who.team_id, home)
            files = (*message.attachments, *files_in(body["view"]))
            await self.deliver(replace(message, attachments=files))

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

    async def _direct(self, user: str, question: str, id: str, asked_ts: str) -> Place:
        """Return a thread in direct messages, whose first message shows the question."""
        opened = await self.api.repeat("conversations.open", users=user)
        channel = word((opened.get("channel") or {}).get("id"))
        ts = await self._find_shown(channel, id, asked_ts) or await self._show(channel, user, question, id)
        return Place(channel, ts, "im", shows_question=True)

    async def _find_shown(self, channel: str, id: str, asked_ts: str) -> str:
        """Return the message that has shown the question before it was stored, or nothing.

        A channel that cannot be read now is no reason to refuse the question.
        """
        window: dict[str, Json] = {"channel": channel, "oldest": asked_ts, "limit": _MOST_SEARCHED}
        try:
            page = await self.api.read("conversations.history", **window, include_all_metadata="true")
        except PlatformError as error:
            log.info("earlier question not looked for", extra={"error": str(error)})
            return ""
        found = (each for each in page.get("messages") or () if _metadata_of(each) == _metadata(id))
        return next((word(each.get("ts")) for each in found), "")

    async def _show(self, channel: str, user: str, question: str, id: str) -> str:
        shown = await self.api.write(
            "chat.postMessage",
            channel=channel,
            text=question_summary(question),
            blocks=question_blocks(user, question),
            metadata=_metadata(id),  # else a later attempt might take it for the answer that it looks for
            **NO_PREVIEWS,
        )
        return word(shown.get("ts"))


def _metadata(id: str) -> Json:
    return {"event_type": "bot_question", "event_payload": {"question": id}}


def _metadata_of(message: Mapping[str, Json]) -> Json:
    """Return the metadata of a message; Slack adds fields of its own."""
    found = message.get("metadata") or {}
    return {name: found.get(name) for name in _metadata("")}


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
            **({} if place.shows_question else {SHORTCUT: id}),
        },
        author_space=f"slack:{home}" if home != team else "",
    )
