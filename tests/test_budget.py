"""Budgets in a real Redis, and around the calls of a real ChatOpenAI against a scripted model."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from bot.access.budget import Budget, until_midnight
from bot.access.spending import (
    KEPT_DAYS,
    Cap,
    SpendingStore,
    Usage,
)
from bot.access.texts import duration
from bot.agent.models.metering import OUTPUT_ESTIMATE
from bot.chat import BudgetExceeded, Notice, Part, StorageDown, Text, Tokens, Turn
from bot.config.amounts import (
    Amount,
    amount,
    money,
    prices,
)
from tests.servers.model import ModelServer, Script
from tests.support.agent import a_turn, an_agent, parts_of
from tests.support.bot import ROOT
from tests.support.spending import (
    DAY,
    LIMIT,
    NOON,
    PROCESSES,
    TAKES,
    a_budget,
    turn_of,
)


async def call(
    budget: Budget, turn: Turn, tokens: int | None, *, estimate: int = 100, model: str = "m"
) -> tuple[str, ...]:
    """A call that takes `tokens` tokens; what the person is told of it."""
    async with budget.measure(turn, model, Tokens(estimate)) as spending:
        spending.tokens = None if tokens is None else Tokens(tokens)
    return spending.warnings


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [("200000 tokens", 200_000, "tokens"), (" 2.50  EUR ", 2_500_000, "EUR"), ("0.000001 USD", 1, "USD")],
)
def test_an_amount_is_tokens_or_money(text: str, number: int, unit: str) -> None:
    parsed = amount(text)
    assert (parsed.units, parsed.unit) == (number, unit)


@given(st.integers(0, 10**7), st.integers(0, 10**6))
def test_a_price_is_never_rounded_down(read: int, written: int) -> None:
    """So that many small calls do not slip under a budget."""
    price = prices('{"m": [0.15, 0.6]}')["m"]
    exact = read * 15 + written * 60  # in hundredths of a millionth
    assert 100 * price.of(read, written) - 100 < exact <= 100 * price.of(read, written)


@pytest.mark.parametrize(
    ("micros", "shown"), [(0, "0.00 USD"), (1_234_500_000, "1,234.50 USD"), (12_300, "0.0123 USD")]
)
def test_money_is_shown_with_the_digits_that_matter(micros: int, shown: str) -> None:
    assert money(micros, "USD") == shown
    assert str(Amount(amount("2.5 USD").number, "USD")) == "2.50 USD"


@pytest.mark.parametrize(
    ("clock", "wait"),
    [((12, 30), "11 h 30 min"), ((23, 30), "30 min"), ((23, 59), "1 min"), ((0, 0), "24 h 0 min")],
)
def test_the_wait_until_the_reset_is_told_in_words(clock: tuple[int, int], wait: str) -> None:
    assert duration(until_midnight(datetime(2026, 3, 4, *clock, tzinfo=UTC))) == wait


@pytest.mark.parametrize(
    ("limit", "turn", "whose"),
    [
        ("user", turn_of("U1", channel="C9", space="T9"), "Your budget"),
        ("channel", turn_of("U9"), "This channel's budget"),
        ("space", turn_of("U9", channel="C9"), "The budget of this workspace or server"),
        ("total", turn_of("U9", channel="C9", space="T9"), "The bot's total budget"),
    ],
)
async def test_each_budget_holds_back_those_whom_it_is_for(
    redis: Redis, limit: str, turn: Turn, whose: str
) -> None:
    """The sentence names the budget, the amount spent, the time of the reset, and whom to ask."""
    limits: Any = {limit: "1000 tokens"}
    budget = a_budget(redis, **limits)
    await call(budget, turn_of("U1"), 1200)
    with pytest.raises(BudgetExceeded) as refused:
        await call(budget, turn, 1)
    assert str(refused.value) == (
        f"{whose} for today is used up: 1,200 tokens of 1,000 tokens. It resets at 00:00 UTC, in "
        f"11 h 30 min. If you need more, ask the bot's operator to raise BUDGET_{limit.upper()}."
    )
    if limit != "total":
        await call(budget, turn_of("U8", channel="C8", space="T8"), 1)


async def test_what_is_left_may_be_used_to_the_end(redis: Redis) -> None:
    """A call is not refused because it may take more than is left: the last one may go beyond."""
    budget = a_budget(redis, user="1000 tokens")
    await call(budget, turn_of("U1"), 999, estimate=5000)
    await call(budget, turn_of("U1"), 10, estimate=5000)
    with pytest.raises(BudgetExceeded):
        await call(budget, turn_of("U1"), 1)


async def test_a_budget_in_money_counts_the_price_of_the_model(redis: Redis) -> None:
    """A thousand tokens read at 2.50 a million cost 0.0025."""
    budget = a_budget(redis, user="0.005 USD", prices=prices('{"m": [2.5, 10], "free": [0, 0]}'))
    await call(budget, turn_of("U1"), 10_000, model="free")
    await call(budget, turn_of("U1"), 1_000)
    await call(budget, turn_of("U1"), 1_000)
    with pytest.raises(BudgetExceeded, match=r"0.0050 USD of 0.0050 USD"):
        await call(budget, turn_of("U1"), 1)


async def test_a_turn_of_several_people_counts_for_each_and_once_for_the_place(redis: Redis) -> None:
    """And one of them whose budget is used up is not carried along by the others."""
    budget, ledger = a_budget(redis, user="100 tokens"), SpendingStore(redis, 60)
    await call(budget, turn_of("U1", "U2"), 60)
    assert (await ledger.usage_of(DAY, "user slack:U2")).input == 60
    assert (await ledger.usage_of(DAY, "total")).input == 60
    await call(budget, turn_of("U1"), 60)
    with pytest.raises(BudgetExceeded):
        await call(budget, turn_of("U2", "U1"), 1)


async def test_a_warning_comes_once_when_four_fifths_are_spent(redis: Redis) -> None:
    """In the answer that gets there, and in no later one of the day."""
    budget = a_budget(redis, user="1000 tokens", channel="5000 tokens")
    told = [await call(budget, turn_of("U1"), 400) for _ in range(3)]
    assert [len(each) for each in told] == [0, 1, 0]
    assert told[1][0].startswith("_Your budget for today is 80 % used: 800 tokens of 1,000 tokens.")
    assert "00:00 UTC, in 11 h 30 min" in told[1][0]


async def test_a_new_day_begins_at_midnight_utc(redis: Redis) -> None:
    """A call that began before it counts for the day that it began on."""
    times = iter([NOON, NOON, NOON + timedelta(days=1)] * 9)
    budget = a_budget(redis, user="100 tokens", clock=lambda: next(times))
    await call(budget, turn_of("U1"), 200)
    await call(a_budget(redis, user="100 tokens", clock=lambda: NOON + timedelta(days=1)), turn_of("U1"), 50)
    ledger = SpendingStore(redis, 60)
    assert (await ledger.usage_of(DAY, "user slack:U1")).input == 200
    assert (await ledger.usage_of("2026-03-05", "user slack:U1")).input == 50


async def test_a_call_of_which_nothing_came_costs_nothing(redis: Redis) -> None:
    """Tokens that were held for it are given back."""
    budget = a_budget(redis, user="1000 tokens")
    for _ in range(5):
        assert await call(budget, turn_of("U1"), None, estimate=900) == ()
    with suppress(ZeroDivisionError):
        async with budget.measure(turn_of("U1"), "m", Tokens(900)):
            raise ZeroDivisionError
    assert await SpendingStore(redis, 60).usage_of(DAY, "user slack:U1") == Usage()
    await call(budget, turn_of("U1"), 1)


async def test_calls_under_way_hold_what_they_may_take(redis: Redis) -> None:
    """Else all that begin at once would be let through; the sentence says what the rest is doing."""
    budget = a_budget(redis, user="1000 tokens")
    async with budget.measure(turn_of("U1"), "m", Tokens(1000)):
        with pytest.raises(
            BudgetExceeded, match="0 tokens of 1,000 tokens, and the rest is reserved for running"
        ):
            await call(budget, turn_of("U1"), 1)
    await call(budget, turn_of("U1"), 1)


async def test_what_a_dead_process_held_is_given_back_in_time(redis: Redis) -> None:
    """It cannot do that itself."""
    cap = Cap("user slack:U1", "tokens", 1000)
    hold = await SpendingStore(redis, hold_seconds=60).hold(DAY, [cap], tokens=1000, cost=0)
    assert isinstance(hold, str)
    living = a_budget(redis, user="1000 tokens")

    async def is_let_through() -> bool:
        with suppress(BudgetExceeded):
            await call(living, turn_of("U1"), 1)
            return True
        return False

    assert not await is_let_through()
    await redis.zincrby(f"{{bot}}:holds:{DAY}", -60, hold)  # it is that much older
    assert await is_let_through()


async def test_records_are_kept_for_weeks_and_not_for_ever(redis: Redis) -> None:
    await call(a_budget(redis, user="1000 tokens"), turn_of("U1"), 1)
    async with a_budget(redis, user="1000 tokens").measure(turn_of("U1"), "m", Tokens(10)):
        lives = [await redis.ttl(key) for key in await redis.keys("*")]
    assert len(lives) == 3
    assert all((KEPT_DAYS - 1) * 86400 < each <= KEPT_DAYS * 86400 for each in lives)


async def test_without_a_budget_nothing_is_asked_before_a_call(redis: Redis) -> None:
    """But what it takes is counted, for /agent-usage."""
    await redis.config_resetstat()
    await call(a_budget(redis), turn_of("U1"), 5)
    counted: Any = await redis.info("commandstats")
    assert counted["cmdstat_evalsha"]["calls"] <= 2, "one script, and its loading"
    assert (await SpendingStore(redis, 60).usage_of(DAY, "model m")).calls == 1


async def test_without_redis_no_model_is_called(caplog: pytest.LogCaptureFixture) -> None:
    """The turn is tried again; but an answer that is there already is not lost for the counting."""
    broken = Redis(port=1, retry=Retry(NoBackoff(), 0))
    with pytest.raises(StorageDown):
        await call(a_budget(broken, user="1 tokens"), turn_of("U1"), 1)
    assert await call(a_budget(broken), turn_of("U1"), 1) == ()
    assert "spending not counted" in caplog.text
    await broken.aclose()


async def test_two_processes_at_once_spend_no_more_than_there_is(redis: Redis, redis_url: str) -> None:
    """Of 80 calls of 100 tokens that begin at once, a budget of 2,000 tokens lets 20 through."""
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.spending", redis_url, cwd=ROOT, stdout=PIPE
        )
        for _ in range(PROCESSES)
    ]
    passed = [int((await child.communicate())[0]) for child in children]
    spent = await SpendingStore(redis, 60).usage_of(DAY, "total")
    assert spent == Usage(input=LIMIT, calls=LIMIT // TAKES)
    assert sum(passed) == LIMIT // TAKES


# --- around the calls of the agent


async def test_the_service_says_what_a_call_took(redis: Redis, model: ModelServer) -> None:
    """It is asked for it with each request, and what it says is counted, tools' rounds included."""
    model.script(
        Script(tool_calls=[("sql_query", {"query": "select 1"})], usage=(700, 30)),
        Script(text="Done.", usage=(900, 20)),
    )
    async with an_agent(redis, model, meter=a_budget(redis)) as agent:
        await parts_of(agent, a_turn("count"))
    assert all(each["stream_options"] == {"include_usage": True} for each in model.requests)
    ledger = SpendingStore(redis, 60)
    for account in ("user test:ada", "channel test:space", "space test:space", "total", "model main-model"):
        assert await ledger.usage_of(DAY, account) == Usage(input=1600, output=50, calls=2)


