"""Files of an answer on Discord: shown once, in the place of the answer, whatever happens on the way."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from bot.chat import File, Health, Stop, Text, ThreadId, Unreachable
from bot.commands import Commands
from bot.discord import connect, sender
from bot.files import FileStore
from bot.shared import SharedState
from tests.a_file import PICTURE, Asked, gone
from tests.servers.discord import Discord

MESSAGES = "/channels/*/messages"


async def no_health() -> list[Health]:
    return []


async def nothing_to_stop(stop: Stop) -> int:
    return 0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "REPEAT_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def asked(discord: Discord, redis: Redis, kind: str = "channel") -> AsyncIterator[Asked]:
    """Somebody has asked in a channel, or in a direct message; nobody listens."""
    channel = discord.world.dm(discord.alice) if kind == "dm" else discord.general
    message = await discord.say(discord.alice, channel, "draw it")
    guild = "dm" if kind == "dm" else str(discord.guild.id)
    place = {
        "guild": guild,
        "channel": str(channel.id),
        "parent": "",
        "message": str(message.id),
        "kind": kind,
        "author": str(discord.alice.id),
    }
    thread = ThreadId("discord", guild, str(channel.id if kind == "dm" else message.id))
    async with connect(
        token=discord.token,
        api_url=discord.url,
        commands=Commands(no_health, nothing_to_stop),
        shared=SharedState(redis, "one"),
        files=FileStore(redis),
        catch_up_hours=24,
        shards=None,
    ) as platform:
        yield Asked(platform, thread, place)


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("Umsätze (2026)-1a2b3c4d.png", "image/png", PICTURE, "Sales go up")


NAME = "Ums_tze_2026_-1a2b3c4d.png"


def shown(discord: Discord) -> list[tuple[str, list[str]]]:
    """What the bot shows: texts, and names of files."""
    everything = [each for channel in discord.world.channels.values() for each in discord.messages(channel)]
    own = [each for each in everything if each.author is discord.bot]
    return [(each.content, [file.name for file in each.attachments]) for each in own]


@pytest.mark.parametrize("kind", ["channel", "dm"])
async def test_a_file_is_shown_below_the_text_with_its_words(
    discord: Discord, redis: Redis, picture: File, kind: str
) -> None:
    async with asked(discord, redis, kind) as question:
        await question.answer(Text("Here it is. "), picture, Text("It goes up."))
        assert shown(discord) == [("Here it is. It goes up.", []), ("", [NAME])]
        [file] = discord.world.files.values()
        assert (file.data, file.description) == (PICTURE, "Sales go up")


async def test_an_answer_that_is_only_a_file_is_shown(discord: Discord, redis: Redis, picture: File) -> None:
    async with asked(discord, redis) as question:
        await question.answer(picture)
        assert shown(discord) == [("", [NAME])]


@pytest.mark.parametrize("nonces", ["known", "forgotten"])
@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_file_is_shown_once_though_nobody_knows_what_came_of_the_request(
    discord: Discord, redis: Redis, picture: File, nonces: str, after_applying: bool
) -> None:
    """The connection is lost before or after Discord has done what we asked; the nonce holds, or no more."""
    async with asked(discord, redis, "dm") as question:
        discord.fail("POST", MESSAGES, times=3, drop=True, after_applying=after_applying)
        with pytest.raises(Unreachable):
            await question.answer(picture)
        if nonces == "forgotten":
            discord.forget_nonces()
        await question.answer(picture)
        await question.answer(picture)
        assert shown(discord) == [("", [NAME])]


async def test_a_missing_permission_costs_a_sentence_and_not_the_answer(
    discord: Discord, redis: Redis, picture: File
) -> None:
    discord.general.denied.add("attach_files")
    async with asked(discord, redis) as question:
        await question.answer(Text("Here it is."), picture, Text("It goes up."))
        [(text, _)] = shown(discord)
        assert "I lack the permission Attach Files: please ask an admin of the server." in text
        assert text.startswith("Here it is.")
        await question.answer(picture)
        assert len(shown(discord)) == 1


async def test_a_file_that_is_gone_or_too_large_costs_a_sentence_each(
    discord: Discord, redis: Redis, picture: File
) -> None:
    async with asked(discord, redis, "dm") as question:
        discord.fail("POST", MESSAGES, status=413, code=40005)
        await question.answer(picture, gone("old.png"))
        [(text, _)] = shown(discord)
        assert "It may be too large for this server" in text
        assert "old.png: I no longer have it." in text


async def test_where_no_history_may_be_read_a_file_comes_without_a_reply(
    discord: Discord, redis: Redis, picture: File
) -> None:
    discord.general.denied.update({"read_message_history", "create_public_threads"})
    async with asked(discord, redis) as question:
        await question.answer(picture)
        assert shown(discord) == [("", [NAME])]
