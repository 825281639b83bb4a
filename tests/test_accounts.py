"""Linking accounts: a code from one side, typed on the other."""

import asyncio

import pytest
from redis.asyncio import Redis

from bot.memory import Account, AccountLinks, LinkRefused
from bot.memory.accounts import CODE_SECONDS, MOST_TRIES

ALICE, ALSO_ALICE = Account("slack", "T1", "U1"), Account("discord", "", "1")
EVE = Account("discord", "", "2")


@pytest.fixture
def people(redis: Redis) -> AccountLinks:
    """The links on an empty Redis."""
    return AccountLinks(redis)


async def test_code_links_both_ways_and_once(people: AccountLinks) -> None:
    """In any spelling; the second who types it is refused."""
    code = await people.offer(ALICE)
    assert await people.link(ALSO_ALICE, f" {code.lower().replace('-', '')} ") == ALICE
    assert await people.accounts(ALICE) == await people.accounts(ALSO_ALICE) == {ALICE, ALSO_ALICE}
    with pytest.raises(LinkRefused, match="has been used"):
        await people.link(EVE, code)
    assert await people.accounts(EVE) == {EVE}


async def test_of_many_who_type_a_code_at_once_one_is_linked(people: AccountLinks) -> None:
    """It is taken in one step."""
    code = await people.offer(ALICE)
    everyone = [Account("discord", "", str(number)) for number in range(20)]
    outcomes = await asyncio.gather(*(people.link(each, code) for each in everyone), return_exceptions=True)
    assert sum(outcome == ALICE for outcome in outcomes) == 1
    assert len(await people.accounts(ALICE)) == 2


async def test_links_are_passed_on_and_undone_one_by_one(people: AccountLinks) -> None:
    """A new link reaches all accounts of the person; an account that leaves leaves the others linked."""
    third = Account("http", "", "api")
    await people.link(ALSO_ALICE, await people.offer(ALICE))
    await people.link(third, await people.offer(ALSO_ALICE))
    assert await people.accounts(ALICE) == await people.accounts(third) == {ALICE, ALSO_ALICE, third}
    assert await people.unlink(ALSO_ALICE) == 2
    assert await people.accounts(ALICE) == {ALICE, third}
    assert await people.accounts(ALSO_ALICE) == {ALSO_ALICE}
    assert await people.unlink(ALSO_ALICE) == 0


async def test_own_code_links_nothing_and_still_works_elsewhere(people: AccountLinks) -> None:
    """Typing it on the same side is a mistake that costs nothing."""
    code = await people.offer(ALICE)
    with pytest.raises(LinkRefused, match="in your other account"):
        await people.link(ALICE, code)
    assert await people.link(ALSO_ALICE, code) == ALICE


async def test_tries_are_few_even_with_the_right_code_at_last(people: AccountLinks) -> None:
    """Guessing is hopeless: too many tries are refused until ten minutes are over."""
    for _ in range(MOST_TRIES):
        with pytest.raises(LinkRefused, match="does not exist"):
            await people.link(EVE, "AAAAA-AAAAA")
    with pytest.raises(LinkRefused, match="too many codes"):
        await people.link(EVE, await people.offer(ALICE))
    assert await people.accounts(ALICE) == {ALICE}


async def test_codes_end_by_themselves_and_with_the_next_one(people: AccountLinks, redis: Redis) -> None:
    """Redis holds no code that can be typed, and nothing of it for longer than ten minutes."""
    first = await people.offer(ALICE)
    second = await people.offer(ALICE)
    with pytest.raises(LinkRefused, match="does not exist"):
        await people.link(ALSO_ALICE, first)
    held = await redis.keys("people:*")
    for key in held:
        assert 0 < await redis.ttl(key) <= CODE_SECONDS
    assert second.replace("-", "") not in str(held)
    assert first != second


async def test_forgotten_account_leaves_nothing(people: AccountLinks, redis: Redis) -> None:
    """Its links, its code and its tries."""
    await people.link(ALSO_ALICE, await people.offer(ALICE))
    await people.offer(ALSO_ALICE)
    for each in (ALICE, ALSO_ALICE):
        await people.forget(each)
    assert await redis.keys("people:*") == []
