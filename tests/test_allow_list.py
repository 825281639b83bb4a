"""Access of people and bots: the lists of users, teams and channels."""

from dataclasses import replace
from typing import Any

import pytest

from bot.access.allow_list import AllowList
from bot.chat import Admit, Ignore, Message, Refuse, ThreadId, Turn


def a_message(
    author: str = "slack:U1",
    thread: ThreadId | None = None,
    *,
    direct: bool = False,
    channel: str = "",
    parent: str = "",
    roles: tuple[str, ...] = (),
    bot_ids: tuple[str, ...] = (),
) -> Message:
    return Message(
        id="1",
        thread=thread or ThreadId("slack", "T1", "C1", "17.2"),
        author=author,
        text="hi",
        sent_at=0,
        addressed=True,
        direct=direct,
        channel=channel,
        parent=parent,
        roles=roles,
        bot_ids=bot_ids,
    )


def sentence_of(verdict: Admit | Refuse | Ignore) -> str:
    return verdict.sentence if isinstance(verdict, Refuse) else ""


async def test_without_lists_everybody_may_talk_everywhere() -> None:
    """And nobody is an administrator."""
    assert await AllowList().check(a_message()) == Admit()
    assert not AllowList().is_admin("slack:U1")


async def test_who_may_not_talk_is_told_so_only_when_they_address_the_bot() -> None:
    """Fault: each message of a partner in a thread of a shared channel was answered with a refusal."""
    partner = replace(a_message(), author_space="slack:T2")
    assert "ALLOW_EXTERNAL" in sentence_of(await AllowList().check(partner))
    assert await AllowList().check(replace(partner, addressed=False)) == Ignore()
    assert await AllowList().check(replace(a_message(), addressed=False)) == Admit()


@pytest.mark.parametrize(("author", "may"), [("slack:U1", True), ("slack:U2", False), ("discord:U1", False)])
async def test_only_listed_users_may_talk(author: str, may: bool) -> None:
    """The platform is part of who somebody is; a refusal names the setting."""
    verdict = await AllowList(users={"slack:U1"}).check(a_message(author))
    assert (verdict == Admit()) == may
    assert may or "ALLOWED_USERS" in sentence_of(verdict)


async def test_administrators_may_always_talk() -> None:
    """They need not be listed twice."""
    assert await AllowList(admins={"slack:U9"}, users={"slack:U1"}).check(a_message("slack:U9")) == Admit()


def test_a_user_is_no_administrator() -> None:
    """Operations are for ADMIN_USERS alone."""
    lists = AllowList(admins={"slack:U9"}, users={"slack:U1"})
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
    verdict = await AllowList(channels={"slack:C1"}).check(a_message(thread=thread))
    assert (verdict == Admit()) == may
    assert may or "ALLOWED_CHANNELS" in sentence_of(verdict)


async def test_direct_messages_are_in_no_channel() -> None:
    """The list of channels does not keep anybody from writing to the bot alone, the list of users does."""
    assert (
        await AllowList(channels={"slack:C1"}).check(
            a_message(thread=ThreadId("slack", "T1", "D1"), direct=True)
        )
        == Admit()
    )
    lists = AllowList(channels={"slack:C1"}, users={"slack:U2"})
    assert isinstance(await lists.check(a_message(direct=True)), Refuse)


@pytest.mark.parametrize(("channel", "parent"), [("", "80351"), ("80351", "")])
async def test_a_discord_thread_belongs_to_its_channel(channel: str, parent: str) -> None:
    """It is a channel of its own there, with an id of its own."""
    lists = AllowList(channels={"discord:80351"})
    thread = ThreadId("discord", "G1", "99")
    assert await lists.check(a_message(thread=thread, channel=channel, parent=parent)) == Admit()
    assert isinstance(await lists.check(a_message(thread=thread, parent="1")), Refuse)
    assert isinstance(await lists.check(a_message(thread=thread)), Refuse)


