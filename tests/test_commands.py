"""Answers of slash commands, the same on every platform."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from bot.chat import Health, Message, Purpose, Stop, StopRefused, ThreadId
from bot.commands.commands import Commands, recognise_command
from bot.commands.health import MARKS, describe
from tests.support.commands import no_health, nothing_to_stop

THREAD = ThreadId("slack", "T1", "C1", "1.1")


def a_message(text: str) -> Message:
    return Message(
        id="1",
        thread=THREAD,
        author="slack:U1",
        text=text,
        sent_at=1,
        addressed=False,
        channel="C1",
    )


def test_every_state_has_a_mark_of_its_own() -> None:
    """A new state cannot be forgotten here."""
    assert set(get_args(get_type_hints(Health)["state"])) == MARKS.keys()
    assert len(set(MARKS.values())) == len(MARKS)


async def test_health_is_a_line_a_part_with_its_evidence() -> None:
    """State first, then what it was concluded from, in words."""

    async def check_health() -> Sequence[Health]:
        return [
            Health(name="redis", state="ok", evidence={"ping_ms": 0.4, "maxmemory_policy": "noeviction"}),
            Health(name="slack", state="down", evidence={"error": "no answer"}),
            Health(name="discord", state="off"),
        ]

    commands = Commands(check_health, nothing_to_stop, is_admin=lambda by: by == "slack:U1")
    assert (await commands.health("slack:U1")).splitlines() == [
        "- 🟢 **redis** ok: ping ms 0.4, maxmemory policy noeviction",
        "- 🔴 **slack** down: error no answer",
        "- ⚪ **discord** off",
    ]


@pytest.mark.parametrize(
    ("states", "line"),
    [
        (["ok", "off"], "🟢 Everything is working."),
        (
            ["ok", "degraded"],
            "🟡 I am working, but with limitations. Only administrators of the bot can see the details.",
        ),
        (
            ["down", "degraded"],
            "🔴 Something that I depend on is not working. "
            "Only administrators of the bot can see the details.",
        ),
    ],
)
async def test_health_without_evidence_for_who_is_no_administrator(states: list[Any], line: str) -> None:
    """Names, versions, roles and ports help whoever looks for a way in. Typed or as a slash command."""

    async def check_health() -> Sequence[Health]:
        return [Health(name="postgres", state=each, evidence={"version": "17.2"}) for each in states]

    commands = Commands(check_health, nothing_to_stop, is_admin=lambda by: by == "slack:U9")
    assert await commands.health("slack:U1") == line
    assert await commands.answer(a_message("!health")) == line


@pytest.mark.parametrize("text", ["refused\nDETAIL: role is missing\nHINT: create it", "a\r\nb", "a\u2028b"])
def test_evidence_of_several_lines_stays_in_its_line(text: str) -> None:
    """Postgres puts details and hints of an error on lines of their own."""
    assert len(describe([Health(name="postgres", state="down", evidence={"error": text})]).splitlines()) == 1


@pytest.mark.parametrize(("stopped", "words"), [(0, "nothing to stop"), (1, "Stopped."), (3, "3 answers")])
async def test_stop_says_what_came_of_it(stopped: int, words: str) -> None:
    """Nothing, one answer or several: each has its sentence."""

    async def halt(stop: Stop) -> int:
        assert stop.by == "slack:U1"
        return stopped

    assert words in await Commands(no_health, halt).stop(Stop(by="slack:U1", channel="C1"))


async def test_who_stops_what_others_asked_is_told_who_can() -> None:
    """In the answer to the command, which only they read."""

    async def halt(stop: Stop) -> int:
        raise StopRefused("Only who asked can stop it.")

    assert "Only who asked" in await Commands(no_health, halt).stop(Stop(by="slack:U1", channel="C1"))


@pytest.mark.parametrize("text", ["!stop", " !STOP\n"])
def test_stop_can_be_typed(text: str) -> None:
    """Slack has no slash commands in threads."""
    assert recognise_command(a_message(text)) == Stop(
        by="slack:U1", id=a_message(text).id, at=a_message(text).sent_at, thread=THREAD, channel="C1"
    )


@pytest.mark.parametrize("text", ["stop", "!stop it", "please !stop", ""])
def test_other_messages_are_no_stop(text: str) -> None:
    """Only the word alone is an order."""
    assert recognise_command(a_message(text)) == a_message(text)


@pytest.mark.parametrize(("text", "is_order"), [("`approve 7f3a9c21`.", True), ("approved!", False)])
async def test_a_decision_is_for_the_bot_in_threads_that_it_has_not_joined(text: str, is_order: bool) -> None:
    """Below a request in the channel for approvals nobody mentions it."""
    message = a_message(text)
    purpose: Purpose = "command" if is_order else ""
    assert recognise_command(message) == replace(message, addressed=is_order, purpose=purpose)
    answer = await Commands(no_health, nothing_to_stop).answer(message)
    assert (answer is not None) == is_order
    assert not is_order or "There is no open request `7f3a9c21`" in str(answer)


@pytest.mark.parametrize(
    ("text", "is_command"), [("!health", True), (" !Health ", True), ("!healthy", False)]
)
async def test_health_can_be_asked_for_in_a_thread(text: str, is_command: int) -> None:
    """Slack takes no slash commands there."""
    answer = await Commands(no_health, nothing_to_stop).answer(a_message(text))
    assert (answer is not None) == is_command
