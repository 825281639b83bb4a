"""Who may talk to the bot, and where."""

from collections.abc import Mapping, Set
from types import MappingProxyType

import pytest

from bot.access import Access
from bot.chat import Message, ThreadId


def access(
    *, admins: Set[str] = frozenset(), users: Set[str] = frozenset(), channels: Set[str] = frozenset()
) -> Access:
    return Access(admins, users, channels)


def a_message(
    author: str = "slack:U1",
    thread: ThreadId | None = None,
    *,
    direct: bool = False,
    place: Mapping[str, str] = MappingProxyType({}),
) -> Message:
    return Message(
        id="1",
        thread=thread or ThreadId("slack", "T1", "C1", "17.2"),
        author=author,
        text="hi",
        sent_at=0,
        addressed=True,
        direct=direct,
        place=place,
    )


async def test_without_lists_everybody_may_talk_everywhere() -> None:
    """And nobody is an administrator."""
    assert await access().refusal(a_message()) is None
    assert not access().is_admin("slack:U1")


@pytest.mark.parametrize(("author", "may"), [("slack:U1", True), ("slack:U2", False), ("discord:U1", False)])
async def test_only_listed_users_may_talk(author: str, may: bool) -> None:
    """The platform is part of who somebody is; a refusal names the setting."""
    refusal = await access(users={"slack:U1"}).refusal(a_message(author))
    assert (refusal is None) == may
    assert may or "ALLOWED_USERS" in (refusal or "")


async def test_administrators_may_always_talk() -> None:
    """They need not be listed twice."""
    assert await access(admins={"slack:U9"}, users={"slack:U1"}).refusal(a_message("slack:U9")) is None


def test_a_user_is_no_administrator() -> None:
    """Operations are for ADMIN_USERS alone."""
    lists = access(admins={"slack:U9"}, users={"slack:U1"})
    assert (lists.is_admin("slack:U9"), lists.is_admin("slack:U1")) == (True, False)


@pytest.mark.parametrize(
    ("thread", "may"),
    [
        (ThreadId("slack", "T1", "C1", "17.2"), True),
        (ThreadId("slack", "T1", "C2", "17.2"), False),
        (ThreadId("discord", "G1", "C1"), False),
    ],
)
async def test_only_listed_channels_are_answered(thread: ThreadId, may: bool) -> None:
    """A channel of the same id on another platform is another channel; a refusal names the setting."""
    refusal = await access(channels={"slack:C1"}).refusal(a_message(thread=thread))
    assert (refusal is None) == may
    assert may or "ALLOWED_CHANNELS" in (refusal or "")


async def test_direct_messages_are_in_no_channel() -> None:
    """The list of channels does not keep anybody from writing to the bot alone, the list of users does."""
    assert (
        await access(channels={"slack:C1"}).refusal(
            a_message(thread=ThreadId("slack", "T1", "D1"), direct=True)
        )
        is None
    )
    lists = access(channels={"slack:C1"}, users={"slack:U2"})
    assert await lists.refusal(a_message(direct=True))


@pytest.mark.parametrize("place", [{"parent": "80351"}, {"channel": "80351"}])
async def test_a_discord_thread_belongs_to_its_channel(place: dict[str, str]) -> None:
    """It is a channel of its own there, with an id of its own."""
    lists = access(channels={"discord:80351"})
    assert await lists.refusal(a_message(thread=ThreadId("discord", "G1", "99"), place=place)) is None
    assert await lists.refusal(a_message(thread=ThreadId("discord", "G1", "99"), place={"parent": "1"}))
    assert await lists.refusal(a_message(thread=ThreadId("discord", "G1", "99")))


async def test_an_administrator_is_bound_to_the_channels() -> None:
    """Where the bot answers does not depend on who asks."""
    assert await access(admins={"slack:U1"}, channels={"slack:C2"}).refusal(a_message("slack:U1"))
