"""The Discord server for tests takes and refuses messages and threads as Discord does."""

import io

import discord
import pytest

from tests.servers.discord.service import Discord, File, Message
from tests.support import discord_client
from tests.support.discord_client import Bot, Json, Raw, general, hears, online
from tests.support.wait import wait_until

server = discord_client.server
bot = discord_client.bot
rest = discord_client.rest
raw = discord_client.raw


# --- messages


async def test_a_message_comes_with_mention_reference_and_file(server: Discord, bot: Bot) -> None:
    first = await server.say(
        server.alice, server.general, f"{server.mention} look", files=[File("a.txt", b"data")]
    )
    await server.say(server.bob, server.general, "indeed", reply_to=first)
    await wait_until(lambda: len(bot.seen) == 2, "both messages")
    look, reply = bot.seen
    assert bot.user in look.mentions
    assert await look.attachments[0].read() == b"data"
    assert look.attachments[0].content_type == "text/plain"
    assert isinstance(look.author, discord.Member)
    assert isinstance(reply.reference and reply.reference.resolved, discord.Message)
    assert [user.id for user in reply.mentions] == [server.alice.id]
    assert not server.violations


async def test_a_file_url_needs_its_signature_and_must_not_see_the_token(server: Discord, raw: Raw) -> None:
    message = await server.say(server.alice, server.general, "", files=[File("a.txt", b"data")])
    url = message.attachments[0].url
    async with raw.session.get(url.split("?")[0]) as reply:
        assert reply.status == 404
    async with raw.session.get(url, headers={"Authorization": f"Bot {server.token}"}) as reply:
        assert await reply.read() == b"data"
    assert ["the token was sent" in each for each in server.violations] == [True]


async def test_without_the_content_intent_only_what_concerns_the_bot_has_content(server: Discord) -> None:
    server.allow_intents()
    async with online(server, Bot(discord.Intents.default())) as bot:
        await server.say(server.alice, server.general, "overheard")
        await server.say(server.alice, server.general, f"{server.mention} addressed")
        await server.say(server.alice, server.dm(server.alice), "direct")
        await general(server, bot).send("my own")
        await wait_until(lambda: len(bot.seen) == 4, "four messages")
        assert bot.texts() == ["", f"{server.mention} addressed", "direct", "my own"]
        history = [message.content async for message in general(server, bot).history()]
        assert "overheard" not in history


async def test_only_subscribed_events_come(server: Discord) -> None:
    async with online(server, Bot(discord.Intents(guilds=True, dm_messages=True))) as bot:
        await server.say(server.alice, server.general, "guild")
        await server.say(server.alice, server.dm(server.alice), "direct")
        await wait_until(lambda: bool(bot.seen), "the direct message")
        assert bot.texts() == ["direct"]


async def test_a_channel_that_the_bot_cannot_see_is_silent(server: Discord, bot: Bot) -> None:
    server.general.denied.add("view_channel")
    await server.say(server.alice, server.general, "secret")
    server.general.denied.clear()
    await hears(server, bot, "open")
    assert bot.texts() == ["open"]


async def test_the_same_nonce_twice_is_one_message(server: Discord, bot: Bot) -> None:
    channel = general(server, bot)
    first, second = await channel.send("once", nonce="key"), await channel.send("once", nonce="key")
    assert first.id == second.id
    assert [each.content for each in server.messages(server.general)] == ["once"]
    server.forget_nonces()
    assert (await channel.send("once", nonce="key")).id != first.id
    assert not server.violations


async def test_own_posts_edits_and_deletions_come_back_as_events(server: Discord, bot: Bot) -> None:
    message = await general(server, bot).send("one ")
    await message.edit(content="one two")
    await message.delete()
    await wait_until(lambda: "MESSAGE_DELETE" in bot.happened, "three events")
    events = [name for name in bot.happened if name.startswith("MESSAGE")]
    assert events == ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
    assert not server.messages(server.general)


async def test_history_tells_what_a_person_saw_and_when(server: Discord, rest: Bot) -> None:
    message = await general(server, rest).send("one ")
    for text in ("one two", "one two three"):
        await message.edit(content=text)
    (seen,) = server.messages(server.general)
    assert [edit.content for edit in seen.history] == ["one", "one two", "one two three"]
    assert server.edit_times(server.general) == [edit.at for edit in seen.history[1:]]


async def test_pages_of_history_are_right(server: Discord, rest: Bot) -> None:
    said = [await server.say(server.alice, server.general, f"{number}") for number in range(105)]
    channel = general(server, rest)
    after = [each.content async for each in channel.history(limit=None, after=discord.Object(said[1].id))]
    assert after == [f"{number}" for number in range(2, 105)]
    before = [each.content async for each in channel.history(limit=3, before=discord.Object(said[10].id))]
    assert before == ["9", "8", "7"]
    around = [each.content async for each in channel.history(limit=3, around=discord.Object(said[5].id))]
    assert sorted(around) == ["4", "5", "6"]


