"""Telling of a story: people act on a stage, and what the bot shows there is checked."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from bot.composition.evaluation.checks import Answer, Checking
from bot.composition.evaluation.scenario import (
    BOT,
    LINK,
    MENTION,
    BotShows,
    ModelAnswers,
    Says,
    Scenario,
    Silence,
)


class CannotAct(Exception):
    """Step that a person cannot do, such as pressing a button that is not shown. Its text is the reason."""


class Stage(Protocol):
    """Place where a story is told: a chat service with the whole bot.

    The people and channels of the story exist. The methods return once the bot has taken what was done, and
    raise `CannotAct`.
    """

    async def say(self, step: Says) -> None:
        """Write a message in the place of the step, else where the story is; the story goes on there."""

    async def edit(self, step: Says) -> None:
        """Change the text of an earlier message; the story goes on there."""

    async def press(self, step: Says) -> None:
        """Press a button of the newest request."""

    async def command(self, step: Says) -> None:
        """Use a slash command in the channel where the story is; its answer is a part of the next answer."""

    async def answer_begins(self) -> None:
        """Wait until an answer is shown in part, or nothing is to be answered any more."""

    async def answer(self) -> Answer:
        """Wait until nothing is to be answered any more; return what was shown since the last time."""


async def tell(scenario: Scenario, stage: Stage, checking: Checking) -> list[str]:
    """Tell a story and check it; return the conversation, a line for each message."""
    conversation: list[str] = []
    steps = enumerate(scenario.story, 1)
    for number, step in steps:
        try:
            match step:
                case Says():
                    await _act(step, stage)
                    conversation.append(f"{step.person}: {step.text}")
                case BotShows() | Silence():
                    answer = await stage.answer()
                    if not answer.is_silent:
                        conversation.append(f"{BOT}: {answer.text}{_named(answer.files)}")
                    await checking.check(number, step, answer, conversation)
                case ModelAnswers():
                    pass
        except CannotAct as error:
            for later, missed in [(number, step), *steps]:
                if isinstance(missed, BotShows | Silence):
                    checking.fail(later, missed, f"step {number}: {error}")
    return conversation


def _named(files: Sequence[str]) -> str:
    return "".join(f"\n[file: {each}]" for each in files)


async def _act(step: Says, stage: Stage) -> None:
    if step.while_answering:
        await stage.answer_begins()
    if step.button:
        await stage.press(step)
    elif step.edits:
        await stage.edit(step)
    elif step.is_command:
        await stage.command(step)
    else:
        await stage.say(step)


def written(text: str, mention: Callable[[str], str | None], link: Callable[[str], str]) -> str:
    """Return a text of the story as a platform has it: `@ana` and `[[plan]]` are a mention and a link.

    A name for which `mention` returns None stays as it is.
    """

    def mentioned(found: re.Match[str]) -> str:
        name = mention(found[1])
        return found[0] if name is None else name

    return LINK.sub(lambda found: link(found[1]), MENTION.sub(mentioned, text))
