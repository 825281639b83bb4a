"""Slack's events, read into messages. Pure.

Payloads: https://docs.slack.dev/reference/events (`message`, `app_mention`) and, for what `text` holds,
https://docs.slack.dev/messaging/formatting-message-text (retrieving messages).
"""

import html
import re
from collections.abc import Iterable, Mapping, Set

from bot.chat import Attachment, Correction, Event, Json, Message, Stop, ThreadId, Withdrawal

_SUBTYPES = frozenset({None, "file_share", "thread_broadcast"})
"""What a person writes; every other subtype is an edit, a deletion or an announcement."""
_BOT_SUBTYPES = _SUBTYPES | {"bot_message"}  # of webhooks, and of apps that post under another name

_REFERENCE = re.compile(r"<([^<>]*)>")


class Unreadable(ValueError):
    """An event that does not have the form that Slack documents."""


STOP_REACTION = "x"


def parse(body: Mapping[str, Json], bot_user_id: str, bots: Set[str] = frozenset()) -> Event | None:
    """What a person does in an `event_callback`, `None` when it is not for the bot. Raises `Unreadable`.

    A mention in a channel comes as `app_mention` and as `message`: both give the same message. Of other
    bots, those in `bots` (as in ALLOWED_BOTS) are heard, as they first write: not their edits, which is how
    an answer grows.
    """
    try:
        return _event(body, body.get("event") or {}, bot_user_id, bots)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"an event of Slack cannot be read: {type(error).__name__} {error}") from error


def event_id(event: Json, channel: str = "") -> str:
    """A name for an event before it is read: the same when it comes again, also from the history."""
    fields = event if isinstance(event, Mapping) else {}
    edited = fields.get("message")
    message = edited if isinstance(edited, Mapping) else fields
    ts = message.get("ts") or fields.get("event_ts")
    return f"slack:{channel or fields.get('channel')}:{ts}"


def past_message(
    message: Mapping[str, Json],
    channel: str,
    channel_kind: str,
    team: str,
    bot_user_id: str,
    bots: Set[str] = frozenset(),
) -> Message | None:
    """The same for a message that `conversations.history` or `.replies` gives. Raises `Unreadable`."""
    # what was edited since is taken as it reads now
    event = {name: value for name, value in message.items() if name != "edited"}
    event |= {"channel": channel, "channel_type": channel_kind}
    try:
        return _message({"team_id": team}, event, bot_user_id, bots)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"a message of Slack cannot be read: {type(error).__name__} {error}") from error


def past_event(
    message: Mapping[str, Json],
    channel: str,
    channel_kind: str,
    team: str,
    bot_user_id: str,
    bots: Set[str] = frozenset(),
) -> Message | Correction | None:
    """Read a message of the history, with its last edit, which may not have been heard. Raises `Unreadable`.

    Told as an edit, since the event of that may still come: it must be known to be the same.
    """
    read = past_message(message, channel, channel_kind, team, bot_user_id, bots)
    edited = message.get("edited")
    if read is None or read.bot_ids or not isinstance(edited, Mapping):
        return read
    return Correction(message=read, edited_at=float(edited.get("ts") or 0))


def _event(
    body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str, bots: Set[str]
) -> Event | None:
    match event.get("type"), event.get("subtype"):
        case "message", "message_changed":
            return _changed(body, event, bot_user_id)
        case "message", "message_deleted":
            return _withdrawal(body, event["channel"], event["deleted_ts"])
        case "reaction_added", _:
            return _reaction(body, event)
        case "agent_session_stopped", _:
            thread = ThreadId("slack", _team(body), event["channel"], event["thread_ts"])
            return Stop(by=f"slack:{event['user']}", at=float(event.get("event_ts") or 0), thread=thread)
        case _:
            return _message(body, event, bot_user_id, bots)


def _changed(body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str) -> Event | None:
    now, before = event["message"], event.get("previous_message") or {}
    if now.get("subtype") == "tombstone":  # deleted, but it has replies
        return _withdrawal(body, event["channel"], now["ts"])
    edited = now.get("edited")
    if not edited or now.get("text") == before.get("text"):  # Slack has added a preview, or counted a reply
        return None
    message = past_message(now, event["channel"], event.get("channel_type") or "", _team(body), bot_user_id)
    return Correction(message=message, edited_at=float(edited["ts"])) if message else None


def _withdrawal(body: Mapping[str, Json], channel: str, ts: str) -> Withdrawal:
    return Withdrawal(message_id=_message_id(_team(body), channel, ts))


def _reaction(body: Mapping[str, Json], event: Mapping[str, Json]) -> Stop | None:
    item = event["item"]
    if event["reaction"] != STOP_REACTION or item.get("type") != "message":
        return None
    return Stop(by=f"slack:{event['user']}", message_id=_message_id(_team(body), item["channel"], item["ts"]))