async def test_an_administrator_is_bound_to_the_channels() -> None:
    """The channels of the bot do not depend on the person who asks."""
    assert isinstance(
        await AllowList(admins={"slack:U1"}, channels={"slack:C2"}).check(a_message("slack:U1")), Refuse
    )


CHANNEL = ThreadId("discord", "G1", "99")
DM = ThreadId("discord", "dm", "7")
LISTS: dict[str, frozenset[str]] = {
    "users": frozenset({"discord:ann"}),
    "roles": frozenset({"discord:r1"}),
    "spaces": frozenset({"discord:G1"}),
    "channels": frozenset({"discord:20"}),
}
"""One entry in each list; a case below says which of them are set."""


@pytest.mark.parametrize(
    ("lists", "author", "roles", "space", "channel", "names"),
    [
        # no list of people: everybody. No list of places: everywhere
        ("", "bob", (), "G2", "21", ""),
        # people: a user or a role is enough
        ("users", "ann", (), "G2", "21", ""),
        ("users", "bob", ("r1",), "G2", "21", "ALLOWED_USERS"),
        ("roles", "bob", ("r0", "r1"), "G2", "21", ""),
        ("roles", "ann", ("r0",), "G2", "21", "ALLOWED_ROLES"),
        ("users roles", "ann", (), "G2", "21", ""),
        ("users roles", "bob", ("r1",), "G2", "21", ""),
        ("users roles", "bob", (), "G2", "21", "ALLOWED_ROLES"),
        # an administrator is a person who is allowed
        ("users roles", "root", (), "G2", "21", ""),
        # places: the space and the channel
        ("spaces", "bob", (), "G1", "21", ""),
        ("spaces", "bob", (), "G2", "20", "ALLOWED_SPACES"),
        ("channels", "bob", (), "G2", "20", ""),
        ("channels", "bob", (), "G1", "21", "ALLOWED_CHANNELS"),
        ("spaces channels", "bob", (), "G1", "20", ""),
        ("spaces channels", "bob", (), "G1", "21", "ALLOWED_CHANNELS"),
        ("spaces channels", "root", (), "G2", "20", "ALLOWED_SPACES"),
        # both: the person and the place
        ("users roles spaces channels", "bob", ("r1",), "G1", "20", ""),
        ("users roles spaces channels", "bob", ("r1",), "G1", "21", "ALLOWED_CHANNELS"),
        ("users roles spaces channels", "bob", ("r0",), "G1", "20", "ALLOWED_ROLES"),
    ],
)
async def test_the_lists_combine(
    lists: str, author: str, roles: tuple[str, ...], space: str, channel: str, names: str
) -> None:
    """The author by a user or a role, and the space, and the channel; a refusal names what to change."""
    chosen: dict[str, Any] = {name: LISTS[name] for name in lists.split()}
    message = a_message(
        f"discord:{author}",
        ThreadId("discord", space, "99"),
        parent=channel,
        channel="99",
        roles=tuple(f"discord:{role}" for role in roles),
    )
    verdict = await AllowList(frozenset({"discord:root"}), **chosen).check(message)
    assert (verdict == Admit()) == (names == "")
    assert names in sentence_of(verdict)
    assert verdict == Admit() or "Ask the bot's operator" in sentence_of(verdict)


@pytest.mark.parametrize(("spaces", "may"), [({"discord:G1"}, False), ({"discord:G1", "discord:dm"}, True)])
async def test_discords_direct_messages_are_a_space_of_their_own(spaces: set[str], may: bool) -> None:
    """They belong to no server: a list of servers keeps strangers out of them unless it says otherwise."""
    verdict = await AllowList(spaces=spaces).check(a_message("discord:bob", DM, direct=True))
    assert (verdict == Admit()) == may
    assert may or "answer direct messages" in sentence_of(verdict)


