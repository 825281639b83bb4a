"""Discord's messages that concern the bot, and their kinds. discord.py itself reads the payloads."""

from collections.abc import Sequence
from typing import Any

import discord
import pytest

from bot.chat import Attachment, Message, Quote, ThreadId
from bot.discord.events import parse_correction, parse_message, space_of

ME, ALICE, BOB = 900, 501, 502
GUILD, GENERAL, THREAD, DM = 10, 200_000_000_000_000_020, 30, 40
ROLE, MY_ROLE = 60, 61
ID = 1_100_000_000_000_000_000


def user(id: int, name: str, **more: Any) -> dict[str, Any]:
    common = {"id": str(id), "username": name, "global_name": name.title()}
    return common | {"discriminator": "0", "avatar": None} | more


def role(id: int, name: str, **more: Any) -> dict[str, Any]:
    common = {"id": str(id), "name": name, "color": 0, "hoist": False, "position": 1, "permissions": "0"}
    return common | {"managed": False, "mentionable": True, "flags": 0} | more


def channel(id: int, type: int, name: str) -> dict[str, Any]:
    return {"id": str(id), "type": type, "name": name, "position": 0, "permission_overwrites": []}


THREAD_DATA = {
    "id": str(THREAD),
    "guild_id": str(GUILD),
    "parent_id": str(GENERAL),
    "owner_id": str(ME),
    "type": 11,
    "name": "a thread",
    "message_count": 0,
    "member_count": 1,
    "rate_limit_per_user": 0,
    "thread_metadata": {
        "archived": False,
        "auto_archive_duration": 1440,
        "archive_timestamp": "2026-01-01T00:00:00+00:00",
        "locked": False,
    },
}
GUILD_DATA: Any = {
    "id": str(GUILD),
    "name": "guild",
    "owner_id": str(ALICE),
    "roles": [
        role(GUILD, "@everyone"),
        role(ROLE, "support"),
        role(MY_ROLE, "agent", tags={"bot_id": str(ME)}),
    ],
    "emojis": [],
    "features": [],
    "channels": [channel(GENERAL, 0, "general")],
    "threads": [THREAD_DATA],
    "members": [],
    "member_count": 2,
}


class Library:
    """discord.py with one guild in its cache."""

    def __init__(self) -> None:
        client = discord.Client(intents=discord.Intents.default())
        # untyped: the payloads are as Discord sends them, and discord.py declares keys that may be missing
        self.state: Any = client._connection
        me: Any = user(ME, "agent", bot=True)
        self.state.user = discord.ClientUser(state=self.state, data=me)
        self.state._add_guild_from_data(GUILD_DATA)

    def read(
        self, content: str = "", *, place: int = GENERAL, mentions: Sequence[int] = (), **more: Any
    ) -> discord.Message:
        named = {ME: user(ME, "agent", bot=True), ALICE: user(ALICE, "alice"), BOB: user(BOB, "bob")}
        data: Any = {
            "id": str(ID),
            "channel_id": str(place),
            "author": user(ALICE, "alice"),
            "content": content,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "type": 0,
            "mentions": [named[id] for id in mentions],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
        }
        if place != DM:
            data["guild_id"] = str(GUILD)
        data |= more
        found, _ = self.state._get_guild_channel(data)
        return discord.Message(state=self.state, channel=found, data=data)


@pytest.fixture
async def library() -> Library:
    return Library()


def read(message: discord.Message) -> Message:
    parsed = parse_message(message, ME)
    assert parsed is not None
    return parsed


def test_a_mention_in_a_channel_begins_the_thread_that_is_made_from_it(library: Library) -> None:
    message = read(library.read(f"<@{ME}> how many orders?", mentions=[ME]))
    assert message.id == f"discord:{ID}"
    assert message.thread == ThreadId("discord", str(GUILD), str(ID))
    assert (message.author, message.author_name) == (f"discord:{ALICE}", "Alice")
    assert message.text == "how many orders?"
    assert message.sent_at == pytest.approx(discord.utils.snowflake_time(ID).timestamp())
    assert message.addressed
    assert not message.direct
    assert (message.channel, message.parent, message.is_private_thread) == (str(GENERAL), "", False)
    assert message.place == {
        "guild": str(GUILD),
        "message": str(ID),
        "kind": "channel",
        "author": str(ALICE),
        "open": "",  # this library knows no permissions
    }


def test_a_message_in_a_thread_belongs_to_it_and_is_addressed_only_with_a_mention(library: Library) -> None:
    follow_up = read(library.read("and yesterday?", place=THREAD))
    mention = read(library.read(f"<@{ME}> and yesterday?", place=THREAD, mentions=[ME]))
    assert follow_up.thread == mention.thread == ThreadId("discord", str(GUILD), str(THREAD))
    assert follow_up.place["kind"] == "thread"
    assert follow_up.parent == str(GENERAL)
    assert (follow_up.addressed, mention.addressed) == (False, True)


