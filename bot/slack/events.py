"""Parser of Slack's events. Pure.

Payloads: https://docs.slack.dev/reference/events (`message`, `app_mention`). `bot.slack.content` reads the
text of a message.
"""

import re
from collections.abc import Mapping, Set

from bot.chat import Correction, Event, Json, Message, Stop, ThreadId, Withdrawal
from bot.slack.app_context import APP_CONTEXT, parse_app_context
from bot.slack.block_text import objects, word
from bot.slack.content import content_of, mentions_of

_SUBTYPES = frozenset({None, "file_share", "me_message", "thread_broadcast"})
"""Subtypes of what users write; all others are edits, deletions or announcements."""
_BOT_SUBTYPES = _SUBTYPES | {"bot_message"}  # of webhooks, and of apps that post under another name

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
"""Unix seconds, made unique in a channel by microseconds: Slack's id of a message."""


class Unreadable(ValueError):
    """Event that does not have the form that Slack documents."""


ACTION_TOKEN = "action_token"  # noqa: S105 - the name of a field
"""Key of a message's `place`: the token with which Slack searches for its author."""

STOP_REACTION = "x"

_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)
"""Errors raised while a payload of an unexpected form is read."""


def parse_event(body: Mapping[str, Json], bot_user_id: str, bots: Set[str] = frozenset()) -> Event | None:
    """Return the event in an `event_callback`; None if it is not for the bot.

    A mention in a channel arrives as `app_mention` and as `message`; both give the same message. Other bots
    are ignored unless they are in `bots` (as in ALLOWED_BOTS). Their edits are always ignored, because a
    bot's answer grows by edits. Raises `Unreadable`.
    """
    try:
        return _event(body, body.get("event") or {}, bot_user_id, bots)
    except _MALFORMED as error:
        raise Unreadable(f"an event of Slack cannot be read: {type(error).__name__} {error}") from error


def event_id(event: Json, channel: str = "") -> str:
    """Return an id for an event that is not parsed yet; a redelivery or the history gives the same id."""
    fields = event if isinstance(event, Mapping) else {}
    edited = fields.get("message")
    message = edited if isinstance(edited, Mapping) else fields
    ts = message.get("ts") or fields.get("event_ts")
    return f"slack:{channel or fields.get('channel')}:{ts}"


def parse_message(
    message: Mapping[str, Json],
    channel: str,
    channel_kind: str,
    team: str,
    bot_user_id: str,
    bots: Set[str] = frozenset(),
    *,
    is_shared: bool = False,
) -> Message | None:
    """Read a message from `conversations.history` or `.replies`, like `parse_event`. Raises `Unreadable`.

    `is_shared`: the channel is shared with other organisations.
    """
    body = {"team_id": team, "is_ext_shared_channel": is_shared}
    try:
        return _message(body, _as_it_reads(message, channel, channel_kind), bot_user_id, bots)
    except _MALFORMED as error:
        raise Unreadable(f"a message of Slack cannot be read: {type(error).__name__} {error}") from error


def parse_past_event(
    message: Mapping[str, Json],
    channel: str,
    channel_kind: str,
    team: str,
    bot_user_id: str,
    bots: Set[str] = frozenset(),
    *,
    is_shared: bool = False,
) -> Message | Correction | None:
    """Read a message from the history, as a `Correction` if it was edited. Raises `Unreadable`.

    The event of that edit may still arrive, and must be recognised as a duplicate.
    """
    read = parse_message(message, channel, channel_kind, team, bot_user_id, bots, is_shared=is_shared)
    edited = message.get("edited")
    if read is None or read.bot_ids or not isinstance(edited, Mapping):
        return read
    return Correction(message=read, edited_at=moment(edited.get("ts")))


def _event(
    body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str, bots: Set[str]
) -> Event | None:
    match event.get("type"), event.get("subtype"):
        case "message", "message_changed":
            return _correction(body, event, bot_user_id)
        case "message", "message_deleted":
            return _withdrawal(body, event["channel"], event["deleted_ts"])
        case "reaction_added", _:
            return _reaction(body, event)
        case "agent_session_stopped", _:
            channel, thread_ts = _id(event["channel"]), _ts(event["thread_ts"])
            at = float(_ts(event.get("event_ts") or "0"))
            thread = ThreadId("slack", team_of_event(body), channel, thread_ts)
            return Stop(by=f"slack:{_id(event['user'])}", at=at, thread=thread)
        case _:
            return _message(body, event, bot_user_id, bots)


def _correction(body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str) -> Event | None:
    now, before = event["message"], event.get("previous_message") or {}
    if now.get("subtype") == "tombstone":  # deleted, but it has replies
        return _withdrawal(body, event["channel"], now["ts"])
    edited = now.get("edited")
    if not edited or now.get("text") == before.get("text"):  # Slack has added a preview, or counted a reply
        return None
    # the body describes the channel and the author's team, as it does for a new message
    message = _message(
        body, _as_it_reads(now, event["channel"], event.get("channel_type")), bot_user_id, frozenset()
    )
    return Correction(message=message, edited_at=float(_ts(edited["ts"]))) if message else None