@pytest.mark.parametrize("usage", ["ignored", "refused"])
async def test_what_a_service_does_not_tell_is_estimated(
    redis: Redis, model: ModelServer, usage: Any
) -> None:
    """One that refuses the question is asked without it, from then on at once."""
    model.usage = usage
    async with an_agent(redis, model, meter=a_budget(redis)) as agent:
        for text in ("one", "two"):
            assert [each for each in await parts_of(agent, a_turn(text)) if isinstance(each, Text)]
    spent = await SpendingStore(redis, 60).usage_of(DAY, "total")
    assert spent.calls == 2
    assert 300 < spent.input < 3000
    assert 0 < spent.output < 100
    assert len(model.requests) == (3 if usage == "refused" else 2)


async def test_a_budget_that_is_used_up_between_the_rounds_ends_the_turn(
    redis: Redis, model: ModelServer
) -> None:
    """No further call is made; the person learns why, and the warning has come before."""
    model.script(Script(tool_calls=[("sql_query", {"query": "select 1"})], usage=(900, 200)))
    async with an_agent(redis, model, meter=a_budget(redis, user="1000 tokens")) as agent:
        shown: list[Part] = []

        async def show() -> None:
            async for part in agent.answer(a_turn("count")):
                shown.append(part)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(BudgetExceeded, match="Your budget for today is used up: 1,100 tokens of 1,000"):
            await show()
    (warning,) = [each.text for each in shown if isinstance(each, Notice)]
    assert warning.startswith("_Your budget for today is 110 % used")
    assert len(model.requests) == 1


