"""Kills, faults and duplicates at random: nothing is lost, nothing is shown twice."""

import os
from pathlib import Path

import pytest

from tests.storm.trial import trial


@pytest.mark.timeout(600)
async def test_nothing_is_lost_and_nothing_is_shown_twice(tmp_path: Path) -> None:
    """Two processes in a storm of 45 seconds; the seed is printed, and CHAOS_SEED sets another."""
    seed = int(os.environ.get("CHAOS_SEED", "7"))
    problems, report = await trial(seed, 45, 2, tmp_path)
    print(report)
    assert not problems, "\n".join([report, *problems])