@pytest.mark.parametrize(
    ("more", "purpose"),
    [
        ({"content": "and yesterday?"}, ""),
        ({"content": f"<@{BOB}> can you look?", "mentions": [BOB]}, "aside"),
        ({"content": "I did", "mentions": [BOB], "type": 19}, "aside"),
        ({"content": "more", "mentions": [ALICE], "type": 19}, ""),
        ({"content": f"<@&{ROLE}> please", "mention_roles": [str(ROLE)]}, "aside"),
        ({"content": "@everyone lunch", "mention_everyone": True}, "aside"),
        ({"content": f"<@{ME}> tell <@{BOB}>", "mentions": [ME, BOB]}, ""),
        (
            {"content": f"<@&{MY_ROLE}> tell <@{BOB}>", "mentions": [BOB], "mention_roles": [str(MY_ROLE)]},
            "",
        ),
    ],
    ids=["talk", "user", "reply with a ping", "reply to oneself", "role", "everyone", "both", "own role"],
)
def test_what_is_said_to_others_in_a_thread_is_an_aside(
    library: Library, more: dict[str, Any], purpose: str
) -> None:
    """To a user or a role; not if the bot is mentioned, too."""
    assert read(library.read(place=THREAD, **more)).purpose == purpose


def test_a_thread_that_discord_py_does_not_know_is_a_thread(library: Library) -> None:
    message = library.read("hello", place=777)
    assert isinstance(message.channel, discord.PartialMessageable)
    assert read(message).thread == ThreadId("discord", str(GUILD), "777")
    assert read(library.read("hello", place=777, guild_id="12")).thread.space == "12"


def test_in_a_place_that_is_not_known_words_decide_only_in_a_reply_to_the_request(library: Library) -> None:
    """Fault: it may be a channel of a new type, with the request far above."""
    assert read(library.read("approve 7f3a9c21", place=THREAD)).seen_request is None
    assert read(library.read("approve 7f3a9c21", place=777)).seen_request == ""


def test_a_direct_message_is_addressed(library: Library) -> None:
    message = read(library.read("hello", place=DM))
    assert message.thread == ThreadId("discord", "dm", str(DM))
    assert message.addressed
    assert message.direct
    assert message.place["kind"] == "dm"


@pytest.mark.parametrize(
    "ignored",
    [
        {"content": "hello all"},
        {"content": "@everyone hello", "mention_everyone": True},
        {"content": f"<@{BOB}> hello", "mentions": [BOB]},
        {"content": f"<@{ME}>", "mentions": [ME], "author": user(ME, "agent", bot=True)},
        {"content": "hello", "place": DM, "author": user(77, "another", bot=True)},
        {"content": f"<@{ME}>", "mentions": [ME], "webhook_id": "88"},
        {"content": "hello", "place": THREAD, "type": 21},
        {"content": "pinned", "place": DM, "type": 6},
        {"place": THREAD},
    ],
    ids=[
        "talk among others",
        "everyone",
        "another person",
        "the bot itself",
        "another bot",
        "a webhook",
        "a thread's first message",
        "a system message",
        "nothing to read",
    ],
)
def test_what_does_not_concern_the_bot_is_nothing(library: Library, ignored: dict[str, Any]) -> None:
    assert parse_message(library.read(**ignored), ME) is None


def test_all_spellings_of_the_bots_mention_go(library: Library) -> None:
    spellings = f"hey <@{ME}> and <@!{ME}>"
    assert read(library.read(spellings, mentions=[ME])).text == "hey  and"


def test_the_bots_own_role_is_as_good_as_its_name(library: Library) -> None:
    message = read(library.read(f"<@&{MY_ROLE}> hello", mention_roles=[str(MY_ROLE)]))
    assert message.addressed
    assert message.text == "hello"


def test_other_mentions_become_readable(library: Library) -> None:
    text = f"<@{ME}> ask <@{BOB}> of <@&{ROLE}> in <#{GENERAL}>, not <@12345>"
    message = library.read(text, mentions=[ME, BOB], mention_roles=[str(ROLE)])
    assert read(message).text == "ask @Bob of @support in #general, not <@12345>"


def answer_of(author: int, question: int | None) -> dict[str, Any]:
    """A reply to a message by `author`, which itself replied to `question`."""
    answer: dict[str, Any] = {
        "id": "1234",
        "channel_id": str(GENERAL),
        "author": user(author, "somebody"),
        "content": "42",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "type": 19,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
    }
    if question:
        answer["message_reference"] = {"message_id": str(question), "channel_id": str(GENERAL)}
    reference = {"message_id": "1234", "channel_id": str(GENERAL), "guild_id": str(GUILD)}
    return {"type": 19, "message_reference": reference, "referenced_message": answer}


def test_a_reply_to_an_answer_in_a_channel_goes_on_with_its_conversation(library: Library) -> None:
    silent = read(library.read("why?", **answer_of(ME, 555)))
    pinging = read(library.read("why?", mentions=[ME], **answer_of(ME, 555)))
    assert silent.thread == pinging.thread == ThreadId("discord", str(GUILD), "555")
    assert (silent.addressed, pinging.addressed) == (False, True)


