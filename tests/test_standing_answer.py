"""Answer that stands: another one is ordered in its place only; the other buttons refuse in private."""

from typing import Any

import pytest
from redis.asyncio import Redis

from bot.commands import answer_texts
from bot.inbox import keys
from tests.servers.model import ModelServer, Script
from tests.support.answers import DiscordPlace, Place, SlackPlace, answered, turns_ended
from tests.support.bot import run_bot
from tests.support.questions import DiscordRoom, Room, SlackRoom, asked, asking
from tests.support.settings import of_model
from tests.support.wait import wait_until


@pytest.fixture(params=["slack", "discord"])
def place(request: pytest.FixtureRequest) -> Place:
    """A thread on either platform."""
    if request.param == "slack":
        return SlackPlace(request.getfixturevalue("slack"))
    return DiscordPlace(request.getfixturevalue("discord"))


async def test_a_failed_order_replaces_no_answer_that_came_after_it(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Fault: its button worked once more, and took back the answer of the next order."""
    model.script("First.", Script(status=400), "Second.", "Third.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        for number, text in ((2, "refused"), (3, "Second.")):
            await place.press("alice", "regenerate", 0)
            await answered(place, text, number)
        for number in (0, 1):
            assert await place.press("alice", "regenerate", number) == answer_texts.ALREADY
        assert await place.press("alice", "regenerate") == answer_texts.REGENERATING
        await answered(place, "Third.", 4)
        for number in (0, 1, 2):
            assert await place.press("alice", "regenerate", number) == answer_texts.ALREADY
    assert len(model.requests) == 4


async def test_a_failed_order_is_repeated_by_its_own_button(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """As often as it fails; then the button is used up, and so is that of the answer that it has replaced."""
    model.script("First.", Script(status=400), Script(status=400), "Second.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        for number, text in ((2, "refused"), (3, "refused"), (4, "Second.")):
            assert await place.press("alice", "regenerate") == answer_texts.REGENERATING
            await answered(place, text, number)
        for number in (0, 1, 2):
            assert await place.press("alice", "regenerate", number) == answer_texts.ALREADY
    assert "refused" not in str(model.requests[-1]["messages"])
    assert len(model.requests) == 4


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_an_answer_from_before_an_edit_is_refused_in_private(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis, is_forgotten: bool
) -> None:
    """Fault: it passed as the last one, and everybody read that it is not.

    Also when the inbox does not know the question any more.
    """
    model.script("First.", "Second.", "Third.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        place.edit("tell me a short story")
        await answered(place, "Second.", 2)
        if is_forgotten:
            await forget_questions(redis)
        refusal = answer_texts.NOT_KNOWN if is_forgotten else answer_texts.ONLY_LAST
        assert await place.press("bob", "regenerate", 0) == refusal
        if not is_forgotten:
            assert await place.press("bob", "regenerate", 1) == answer_texts.REGENERATING
            await answered(place, "Third.", 3)
            assert await place.press("bob", "regenerate", 0) == answer_texts.ONLY_LAST
            assert await place.press("bob", "regenerate", 1) == answer_texts.ALREADY
    assert len(place.answers()) == len(model.requests)


async def test_an_edit_in_place_of_another_answer_stands_alone(
    place: Place, storage: dict[str, Any], model: ModelServer
) -> None:
    """Neither the first answer nor the other one to the old wording is ordered again."""
    model.script("First.", "Second.", "Third.", "Fourth.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        await place.press("bob", "regenerate")
        await answered(place, "Second.", 2)
        place.edit("tell me a short story")
        await answered(place, "Third.", 3)
        assert await place.press("bob", "regenerate", 0) == answer_texts.ALREADY
        assert await place.press("bob", "regenerate", 1) == answer_texts.ONLY_LAST
        assert await place.press("bob", "regenerate", 2) == answer_texts.REGENERATING
        await answered(place, "Fourth.", 4)
    assert len(model.requests) == 4


@pytest.mark.parametrize("when", ["now", "when it is forgotten", "and then forgotten"])
async def test_the_answer_to_a_deleted_question_is_not_given_again_however_old_it_is(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis, when: str
) -> None:
    """Fault: after three days nobody knew of the deletion, and the model got the question again.

    An order needs the same entry of the inbox that remembers the deletion: it is refused without that.
    """
    model.respond = lambda _: "First."
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("tell me a story")
        await answered(place, "First.")
        if when == "when it is forgotten":
            await forget_questions(redis)
        place.remove()
        if when == "when it is forgotten":  # a deletion of an unknown message is known for ten minutes

            async def is_known() -> bool:
                return bool([key async for key in redis.scan_iter(keys.seen("*"))])

            await wait_until(is_known, "the deletion is taken")
        else:
            await wait_until(lambda: is_deleted(redis), "the deletion is taken")
        if when == "and then forgotten":
            await forget_questions(redis)
        refusal = answer_texts.NOT_KNOWN if when == "and then forgotten" else answer_texts.DELETED
        assert await place.press("bob", "regenerate") == refusal
        assert len(place.answers()) == len(model.requests) == 1


async def test_the_answer_after_a_decision_is_not_given_again_once_its_question_is_deleted(
    place: Place, storage: dict[str, Any], model: ModelServer, redis: Redis
) -> None:
    """Fault: only the decision was looked at, which nobody deletes; the model got the question again."""
    model.script(asking(), "Apples it is.", "Or pears.")
    async with run_bot(**storage, **of_model(model), **place.settings):
        await place.connect()
        await place.ask("buy fruit")
        room = room_of(place)
        await asked(room)
        await room.press("alice", 0)
        await wait_until(lambda: "Apples it is." in place.answers()[-1], "the answer")
        await turns_ended()
        assert await place.press("bob", "regenerate") == answer_texts.REGENERATING
        await wait_until(lambda: "Or pears." in place.answers()[-1], "another answer")
        await turns_ended()
        place.remove()
        await wait_until(lambda: is_deleted(redis), "the deletion is taken")
        assert await place.press("bob", "regenerate") == answer_texts.DELETED
    assert len(model.requests) == 3


def room_of(place: Place) -> Room:
    """Return the thread of a place as one in which the bot asks Alice."""
    if isinstance(place, SlackPlace):
        room = SlackRoom(place.slack)
        room.root = place.root
        return room
    assert isinstance(place, DiscordPlace)
    other = DiscordRoom(place.discord)
    other.question = place.question
    return other


async def is_deleted(redis: Redis) -> bool:
    return any([await redis.hexists(key, "withdrawn") async for key in redis.scan_iter(keys.seen("*"))])


async def forget_questions(redis: Redis) -> None:
    """Delete what the inbox drops after three days: messages that it knows, and ended turns."""
    await turns_ended()
    for pattern in (keys.seen("*"), keys.turn("*")):
        async for key in redis.scan_iter(pattern):
            await redis.delete(key)