async def test_allowed_mentions_decide_whom_a_text_pings(server: Discord, rest: Bot) -> None:
    question = await server.say(server.alice, server.general, "?")
    text = f"@everyone {server.bob.mention}"
    nobody = discord.AllowedMentions(everyone=False, users=False, roles=False, replied_user=True)
    partial = discord.PartialMessage(channel=general(server, rest), id=question.id)
    await partial.reply(text, allowed_mentions=nobody)
    await partial.reply(text)
    quiet, loud = server.messages(server.general)[1:]
    assert [user.name for user in quiet.mentions] == ["alice"]
    assert [user.name for user in loud.mentions] == ["bob", "alice"]


async def test_files_are_stored_and_listed(server: Discord, rest: Bot) -> None:
    sent = await general(server, rest).send("see", file=discord.File(io.BytesIO(b"\x89PNG"), "chart.png"))
    assert sent.attachments[0].content_type == "image/png"
    assert [(each.name, each.data) for each in server.messages(server.general)[0].attachments] == [
        ("chart.png", b"\x89PNG")
    ]


async def test_a_file_above_10_mib_is_refused(server: Discord, rest: Bot) -> None:
    big = discord.File(io.BytesIO(b"0" * (10 * 2**20 + 1)), "big.bin")
    with pytest.raises(discord.HTTPException) as refused:
        await general(server, rest).send(file=big)
    assert (refused.value.status, refused.value.code) == (413, 40005)
    assert len(server.violations) == 1


async def test_typing_and_reactions_are_seen(server: Discord, bot: Bot) -> None:
    server.general.granted.add("add_reactions")
    message = await server.say(server.alice, server.general, "hi")
    async with general(server, bot).typing():
        assert len(server.typing(server.general)) == 1
    await general(server, bot).get_partial_message(message.id).add_reaction("👀")
    assert list(message.reactions) == ["👀"]
    await wait_until(lambda: "MESSAGE_REACTION_ADD" in bot.happened, "the reaction comes back")
    assert not server.violations


BUTTONS = {"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "x"}]}


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"content": "x" * 2001}, 50035, "content"),
        ({"content": " \n"}, 50006, None),
        ({}, 50006, None),
        ({"content": "x", "nonce": "n" * 26}, 50035, "nonce"),
        ({"content": "x", "message_reference": {"message_id": "1"}}, 50035, "message_reference"),
        ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, 50035, "allowed_mentions"),
        (
            {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
            50035,
            "allowed_mentions",
        ),
        ({"embeds": [{"description": "x" * 4097}]}, 50035, "embeds"),
        ({"embeds": [{"description": "x" * 4000}] * 2}, 50035, "embeds"),
        ({"embeds": [{"title": "x"}] * 11}, 50035, "embeds"),
        ({"content": "x", "components": [BUTTONS] * 6}, 50035, "components"),
        ({"content": "x", "components": [BUTTONS] * 2}, 50035, "components"),
        ({"content": "x", "components": [BUTTONS], "flags": 1 << 15}, 50035, "content"),
    ],
)
async def test_a_message_that_discord_refuses_is_refused_and_recorded(
    server: Discord, raw: Raw, body: Json, code: int, where: str | None
) -> None:
    server.general.granted.add("embed_links")
    status, answer = await raw("POST", f"/channels/{server.general.id}/messages", body)
    assert (status, answer["code"]) == (400, code)
    assert list(answer.get("errors", {None: None})) == [where]
    assert len(server.violations) == 1
    assert not server.messages(server.general)


async def test_json_answers_have_exactly_the_content_type_that_discord_py_wants(
    server: Discord, raw: Raw
) -> None:
    await raw("GET", "/users/@me")
    assert raw.headers["Content-Type"] == "application/json"
    await raw("GET", "/nowhere")
    assert raw.headers["Content-Type"] == "application/json"
    assert server.violations == ["GET /nowhere: 404 0 404: Not Found"]


async def test_only_own_messages_can_be_edited(server: Discord, rest: Bot) -> None:
    message = await server.say(server.alice, server.general, "mine")
    with pytest.raises(discord.Forbidden) as refused:
        await general(server, rest).get_partial_message(message.id).edit(content="yours")
    assert refused.value.code == 50005
    assert len(server.violations) == 1


async def test_an_edit_to_nothing_or_too_much_is_refused(server: Discord, rest: Bot) -> None:
    message = await general(server, rest).send("text")
    for text, code in (("", 50006), ("x" * 2001, 50035)):
        with pytest.raises(discord.HTTPException) as refused:
            await message.edit(content=text)
        assert refused.value.code == code
    assert len(server.violations) == 2


