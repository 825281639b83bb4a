"""Files of an answer on Discord: shown once, in the place of the answer, whatever happens on the way."""

import pytest
from redis.asyncio import Redis

from bot.chat import File, Text, Unreachable
from bot.storage.files import FileStore
from tests.servers.discord.service import Discord
from tests.support.discord_reply import ask_question, messages_of
from tests.support.files import PICTURE, expired_file

MESSAGES = "/channels/*/messages"


@pytest.fixture
async def picture(redis: Redis) -> File:
    return await FileStore(redis).keep("Umsätze (2026)-1a2b3c4d.png", "image/png", PICTURE, "Sales go up")


NAME = "Ums_tze_2026_-1a2b3c4d.png"


@pytest.mark.parametrize("kind", ["channel", "dm"])
async def test_a_file_is_shown_below_the_text_with_its_words(
    discord: Discord, redis: Redis, picture: File, kind: str
) -> None:
    async with ask_question(discord, redis, kind) as question:
        await question.answer(Text("Here it is. "), picture, Text("It goes up."))
        assert messages_of(discord) == [("Here it is. It goes up.", []), ("", [NAME])]
        [file] = discord.world.files.values()
        assert (file.data, file.description) == (PICTURE, "Sales go up")


async def test_an_answer_that_is_only_a_file_is_shown(discord: Discord, redis: Redis, picture: File) -> None:
    async with ask_question(discord, redis) as question:
        await question.answer(picture)
        assert messages_of(discord) == [("", [NAME])]


@pytest.mark.parametrize("nonces", ["known", "forgotten"])
@pytest.mark.parametrize("after_applying", [False, True])
async def test_a_file_is_shown_once_though_nobody_knows_what_came_of_the_request(
    discord: Discord, redis: Redis, picture: File, nonces: str, after_applying: bool
) -> None:
    """The connection is lost before or after Discord has done what we asked; the nonce holds, or no more."""
    async with ask_question(discord, redis, "dm") as question:
        discord.fail("POST", MESSAGES, times=3, drop=True, after_applying=after_applying)
        with pytest.raises(Unreachable):
            await question.answer(picture)
        if nonces == "forgotten":
            discord.forget_nonces()
        await question.answer(picture)
        await question.answer(picture)
        assert messages_of(discord) == [("", [NAME])]


async def test_a_file_of_another_conversation_is_not_taken_for_the_one_being_sent(
    discord: Discord, redis: Redis, picture: File
) -> None:
    """Fault: two people ask for the same in a channel without threads: one of them was shown nothing."""
    discord.general.denied.add("create_public_threads")
    async with ask_question(discord, redis) as question:
        await question.answer(picture)
    async with ask_question(discord, redis) as question:
        question.id = "another"
        discord.fail("POST", MESSAGES, times=3, drop=True)
        with pytest.raises(Unreachable):
            await question.answer(picture)
        await question.answer(picture)
    assert messages_of(discord) == [("", [NAME]), ("", [NAME])]


async def test_a_missing_permission_costs_a_sentence_and_not_the_answer(
    discord: Discord, redis: Redis, picture: File
) -> None:
    discord.general.denied.add("attach_files")
    async with ask_question(discord, redis) as question:
        await question.answer(Text("Here it is."), picture, Text("It goes up."))
        [(text, _)] = messages_of(discord)
        assert "I lack the permission *Attach Files* here. Please ask an administrator of the server" in text
        assert text.startswith("Here it is.")
        await question.answer(picture)
        assert len(messages_of(discord)) == 1


async def test_a_file_that_is_gone_or_too_large_costs_a_sentence_each(
    discord: Discord, redis: Redis, picture: File
) -> None:
    async with ask_question(discord, redis, "dm") as question:
        discord.fail("POST", MESSAGES, status=413, code=40005)
        await question.answer(picture, expired_file("old.png"))
        [(text, _)] = messages_of(discord)
        assert "it is larger than Discord takes here." in text
        assert "old.png: I no longer have it." in text


async def test_where_no_history_may_be_read_a_file_comes_without_a_reply(
    discord: Discord, redis: Redis, picture: File
) -> None:
    discord.general.denied.update({"read_message_history", "create_public_threads"})
    async with ask_question(discord, redis) as question:
        await question.answer(picture)
        assert messages_of(discord) == [("", [NAME])]
