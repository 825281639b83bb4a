"""kill -9 at every step of a turn, one after the other, on every platform.

A step is a request that changes something outside of the bot. To die after a step, before its answer is
heard, is the same as to die before the next one: all that outlives the bot is what the servers have taken. So
the points are: before the first step, and after each.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.crash.scenes import (
    DiscordScene,
    DiscordWithoutHistory,
    HttpScene,
    Scene,
    SlackScene,
    SlackWithEdits,
    SlackWithoutStreams,
)
from tests.crash.trial import MARKS, Lane, Outcome, StepMissing, faults, held, open_lanes, trial

LANES = 4
TRIES = 3
"""How often a point is tried that a turn has passed by."""

ROUNDS = 3
"""How often all this is repeated for a point that yet another turn then takes: some steps come by chance,
such as Slack's repetition of an event."""

ENOUGH = 10
"""After so many faults the rest is not tried: one that waits in vain takes long."""

MOST_PASSED_BY = 0.1
"""The share of the recorded steps that other turns may not take; a few always may."""

FEW_PASSED_BY = 2

PASSED_BY = f"passed by {TRIES * ROUNDS} times"
AVOIDABLE = "passed by, as by another turn"

BEFORE_ALL = "before redis: PUT #1"
CERTAIN = frozenset(held(what) for what in MARKS.values())


@dataclass(frozen=True, slots=True)
class Case:
    """Steps to kill at.

    `after`: in the life that follows this kill. `since`: what comes before this step is another case's.
    `with_memory`: also at what the agent writes on its way, which it does in the same way on every platform.
    `is_refused`: the model refuses to answer, and the turn ends with a word about that.
    `makes_file`: the tool makes a file, which is part of the answer.
    """

    scene: type[Scene]
    after: str = ""
    since: str = ""
    with_memory: bool = False
    is_refused: bool = False
    makes_file: bool = False

    @property
    def first(self) -> list[str]:
        """Return the ends of the lives before."""
        return [self.after] if self.after else []

    async def trial(self, lane: Lane, ends: Sequence[str] = ()) -> Outcome:
        """One turn, with these ends of lives. Raises `StepMissing`."""
        return await trial(lane, self.scene(), ends, is_refused=self.is_refused, makes_file=self.makes_file)

    def points(self, steps: Sequence[str]) -> list[str]:
        """The points in a life of these steps."""
        chosen = steps[steps.index(self.since) :] if self.since else steps
        if not self.with_memory:
            chosen = [each for each in chosen if "memory" not in each or each in CERTAIN]
        is_whole = not (self.after or self.since)
        return [*([BEFORE_ALL] if is_whole else []), *(f"after {each}" for each in chosen)]


CASES = {
    "http": Case(HttpScene, with_memory=True),
    "http again": Case(HttpScene, after=f"after {held('result')}", with_memory=True),
    "http refused": Case(HttpScene, since="model: asked #2", with_memory=True, is_refused=True),
    "http with a file": Case(HttpScene, since="model: asked #2", makes_file=True),
    "slack with a file": Case(SlackScene, since="slack: files.getUploadURLExternal #1", makes_file=True),
    "slack with a file, posted": Case(
        SlackWithoutStreams, since="slack: chat.postMessage #1", makes_file=True
    ),
    "slack refused": Case(SlackScene, since="model: asked #2", is_refused=True),
    "slack": Case(SlackScene),
    "slack again": Case(SlackScene, after="after slack: chat.startStream #1"),
    "slack without streams": Case(SlackWithoutStreams, since="slack: chat.startStream #1"),
    "slack without streams again": Case(SlackWithoutStreams, after="after slack: chat.postMessage #1"),
    "slack with edits": Case(SlackWithEdits, since="slack: chat.postMessage #1"),
    "discord": Case(DiscordScene),
    "discord with a file": Case(
        DiscordScene, since="discord: POST /channels/{channel}/messages #2", makes_file=True
    ),
    "discord without history, with a file": Case(
        DiscordWithoutHistory, since="discord: POST /channels/{channel}/messages #2", makes_file=True
    ),
    "discord refused": Case(DiscordScene, since="model: asked #2", is_refused=True),
    "discord again": Case(DiscordScene, after="after discord: POST /channels/{channel}/messages #1"),
    "discord without history": Case(
        DiscordWithoutHistory, since="discord: POST /channels/{channel}/messages #1"
    ),
}


@pytest_asyncio.fixture(scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> AsyncIterator[list[Lane]]:
    """Places for trials at the same time: half of a trial is waiting."""
    async with open_lanes(LANES, tmp_path_factory, database_url) as lanes:
        yield lanes


@pytest.fixture(scope="module")
def undisturbed_turns() -> dict[tuple[type[Scene], bool, bool], Outcome]:
    """The turns without a kill, each played once."""
    return {}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_turn_survives_a_kill_at_every_step(
    case: Case, lanes: list[Lane], undisturbed_turns: dict[tuple[type[Scene], bool, bool], Outcome]
) -> None:
    """Answered once and in its place, nothing left half done, nothing made again that was kept."""
    kind = case.scene, case.is_refused, case.makes_file
    if kind not in undisturbed_turns:
        undisturbed_turns[kind] = await case.trial(lanes[0])
    undisturbed = undisturbed_turns[kind]
    assert not undisturbed.problems
    recorded = await case.trial(lanes[0], case.first) if case.first else undisturbed
    assert not faults(recorded, undisturbed)
    ends = [[*case.first, point] for point in case.points(recorded.lives[len(case.first)])]
    print(f"{len(ends)} points")
    problems = await _problems(case, lanes, ends, undisturbed)
    assert not problems, "\n".join(problems)


async def _problems(
    case: Case, lanes: Sequence[Lane], ends: Sequence[Sequence[str]], undisturbed: Outcome
) -> list[str]:
    """Return the problems with these ends of lives, tried in as many lanes as there are."""
    problems: list[str] = []
    passed_by: list[str] = []
    waiting = iter(ends)

    async def run(lane: Lane) -> None:
        for each in waiting:
            if len(problems) > ENOUGH:
                return
            found = await _faults(lane, case, each, undisturbed)
            if found == [AVOIDABLE]:
                passed_by.append(each[-1])
            else:
                problems.extend(f"{', then '.join(each)}: {fault}" for fault in found)

    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(run(lane))
    if len(passed_by) > max(FEW_PASSED_BY, len(ends) * MOST_PASSED_BY):
        problems.append(f"so many points were passed by that little was tried: {passed_by}")
    return problems


async def _faults(lane: Lane, case: Case, ends: Sequence[str], undisturbed: Outcome) -> list[str]:
    for _ in range(ROUNDS):
        for _ in range(TRIES):
            try:
                return faults(await case.trial(lane, ends), undisturbed)
            except StepMissing:
                continue
        # a busy machine adds steps, such as a lease that is taken again: no turn has to take them
        if ends[-1].removeprefix("after ") not in await _steps(lane, case):
            return [AVOIDABLE]
    return [PASSED_BY]


async def _steps(lane: Lane, case: Case) -> list[str]:
    """The steps of the life to kill, as another turn takes them."""
    return (await case.trial(lane, case.first)).lives[len(case.first)]