async def test_missing_permissions_and_closed_dms_refuse_without_blame(server: Discord, rest: Bot) -> None:
    async def code_of_send(channel: int) -> int:
        with pytest.raises(discord.Forbidden) as refused:
            await rest.get_partial_messageable(channel).send("x")
        return refused.value.code

    server.general.denied = {"send_messages"}
    assert await code_of_send(server.general.id) == 50013
    server.general.denied = {"view_channel"}
    assert await code_of_send(server.general.id) == 50001
    server.alice.accepts_dms = False
    dm = await rest.create_dm(discord.Object(server.alice.id))
    assert await code_of_send(dm.id) == 50007
    assert len(server.refusals) == 3
    assert not server.violations


async def test_what_is_gone_is_unknown_without_blame(server: Discord, rest: Bot) -> None:
    message = await server.say(server.alice, server.general, "x")
    server.remove(message)
    with pytest.raises(discord.NotFound) as refused:
        await general(server, rest).fetch_message(message.id)
    assert refused.value.code == 10008
    with pytest.raises(discord.HTTPException):
        await discord.PartialMessage(channel=general(server, rest), id=message.id).reply("late")
    server.remove_channel(server.general)
    with pytest.raises(discord.NotFound) as refused:
        await general(server, rest).send("x")
    assert refused.value.code == 10003
    assert not server.violations


# --- threads


async def test_a_thread_made_from_a_message_has_its_id(server: Discord, bot: Bot) -> None:
    message = await server.say(server.alice, server.general, f"{server.mention} hi")
    await wait_until(lambda: bool(bot.seen), "the question")
    thread = await bot.seen[0].create_thread(name="topic", auto_archive_duration=60)
    await thread.send("answer")
    assert thread.id == message.id
    opened = await server.thread_of(message)
    assert [each.content for each in server.messages(opened)] == ["answer"]
    await wait_until(lambda: "answer" in bot.texts(), "the answer comes back")
    assert "THREAD_CREATE" in bot.happened
    types = [each.type for each in bot.seen[1:]]
    assert types == [discord.MessageType.thread_starter_message, discord.MessageType.default]
    assert opened.auto_archive_duration == 60
    assert [each.id for each in await bot.guilds[0].active_threads()] == [thread.id]
    assert not server.violations


async def test_a_second_thread_from_the_same_message_is_refused_without_blame(
    server: Discord, rest: Bot
) -> None:
    message = await server.say(server.alice, server.general, "hi")
    thread = server.start_thread(server.alice, message)
    with pytest.raises(discord.HTTPException) as refused:
        await rest.http.start_thread_with_message(
            server.general.id, message.id, name="again", auto_archive_duration=60
        )
    assert refused.value.code == 160004
    fetched = await rest.fetch_channel(thread.id)
    assert isinstance(fetched, discord.Thread)
    assert fetched.parent_id == server.general.id
    assert not server.violations


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "x", "auto_archive_duration": 5}]
)
async def test_a_faulty_thread_is_refused(server: Discord, raw: Raw, body: Json) -> None:
    message = await server.say(server.alice, server.general, "hi")
    path = f"/channels/{server.general.id}/messages/{message.id}/threads"
    status, answer = await raw("POST", path, body)
    assert (status, answer["code"]) == (400, 50035)
    assert message.thread is None
    assert len(server.violations) == 1


async def test_threads_may_be_forbidden_and_do_not_exist_in_dms_and_threads(
    server: Discord, raw: Raw
) -> None:
    async def code_in(message: Message) -> int:
        path = f"/channels/{message.channel.id}/messages/{message.id}/threads"
        return int((await raw("POST", path, {"name": "x"}))[1]["code"])

    question = await server.say(server.alice, server.general, "hi")
    server.general.denied.add("create_public_threads")
    assert await code_in(question) == 50013
    assert not server.violations
    assert await code_in(await server.say(server.alice, server.dm(server.alice), "hi")) == 50024
    server.general.denied.clear()
    thread = server.start_thread(server.alice, question)
    assert await code_in(await server.say(server.alice, thread, "deeper")) == 50024
    assert len(server.violations) == 2


async def test_writing_reopens_an_archived_thread_unless_it_is_locked(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, server.general)
    server.archive(thread)
    await bot.get_partial_messageable(thread.id).send("back")
    assert not thread.archived
    server.archive(thread, locked=True)
    with pytest.raises(discord.HTTPException) as refused:
        await bot.get_partial_messageable(thread.id).send("again")
    assert refused.value.code == 50083
    assert bot.happened.count("THREAD_UPDATE") == 3
    assert not server.violations


async def test_a_mention_in_a_thread_makes_the_bot_a_member(server: Discord, bot: Bot) -> None:
    thread = server.start_thread(server.alice, await server.say(server.alice, server.general, "hi"))
    assert server.bot.id not in thread.members
    await server.say(server.alice, thread, f"{server.mention} join us")
    assert server.bot.id in thread.members
    await wait_until(lambda: bot.texts()[-1:] == [f"{server.mention} join us"], "the message")
    assert isinstance(bot.seen[-1].channel, discord.Thread)