async def test_a_summary_is_not_made_on_a_budget_that_is_used_up(redis: Redis, model: ModelServer) -> None:
    """And nothing is forgotten for want of it."""
    async with an_agent(redis, model, history_tokens=500) as agent:
        for number in range(8):
            await parts_of(agent, a_turn(f"{number} " + "long " * 60))
    asked = len(model.requests)
    spent = a_budget(redis, user="1 tokens")
    turn = a_turn("more " * 300)
    await call(spent, turn, 10)
    async with an_agent(redis, model, history_tokens=500, meter=spent) as agent:
        with pytest.raises(BudgetExceeded):
            await parts_of(agent, turn)
    assert len(model.requests) == asked


async def test_an_answer_that_breaks_off_costs_what_came_of_it(redis: Redis, model: ModelServer) -> None:
    """The repetition is a call of its own; one that was refused costs nothing."""
    model.script(
        Script(text="So far so", fault="truncate", break_after=3),
        Script(text="Whole.", usage=(500, 5)),
    )
    async with an_agent(redis, model, meter=a_budget(redis)) as agent:
        await parts_of(agent, a_turn("hi"))
    spent = await SpendingStore(redis, 60).usage_of(DAY, "total")
    assert spent.calls == 2
    assert 500 < spent.input < 500 + OUTPUT_ESTIMATE * 3
    model.script(Script(status=401))
    async with an_agent(redis, model, meter=a_budget(redis)) as agent:
        with pytest.raises(Exception, match="OPENAI_API_KEY"):
            await parts_of(agent, a_turn("again"))
    assert (await SpendingStore(redis, 60).usage_of(DAY, "total")).calls == 2


