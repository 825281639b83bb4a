"""Soak of `./dev soak`: its comparison, and one short run of the whole bot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contest import PAGE
from benchmarks.soak import BEGIN, END, SAMPLES, Sample, growths, soak

STEADY = [
    Sample(
        turns=each, rss=100, descriptors=40, tasks=30, redis_bytes=9 * each, redis_keys=each, lasting_keys=5
    )
    for each in range(0, 300, 10)
]


def faults(samples: list[Sample]) -> list[str]:
    """Return what grows."""
    return [each.name for each in growths(samples) if each.is_fault]


def test_what_expires_may_grow_with_the_turns_and_the_warm_up_does_not_count() -> None:
    assert faults(STEADY) == []
    assert faults([replace(each, rss=1) if each.turns < 100 else each for each in STEADY]) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("RSS (MiB)", {"rss": 110.0}),
        ("open descriptors", {"descriptors": 50}),
        ("asyncio tasks", {"tasks": 60}),
        ("Redis keys that stay", {"lasting_keys": 9}),
    ],
)
def test_growth_after_the_warm_up_is_a_fault(name: str, values: dict[str, Any]) -> None:
    assert faults([replace(each, **values) if each.turns >= 200 else each for each in STEADY]) == [name]


def test_a_turn_that_leaves_more_in_redis_than_before_is_a_fault() -> None:
    """Quadratic growth, as of a thread that is never shortened."""
    assert faults([replace(each, redis_bytes=each.turns**2) for each in STEADY]) == ["Redis bytes per turn"]


def test_the_page_has_a_place_for_the_table() -> None:
    text = PAGE.read_text()
    assert 0 < text.find(BEGIN) < text.find(END)


async def test_all_services_are_talked_to_and_each_message_is_answered(tmp_path: Path) -> None:
    """For a few seconds: no growth can be told from that."""
    samples, talk = await soak(minutes=0.1, users=1, pause=0.05, directory=tmp_path)
    assert len(samples) == SAMPLES
    assert talk.turns.keys() == {"slack", "discord", "http"}
    assert not talk.unanswered
    assert samples[-1].tasks > 5