def _as_it_reads(message: Mapping[str, Json], channel: Json, channel_kind: Json) -> dict[str, Json]:
    """Return a possibly edited message in the form of a new message's event."""
    event = {name: value for name, value in message.items() if name != "edited"}
    return event | {"channel": channel, "channel_type": channel_kind}


def _withdrawal(body: Mapping[str, Json], channel: Json, ts: Json) -> Withdrawal:
    return Withdrawal(message_id=message_id(team_of_event(body), _id(channel), _ts(ts)))


def _reaction(body: Mapping[str, Json], event: Mapping[str, Json]) -> Stop | None:
    item = event["item"]
    if event["reaction"] != STOP_REACTION or item.get("type") != "message":
        return None
    stopped = message_id(team_of_event(body), _id(item["channel"]), _ts(item["ts"]))
    return Stop(by=f"slack:{_id(event['user'])}", message_id=stopped)


def place_of(stop: Stop) -> tuple[str, str]:
    """Return the channel and the thread of a stop; the thread is empty if it is not known."""
    if stop.thread:
        return stop.thread.channel, stop.thread.thread
    _, _, channel, _ = stop.message_id.split(":")
    return channel, ""


def team_of(stop: Stop) -> str:
    """Return the workspace of a stop."""
    return stop.thread.space if stop.thread else stop.message_id.split(":")[1]


def message_id(team: str, channel: str, ts: str) -> str:
    """Return the id of a message as in `Message`."""
    return f"slack:{team}:{channel}:{ts}"


def _message(
    body: Mapping[str, Json], event: Mapping[str, Json], bot_user_id: str, bots: Set[str]
) -> Message | None:
    bot_ids = _bot_ids(event)
    if not _is_for_bot(event, bot_user_id) or (bot_ids and bots.isdisjoint(bot_ids)):
        return None
    if bot_ids and event.get("app_id") and event.get("app_id") == body.get("api_app_id"):
        return None  # the bot of another installation of this app, in a shared channel
    content, mentions = content_of(event, bot_user_id), mentions_of(event, bot_user_id)
    kind = word(event.get("channel_type"))
    # an `app_mention` does not say who mentions the bot: the author, or a quote
    is_named = mentions.of_bot or (event["type"] == "app_mention" and not mentions.by_others)
    addressed = is_named or kind == "im"
    # the first message of a thread has a `thread_ts`, too, once it is edited or read from the history
    if event.get("thread_ts") in (None, "", event["ts"]) and not addressed:
        return None
    team, channel, ts = team_of_event(body), _id(event["channel"]), _ts(event["ts"])
    user = _id(event.get("user") or event["bot_id"])
    profile = _object(event.get("user_profile"))
    return Message(
        id=message_id(team, channel, ts),
        thread=ThreadId("slack", team, channel, _ts(event.get("thread_ts") or ts)),
        author=f"slack:{user}",
        author_name=written_name(event),
        text=content.text,
        sent_at=float(ts),
        addressed=addressed,
        direct=kind == "im",
        attachments=content.files,
        voices=content.voices,
        quotes=content.quotes,
        channel=channel,
        place={
            "team": team,
            "ts": ts,
            "user": user,
            # in a channel shared between workspaces, the author's may be different from the bot's
            "user_team": word(event.get("user_team")) or word(event.get("team")) or team,
            "channel_kind": kind,  # not in an app_mention
            "shared": "yes" if body.get("is_ext_shared_channel") else "",  # with other organisations
            **_action_token(event),
            **({APP_CONTEXT: seen} if kind == "im" and (seen := _app_context(event)) else {}),
        },
        bot_ids=bot_ids,
        author_space=_author_space(body, event, profile),
        is_guest=is_guest(profile),
        purpose="aside" if mentions.of_others and not addressed else "",
    )


def _action_token(event: Mapping[str, Json]) -> dict[str, str]:
    """Return the token for a search in the author's name, if the event has one."""
    token = word(event.get(ACTION_TOKEN)) or word(_object(event.get("assistant_thread")).get(ACTION_TOKEN))
    return {ACTION_TOKEN: token} if token else {}


def _app_context(event: Mapping[str, Json]) -> str:
    return parse_app_context(event.get("app_context")) if "app_context" in event else ""


