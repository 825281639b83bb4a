"""Context as the agent keeps it: when a thread is read, and how often users hear that it cannot be."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from bot.chat import Context, Message, Notice, Passage, PastMessage, ReadContext, Since, Turn
from tests.servers.model import ModelServer
from tests.support.agent import a_turn, an_agent, parts_of


class Conversation:
    """A `ContextSource`; each reading has the next of the results, and the last one again."""

    def __init__(self, *results: Context) -> None:
        self.results = list(results)
        self.read_since: list[str] = []
        self.read_at: list[float] = []

    def context(self, message: Message, since: Since | None) -> ReadContext | None:
        if since is None:
            return None

        async def read(most: int) -> Context:
            self.read_since.append(since.after)
            self.read_at.append(since.at)
            return self.results.pop(0) if len(self.results) > 1 else self.results[0]

        return read


def joined(*turns: Turn) -> Turn:
    """Return one turn of the messages of several."""
    return replace(turns[0], messages=tuple(each for turn in turns for each in turn.messages))


def behind_a_gap(turn: Turn) -> Turn:
    """Return a turn whose messages come after some that the agent was not given."""
    return replace(turn, gaps={each.id: 0.0 for each in turn.messages})


async def notices(redis: Redis, model: ModelServer, source: Conversation, *turns: Turn) -> Sequence[int]:
    """Answer turns of one thread; return how many notices each has shown."""
    model.respond = lambda _: "Understood."
    async with an_agent(redis, model, contexts=source, most_context=50) as agent:
        answers = [await parts_of(agent, turn) for turn in turns]
    return [sum(isinstance(each, Notice) for each in parts) for parts in answers]


async def test_a_thread_that_the_first_message_of_a_turn_could_not_read_is_read_for_the_next_turn(
    redis: Redis, model: ModelServer
) -> None:
    """Fault: the last message of the turn, for which nothing had to be read, hid that."""
    source = Conversation(Context(problems=("I could not.",), is_unread=True), Context())
    turns = joined(a_turn("one"), a_turn("two")), a_turn("three"), a_turn("four")
    await notices(redis, model, source, *turns)
    assert source.read_since == ["", ""]


async def test_a_thread_stays_unread_when_a_later_gap_of_the_same_turn_is_read(
    redis: Redis, model: ModelServer
) -> None:
    """Fault: the reading of the later message, which begins after the unread one, hid that."""
    failed = Context(problems=("I could not.",), is_unread=True)
    source = Conversation(failed, Context())
    one, two = a_turn("one"), a_turn("two")
    turn = replace(joined(one, two), gaps=behind_a_gap(two).gaps)
    await notices(redis, model, source, turn, a_turn("three"), a_turn("four"))
    assert source.read_since == ["", one.id, ""]


async def test_after_a_gap_that_could_not_be_read_only_what_came_after_the_last_reading_is_read(
    redis: Redis, model: ModelServer
) -> None:
    """Fault: everything was given again."""
    failed = Context(problems=("I could not.",), is_unread=True)
    source = Conversation(Context(), failed, failed, Context())
    one, two, three, four, five = (a_turn(each) for each in ("one", "two", "three", "four", "five"))
    await notices(redis, model, source, one, two, behind_a_gap(three), four, five)
    assert source.read_since == ["", one.id, one.id, one.id]


async def test_a_gap_that_could_not_be_read_is_read_with_what_came_before_it_at_the_next_turn(
    redis: Redis, model: ModelServer
) -> None:
    """The bot may not know of all that came between the last reading and the gap."""
    failed = Context(problems=("I could not.",), is_unread=True)
    source = Conversation(Context(), failed, failed, Context())
    one, two, three, four = (a_turn(each) for each in ("one", "two", "three", "four"))
    gap = replace(two, gaps={each.id: 7.0 for each in two.messages})
    more = replace(three, gaps={each.id: 5.0 for each in three.messages})
    await notices(redis, model, source, one, gap, more, four, a_turn("five"))
    assert source.read_since == ["", one.id, one.id, one.id]
    assert source.read_at == [0, 0, 0, 0]


async def test_of_a_late_gap_no_message_is_given_again_that_a_summary_stands_for(
    redis: Redis, model: ModelServer
) -> None:
    """The message that was read last is in the summary, too: the reading begins at the gap."""

    def past(id: str, text: str) -> PastMessage:
        return PastMessage(id=id, author="bob", text=text, sent_at=7.0)

    turns = [a_turn(f"message {number}.") for number in range(24)]
    read = (past("late", "I was late."), *(past(each.id, each.messages[0].text) for each in turns))
    source = Conversation(Context(), Context(passages=(Passage(source="this thread", messages=read),)))
    gap = a_turn("and now?")
    gap = replace(gap, gaps={each.id: 7.0 for each in gap.messages})
    await notices(redis, model, source, *turns, gap)
    assert source.read_at == [0, 7]
    assert source.read_since[1] > turns[0].id
    given = "\n".join(each["content"] for each in model.requests[-1]["messages"] if each["role"] == "user")
    assert "bob: I was late." in given
    assert "bob: message" not in given


@pytest.mark.parametrize(("refusal", "expected"), [("I could not.", [1, 0, 0]), ("", [1, 1, 1])])
async def test_a_refusal_that_lasts_is_said_once_and_any_other_problem_each_time(
    redis: Redis, model: ModelServer, refusal: str, expected: Sequence[int]
) -> None:
    """A user who is told to ask again in a minute hears whether that has helped."""
    source = Conversation(Context(problems=("I could not.",), refusal=refusal, is_unread=True))
    turns = a_turn("one"), a_turn("two"), a_turn("three")
    assert await notices(redis, model, source, *turns) == expected
    assert source.read_since == ["", "", ""]


async def test_a_refusal_stays_said_when_the_message_that_met_it_first_is_summarised(
    redis: Redis, model: ModelServer
) -> None:
    source = Conversation(Context(problems=("I could not.",), refusal="I could not.", is_unread=True))
    turns = [a_turn(f"message {number}") for number in range(24)]
    assert sum(await notices(redis, model, source, *turns)) == 1
    asked = [str(each["messages"][0]["content"]) for each in model.requests]
    assert any("Summarise the conversation" in each for each in asked)


async def test_a_turn_that_ends_before_the_agent_begins_leaves_its_thread_unread(
    redis: Redis, model: ModelServer
) -> None:
    source = Conversation(Context())
    model.respond = lambda _: "Understood."
    async with an_agent(redis, model, contexts=source, most_context=50) as agent:
        await agent.conclude(a_turn("one"), "Stopped.")
        await parts_of(agent, a_turn("two"))
        await parts_of(agent, a_turn("three"))
    assert source.read_since == [""]


async def test_a_turn_that_is_stopped_after_its_thread_was_read_leaves_it_known(
    redis: Redis, model: ModelServer
) -> None:
    source = Conversation(Context())
    model.respond = lambda _: "Understood."
    async with an_agent(redis, model, contexts=source, most_context=50) as agent:
        for text in ("one", "two"):  # its end is stored after the answer: the thinking was over, too
            await parts_of(agent, a_turn(text))
            await agent.conclude(a_turn(text), "Stopped.")
    assert source.read_since == [""]


async def test_a_replayed_message_reads_what_was_written_after_the_last_one_that_the_agent_knows(
    redis: Redis, model: ModelServer
) -> None:
    """Fault: a dead letter that the agent was never given read nothing, though it had come behind a gap."""
    source = Conversation(Context())
    dead = a_turn("two")
    replayed = replace(dead.messages[0], replays=1)
    again = replace(dead, messages=(replayed,), gaps={replayed.id: 0.0})
    await notices(redis, model, source, a_turn("one"), again, a_turn("three"))
    assert source.read_since == ["", a_turn("one").id]