def test_a_reply_to_something_else_begins_a_conversation_only_with_a_mention(library: Library) -> None:
    assert parse_message(library.read("why?", **answer_of(BOB, 555)), ME) is None
    assert parse_message(library.read("why?", **answer_of(ME, None)), ME) is None
    pinging = read(library.read("why?", mentions=[ME], **answer_of(ME, None)))
    assert pinging.thread.channel == str(ID)


def test_files_come_along(library: Library) -> None:
    file = {"id": "1", "filename": "a.csv", "size": 12, "url": "https://cdn/a.csv?ex=1", "proxy_url": ""}
    typed = read(library.read(place=DM, attachments=[file | {"content_type": "text/csv"}]))
    assert typed.attachments == (
        Attachment(name="a.csv", media_type="text/csv", size=12, url="https://cdn/a.csv?ex=1"),
    )
    untyped = read(library.read(place=DM, attachments=[file]))
    assert untyped.attachments[0].media_type == "application/octet-stream"


def test_stickers_are_told_and_a_forwarded_message_is_data_that_commands_nothing(library: Library) -> None:
    sticker = {"id": "5", "name": "wave", "format_type": 1}
    assert read(library.read(place=DM, sticker_items=[sticker])).text == "[sticker: wave]"
    forwarded = {"type": 0, "content": "old news", "embeds": [], "attachments": [], "mentions": []}
    forwarded |= {"timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None, "flags": 0}
    reference = {"type": 1, "message_id": "1", "channel_id": "2"}
    message = library.read(place=DM, message_reference=reference, message_snapshots=[{"message": forwarded}])
    assert read(message).text == ""
    assert read(message).quotes == (Quote(source="a message that is forwarded here", text="old news"),)
    assert Message.from_json(read(message).to_json()) == read(message)


def test_a_message_is_the_same_after_storage(library: Library) -> None:
    message = read(library.read(f"<@{ME}> hello", mentions=[ME]))
    assert Message.from_json(message.to_json()) == message


ANOTHER: dict[str, Any] = {
    "content": f"<@{ME}> hello",
    "mentions": [ME],
    "author": user(77, "another", bot=True),
}
HOOK = {"content": f"<@{ME}> hello", "mentions": [ME], "author": user(88, "hook"), "webhook_id": "88"}


@pytest.mark.parametrize(("bot", "listed"), [(ANOTHER, "discord:77"), (HOOK, "discord:88")])
def test_a_bot_that_is_listed_is_heard_under_the_rules_for_people(
    library: Library, bot: dict[str, Any], listed: str
) -> None:
    mention = parse_message(library.read(**bot), ME, {listed})
    assert mention is not None
    assert (mention.author, mention.bot_ids, mention.addressed) == (listed, (listed,), True)
    assert Message.from_json(mention.to_json()) == mention
    assert parse_message(library.read(**bot | {"content": "hello", "mentions": []}), ME, {listed}) is None
    assert parse_message(library.read(**bot), ME, {"discord:99"}) is None


def test_the_bot_never_hears_itself_whatever_is_listed(library: Library) -> None:
    own = library.read(f"<@{ME}>", mentions=[ME], author=user(ME, "agent", bot=True))
    assert parse_message(own, ME, {f"discord:{ME}"}) is None


def test_the_edits_of_a_bot_are_not_heard(library: Library) -> None:
    """An answer that grows by edits would be answered at each of them."""
    change: dict[str, Any] = ANOTHER | {"edited_timestamp": "2026-01-01T00:01:00+00:00"}
    edited = library.read(**change)
    assert parse_message(edited, ME, {"discord:77"})
    assert parse_correction(edited, ME) is None


def test_a_members_roles_come_along(library: Library) -> None:
    """The gateway tells them beside the message; where it does not there are none."""
    member = {"roles": [str(ROLE)], "joined_at": None, "deaf": False, "mute": False, "flags": 0}
    message = read(library.read(f"<@{ME}> hello", mentions=[ME], member=member))
    assert f"discord:{ROLE}" in message.roles
    assert read(library.read(f"<@{ME}> hello", mentions=[ME])).roles == ()
    assert Message.from_json(message.to_json()) == message


@pytest.mark.parametrize(
    ("guild", "owners", "space"),
    [(7, {0: 7}, "7"), (7, {1: 42}, "dm"), (7, {0: 7, 1: 42}, "7"), (None, {1: 42}, "dm")],
)
def test_a_command_of_somebody_who_installed_the_bot_for_themselves_is_in_no_server(
    guild: int | None, owners: dict[int, int], space: str
) -> None:
    """A server without the bot as a member has the rules of direct messages."""
    interaction: Any = object.__new__(discord.Interaction)
    interaction.guild_id, interaction._integration_owners = guild, owners
    assert space_of(interaction) == space
