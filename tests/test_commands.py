"""What slash commands answer, the same on every platform."""

from collections.abc import Sequence
from typing import get_args, get_type_hints

import pytest

from bot.chat import Health
from bot.commands import MARKS, Commands, describe


def test_every_state_has_a_mark_of_its_own() -> None:
    """A new state cannot be forgotten here."""
    assert set(get_args(get_type_hints(Health)["state"])) == MARKS.keys()
    assert len(set(MARKS.values())) == len(MARKS)


async def test_health_is_a_line_a_part_with_its_evidence() -> None:
    """State first, then what it was concluded from, in words."""

    async def examine() -> Sequence[Health]:
        return [
            Health(name="redis", state="ok", evidence={"ping_ms": 0.4, "maxmemory_policy": "noeviction"}),
            Health(name="slack", state="down", evidence={"error": "no answer"}),
            Health(name="discord", state="off"),
        ]

    assert (await Commands(examine).health()).splitlines() == [
        "- 🟢 **redis** ok: ping ms 0.4, maxmemory policy noeviction",
        "- 🔴 **slack** down: error no answer",
        "- ⚪ **discord** off",
    ]


@pytest.mark.parametrize("text", ["refused\nDETAIL: role is missing\nHINT: create it", "a\r\nb", "a\u2028b"])
def test_evidence_of_several_lines_stays_in_its_line(text: str) -> None:
    """Postgres puts details and hints of an error on lines of their own."""
    assert len(describe([Health(name="postgres", state="down", evidence={"error": text})]).splitlines()) == 1