async def test_a_direct_message_of_slack_is_in_its_workspace() -> None:
    message = a_message(thread=ThreadId("slack", "T1", "D1", "1.1"), direct=True)
    assert await AllowList(spaces={"slack:T1"}).check(message) == Admit()
    assert isinstance(await AllowList(spaces={"slack:T2"}).check(message), Refuse)


async def test_who_is_allowed_by_a_role_is_told_that_direct_messages_know_none() -> None:
    verdict = await AllowList(roles={"discord:r1"}).check(a_message("discord:bob", DM, direct=True))
    assert "where you have a role" in sentence_of(verdict)


@pytest.mark.parametrize(
    ("bot_ids", "verdict"),
    [
        (("slack:B1", "slack:U7"), Admit()),
        (("slack:B2", "slack:U1"), Admit()),
        (("slack:B2", "slack:U2"), Ignore()),
    ],
)
async def test_a_bot_is_known_by_either_id_and_refused_in_silence(
    bot_ids: tuple[str, ...], verdict: Admit | Ignore
) -> None:
    """A refusal would be an answer, which the other bot may answer."""
    lists = AllowList(bots={"slack:B1", "slack:U1"}, users={"slack:U9"})
    assert await lists.check(a_message("slack:U1", bot_ids=bot_ids)) == verdict


PARTNER: dict[str, Any] = {"author_space": "slack:T2", "author_name": "Bob of Othercorp"}
GUEST: dict[str, Any] = {"is_guest": True}


@pytest.mark.parametrize(
    ("who", "spaces", "external", "names"),
    [
        (PARTNER, set(), "no", "ALLOW_EXTERNAL"),
        (GUEST, set(), "no", "ALLOW_EXTERNAL"),
        (PARTNER, set(), "chat", ""),
        (GUEST, {"slack:T1"}, "chat", ""),
        (PARTNER, set(), "all", ""),
        # the place and the own team
        (PARTNER, {"slack:T1"}, "all", "ALLOWED_SPACES"),
        (PARTNER, {"slack:T2"}, "all", "ALLOWED_SPACES"),
        (PARTNER, {"slack:T1", "slack:T2"}, "all", ""),
        (PARTNER, {"slack:T1", "slack:T2"}, "no", "ALLOW_EXTERNAL"),
        (PARTNER, {"slack:*"}, "no", "ALLOW_EXTERNAL"),
        (PARTNER, {"slack:*"}, "all", ""),
        ({}, {"slack:*"}, "no", ""),
        ({}, {"discord:*"}, "no", "ALLOWED_SPACES"),
        ({}, {"slack:T1"}, "no", ""),
    ],
)
async def test_external_people_are_let_in_by_the_setting_and_by_their_own_team(
    who: dict[str, Any], spaces: set[str], external: Any, names: str
) -> None:
    """A refusal names what to change, and neither the person nor whom they work for."""
    verdict = await AllowList(spaces=spaces, external=external).check(replace(a_message(), **who))
    assert (verdict == Admit()) == (names == "")
    assert names in sentence_of(verdict)
    assert "T2" not in sentence_of(verdict)
    assert "Bob" not in sentence_of(verdict)


@pytest.mark.parametrize(
    ("external", "messages", "expected"),
    [
        ("chat", [PARTNER], True),
        ("chat", [{}, GUEST], True),
        ("chat", [{}, {}], False),
        ("all", [PARTNER, GUEST], False),
        ("no", [PARTNER], True),
    ],
)
def test_a_turn_with_an_external_person_is_limited(
    external: Any, messages: list[dict[str, Any]], expected: bool
) -> None:
    """Whoever else takes part in it."""
    asked = tuple(replace(a_message(), id=f"{n}", **who) for n, who in enumerate(messages))
    turn = Turn(id="0", thread=asked[0].thread, messages=asked)
    assert AllowList(external=external).is_restricted(turn) == expected


async def test_bots_are_bound_to_the_places() -> None:
    lists = AllowList(bots={"slack:B1"}, channels={"slack:C2"})
    assert await lists.check(a_message(bot_ids=("slack:B1",))) == Ignore()