async def test_usage_is_read_with_one_command_and_written_with_one(redis: Redis) -> None:
    """However many accounts there are; budgets take ten commands more, for the hold."""
    limits: Any = dict.fromkeys(("user", "channel", "space", "total"), "9000 tokens")
    for budget, most in ((a_budget(redis), 2), (a_budget(redis, **limits), 12)):
        await call(budget, turn_of("U1", "U2"), 5)
        await redis.config_resetstat()
        await call(budget, turn_of("U1", "U2"), 5)
        counted: Any = await redis.info("commandstats")
        others = ("evalsha", "config|resetstat", "info")
        ran = {name.removeprefix("cmdstat_"): each["calls"] for name, each in counted.items()}
        own = {name: count for name, count in ran.items() if name not in others}
        assert sum(own.values()) <= most, own


async def test_a_call_takes_one_round_trip_before_it_and_one_after(redis: Redis) -> None:
    """However many budgets there are."""
    limits: Any = dict.fromkeys(("user", "channel", "space", "total"), "9000 tokens")
    budget = a_budget(redis, **limits)
    await call(budget, turn_of("U1", "U2"), 5)  # loads the scripts
    await redis.config_resetstat()
    await call(budget, turn_of("U1", "U2"), 5)
    counted: Any = await redis.info("commandstats")
    assert counted["cmdstat_evalsha"]["calls"] == 2