def _bot_ids(event: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the ids of an author that is a bot; webhooks and old apps have no user."""
    if not event.get("bot_id"):
        return ()
    return tuple(f"slack:{_id(event[name])}" for name in ("bot_id", "user") if event.get(name))


def _is_for_bot(event: Mapping[str, Json], bot_user_id: str) -> bool:
    return (
        is_written(event)
        and not event.get("edited")  # a mention that is added by an edit arrives as app_mention again
        and event.get("user") not in ("USLACKBOT", bot_user_id)
    )


def is_written(message: Mapping[str, Json]) -> bool:
    """Return whether a user or a bot wrote a message; others are announcements."""
    if message.get("type") not in ("message", "app_mention"):
        return False
    if not any(map(message.get, _SPECIAL)):  # as most messages: hundreds are read for one answer
        return bool(message.get("user"))
    is_bot = bool(message.get("bot_id"))
    subtypes = _BOT_SUBTYPES if is_bot else _SUBTYPES
    return (
        message.get("subtype") in subtypes
        and not message.get("hidden")
        and (is_bot or bool(message.get("user")))
    )


_SPECIAL = ("subtype", "bot_id", "hidden")


def _id(value: Json) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise TypeError(f"{type(value).__name__} where an id belongs")
    return value


def _ts(value: Json) -> str:
    if not isinstance(value, str) or not _TS.fullmatch(value):
        raise ValueError(f"{type(value).__name__} that is no time of a message")
    return value


def moment(value: Json) -> float:
    """Return the Unix seconds in a `ts`; 0 if `value` is not one."""
    return float(value) if isinstance(value, str) and _TS.fullmatch(value) else 0.0


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def team_of_event(body: Mapping[str, Json]) -> str:
    """Return the workspace of the installation that an event is for; `unknown` if it has none."""
    # `team_id` is null for events of a whole Enterprise organisation
    installation = next(iter(objects(body.get("authorizations"))), {})
    event = _object(body.get("event"))
    # in a shared channel `team_id` is the workspace that hosts it
    names = _TEAMS_OF_SHARED if body.get("is_ext_shared_channel") else _TEAMS
    teams = (installation.get("team_id"), *(body.get(name) for name in names), event.get("team"))
    return next(filter(None, map(word, teams)), "unknown")


_TEAMS = ("team_id", "context_team_id", "enterprise_id")
_TEAMS_OF_SHARED = ("context_team_id", "team_id", "enterprise_id")


def bot_mentioned_in(body: Mapping[str, Json], bot_user_id: str) -> str:
    """Return the bot user that a message mentions: the bot, or that of another installation of the app."""
    given = next(iter(objects(body.get("authorizations"))), {})
    event = _object(body.get("event"))
    text = word((_object(event.get("message")) or event).get("text"))
    other = word(given.get("user_id")) if given.get("is_bot") is True else ""
    return other if other and f"<@{other}>" in text and f"<@{bot_user_id}>" not in text else bot_user_id


def team_of_interaction(body: Mapping[str, Json]) -> str:
    """Return the workspace of a command, a press or a form; `unknown` if it has none."""
    # if an organisation has installed the app, `team` may be null and another field may have its `E…`
    view, user = _object(body.get("view")), _object(body.get("user"))
    teams = (
        view.get("app_installed_team_id"),
        _object(body.get("team")).get("id"),
        body.get("team_id"),
        user.get("team_id"),
    )
    return next((team for team in map(word, teams) if team.startswith("T")), "unknown")


def organisation_of(body: Mapping[str, Json]) -> str:
    """Return the organisation of a command, a press or a form; empty if it has none."""
    return word(_object(body.get("enterprise")).get("id")) or word(body.get("enterprise_id"))


def _author_space(body: Mapping[str, Json], event: Mapping[str, Json], profile: Mapping[str, Json]) -> str:
    """Return the author's team as in ALLOWED_SPACES; nothing if the app is installed there."""
    names = (event.get("user_team"), event.get("source_team"), profile.get("team"), event.get("team"))
    theirs = next(filter(None, map(word, names)), "")
    installation = next(iter(objects(body.get("authorizations"))), {})  # others may be of the author's team
    ours = {word(installation.get(name)) for name in ("team_id", "enterprise_id")}
    return f"slack:{theirs}" if theirs and theirs not in ours | {team_of_event(body)} else ""


def is_guest(person: Mapping[str, Json]) -> bool:
    """Return whether a user is a guest, by an event's `user_profile` or the answer of `users.info`."""
    return any(person.get(name) is True for name in ("is_restricted", "is_ultra_restricted", "is_stranger"))


def name_of(person: Mapping[str, Json]) -> str:
    """Return the name that other users see, from an event's `user_profile` or the answer of `users.info`."""
    profile = _object(person.get("profile"))
    names = (profile.get("display_name"), person.get("display_name"), person.get("real_name"))
    return next(filter(None, map(word, names)), "")


def written_name(message: Mapping[str, Json]) -> str:
    """Return the author's name that a message has itself: that of a bot, sometimes that of a user."""
    if not any(map(message.get, _NAMES)):  # as most messages: hundreds are read for one answer
        return ""
    profile, bot = _object(message.get("user_profile")), _object(message.get("bot_profile"))
    return name_of(profile) or word(message.get("username")) or word(bot.get("name"))


_NAMES = ("user_profile", "username", "bot_profile")
