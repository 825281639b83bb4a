"""Turns with messages as the platforms create them in each kind of place."""

from collections.abc import Mapping
from uuid import uuid4

from bot.chat import Audience, Message, ThreadId, Turn


def slack_message(
    text: str = "?",
    *,
    user: str = "U1",
    team: str = "T1",
    channel: str = "C1",
    kind: str = "channel",
    thread: str = "1.1",
    name: str = "",
    at: float = 1_700_000_000.0,
    place: Mapping[str, str] | None = None,
) -> Message:
    """Return a message on Slack; `kind` is the channel's: channel, group, mpim or im."""
    where = {"team": team, "user": user, "user_team": team, "channel_kind": kind}
    return Message(
        id=f"slack:{team}:{channel}:{uuid4().hex}",
        thread=ThreadId("slack", team, channel, thread),
        author=f"slack:{user}",
        author_name=name,
        text=text,
        sent_at=at,
        addressed=True,
        direct=kind == "im",
        channel=channel,
        place=where | dict(place or {}),
    )


def slack_dm(text: str = "?", *, user: str = "U1", team: str = "T1", thread: str = "1.1") -> Message:
    """Return a direct message on Slack."""
    return slack_message(text, user=user, team=team, channel=f"D{user}", kind="im", thread=thread)


def discord_message(
    text: str = "?",
    *,
    user: str = "1",
    guild: str = "100",
    channel: str = "200",
    thread: str = "300",
    is_open: bool = True,
    is_closed: bool = False,
) -> Message:
    """Return a message in a thread on Discord, in a public channel or in a private thread."""
    return Message(
        id=f"discord:{uuid4().hex}",
        thread=ThreadId("discord", guild, thread),
        author=f"discord:{user}",
        text=text,
        sent_at=1_700_000_000.0,
        addressed=True,
        channel=thread,
        parent=channel,
        is_private_thread=is_closed,
        place={"guild": guild, "open": "yes" if is_open and not is_closed else ""},
    )


def discord_dm(text: str = "?", *, user: str = "1") -> Message:
    """Return a direct message on Discord."""
    return Message(
        id=f"discord:{uuid4().hex}",
        thread=ThreadId("discord", "dm", f"9{user}"),
        author=f"discord:{user}",
        text=text,
        sent_at=1_700_000_000.0,
        addressed=True,
        direct=True,
        channel=f"9{user}",
        place={"guild": "dm"},
    )


def http_message(text: str = "?", *, thread: str = "t1") -> Message:
    """Return a message over HTTP."""
    return Message(
        id=f"http:{uuid4().hex}",
        thread=ThreadId("http", "api", thread),
        author="http:api",
        text=text,
        sent_at=1_700_000_000.0,
        addressed=True,
        direct=True,
    )


def turn_with(*messages: Message) -> Turn:
    """Return the turn of these messages."""
    return Turn(id=messages[0].id, thread=messages[0].thread, messages=messages)


async def derive_audience(message: Message) -> Audience:
    """Return the audience of a message's place, as the platforms derive it."""
    place = message.place
    if place.get("shared") or place.get("user_team", place.get("team")) != place.get("team"):
        return "outsiders"
    return "everyone" if place.get("open") or place.get("channel_kind") == "channel" else "members"