def _message_id(team: str, channel: str, ts: str) -> str:
    return f"slack:{team}:{channel}:{ts}"


def _message(
    body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str, bots: Set[str]
) -> Message | None:
    bot_ids = _bot_ids(event)
    if not _is_written(event, bot_user_id) or (bot_ids and bots.isdisjoint(bot_ids)):
        return None
    addressed = _addressed(event, bot_user_id)
    if not _is_id(event.get("thread_ts")) and not addressed:
        return None
    team, channel, ts = _team(body), event["channel"], event["ts"]
    thread_ts = event.get("thread_ts") or ts
    user = event.get("user") or event["bot_id"]
    return Message(
        id=_message_id(team, channel, ts),
        thread=ThreadId("slack", team, channel, thread_ts),
        author=f"slack:{user}",
        author_name=_name(event.get("user_profile") or {}),
        text=plain_text(event.get("text") or "", bot_user_id),
        sent_at=float(ts),
        addressed=addressed,
        direct=event.get("channel_type") == "im",
        attachments=tuple(_attachments(event.get("files") or ())),
        place={
            "team": team,
            "channel": channel,
            "ts": ts,
            "user": user,
            # in a channel shared between workspaces the author's may be another than ours
            "user_team": event.get("user_team") or event.get("team") or team,
            "channel_kind": event.get("channel_type") or "",  # app_mention does not tell
            "shared": "yes" if body.get("is_ext_shared_channel") else "",  # with other organisations
        },
        bot_ids=bot_ids,
    )


def plain_text(text: str, bot_user_id: str) -> str:
    """`text` as a person reads it: no mention of the bot, references by name, entities decoded."""
    without_us = re.sub(rf"[ \t]*<@{re.escape(bot_user_id)}(\|[^<>]*)?>", "", text)
    return html.unescape(_REFERENCE.sub(_readable, without_us)).strip()


def _bot_ids(event: Mapping[str, Json]) -> tuple[str, ...]:
    """The names of an author that is a bot. A webhook, and an old kind of app, has no user."""
    if not event.get("bot_id"):
        return ()
    return tuple(f"slack:{event[name]}" for name in ("bot_id", "user") if _is_id(event.get(name)))


def _is_written(event: Mapping[str, Json], bot_user_id: str) -> bool:
    return (
        event.get("type") in ("message", "app_mention")
        and event.get("subtype") in (_BOT_SUBTYPES if event.get("bot_id") else _SUBTYPES)
        and not event.get("hidden")
        and not event.get("edited")  # a mention that is edited in comes as app_mention once more
        and _is_id(event.get("user") or event.get("bot_id"))
        and event.get("user") not in ("USLACKBOT", bot_user_id)
        and _is_id(event.get("channel"))
        and _is_id(event.get("ts"))
    )


def _is_id(value: Json) -> bool:
    if value and not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where an id belongs")
    return bool(value)


def _addressed(event: Mapping[str, Json], bot_user_id: str) -> bool:
    return (
        event["type"] == "app_mention"
        or event.get("channel_type") == "im"
        or re.search(rf"<@{re.escape(bot_user_id)}[|>]", event.get("text") or "") is not None
    )


def _team(body: Mapping[str, Json]) -> str:
    # the workspace we are installed in; `team_id` is null for events of a whole Enterprise organisation
    installations = body.get("authorizations") or [{}]
    return (
        installations[0].get("team_id")
        or body.get("team_id")
        or body.get("context_team_id")
        or body.get("enterprise_id")
        or (body.get("event") or {}).get("team")
        or "unknown"
    )


def _name(profile: Mapping[str, Json]) -> str:
    return profile.get("display_name") or profile.get("real_name") or ""


def _attachments(files: Iterable[Mapping[str, Json]]) -> list[Attachment]:
    # a deleted file has no address, an external one (Google Drive) is on another host
    return [
        Attachment(
            name=file.get("name") or "",
            media_type=file.get("mimetype") or "application/octet-stream",
            size=file.get("size") or 0,
            url=file.get("url_private_download") or file["url_private"],
        )
        for file in files
        if not file.get("is_external") and (file.get("url_private_download") or file.get("url_private"))
    ]


def _readable(match: re.Match[str]) -> str:
    target, _, label = match[1].partition("|")
    kind, name = target[:1], target[1:]
    if kind in ("@", "#"):
        return kind + (label or name).removeprefix(kind)
    if kind == "!":
        return label or "@" + name.partition("^")[0]
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == address or address.endswith("//" + label):
        return address
    return f"{label} ({address})"
