"""Checks of answers: each compares what users saw with one expectation. Linear in the length of the texts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.chat.text import one_line
from bot.composition.evaluation.scenario import BotShows, Silence

ANY = "..."
"""Part of a pattern that stands for any text."""

_LONGEST_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that the bot showed after a message: its text, tools that it called, names of its files.

    `is_failure` if it says that the agent could not answer.
    """

    text: str = ""
    calls: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    is_failure: bool = False

    @property
    def is_silent(self) -> bool:
        return not (self.text.strip() or self.files)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one check of a step; `passed` is None if nobody could judge it."""

    step: int
    check: str
    passed: bool | None
    reason: str = ""


class Judge(Protocol):
    """Reader who decides whether a sentence is true."""

    async def judge(self, sentence: str, conversation: Sequence[str]) -> tuple[bool | None, str]:
        """Return whether the sentence is true of the last answer, and why; None if that is not known."""


Kind = Literal["shows", "contains", "not_contains", "matches", "calls", "not_calls", "file"]


@dataclass(slots=True)
class Checking:
    """Checks of one story. `is_scripted`: the model says exactly what the story says, and nobody judges."""

    judge: Judge | None = None
    is_scripted: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    async def check(
        self, number: int, step: BotShows | Silence, answer: Answer, conversation: Sequence[str]
    ) -> None:
        """Check an answer, or that there is none. A failure passes no check: it is no answer of the agent."""
        saw = _shown(answer)
        if answer.is_failure:
            self.fail(number, step, saw)
            return
        if isinstance(step, Silence):
            reason = "" if answer.is_silent else saw
            self.outcomes.append(Outcome(number, _silence(step), answer.is_silent, reason))
            return
        for kind, value in self._checks(step):
            passed = not answer.is_silent and _holds(kind, value, answer)
            self.outcomes.append(Outcome(number, _name(kind, value), passed, "" if passed else saw))
        for sentence in () if self.is_scripted else step.expect.judge:
            await self._judge(number, sentence, answer, conversation)

    async def _judge(self, number: int, sentence: str, answer: Answer, conversation: Sequence[str]) -> None:
        name = f"judge: {sentence}"
        if answer.is_silent:
            self.outcomes.append(Outcome(number, name, False, _shown(answer)))
        elif self.judge is None:
            self.outcomes.append(Outcome(number, name, None, "needs a model"))
        else:
            passed, reason = await self.judge.judge(sentence, conversation)
            self.outcomes.append(
                Outcome(number, name, passed, "" if passed else one_line(reason, _LONGEST_SHOWN))
            )

    def fail(self, number: int, step: BotShows | Silence, reason: str) -> None:
        """Count all checks of a step as failed, such as one that the story did not reach."""
        if isinstance(step, Silence):
            names = [_silence(step)]
        else:
            names = [_name(kind, value) for kind, value in self._checks(step)]
            names += [] if self.is_scripted else [f"judge: {each}" for each in step.expect.judge]
        self.outcomes += [Outcome(number, name, False, reason) for name in names]

    def _checks(self, step: BotShows) -> Iterator[tuple[Kind, str]]:
        expect = step.expect
        kinds: tuple[tuple[Kind, Sequence[str]], ...] = (
            ("contains", expect.contains),
            ("not_contains", expect.not_contains),
            ("matches", expect.matches),
            ("calls", expect.calls),
            ("not_calls", expect.not_calls),
            ("file", expect.file),
        )
        if self.is_scripted:
            yield "shows", step.bot
            kinds = tuple(each for each in kinds if each[0] not in ("calls", "not_calls"))  # it is told to
        elif not (expect.judge or any(values for _, values in kinds)):
            yield "matches", ANY
        for kind, values in kinds:
            for value in values:
                yield kind, value


def _silence(step: Silence) -> str:
    return f"silence: {one_line(step.silence, _LONGEST_SHOWN)}"


def _name(kind: Kind, value: str) -> str:
    return f"{kind}: {one_line(value, _LONGEST_SHOWN)}"


def _shown(answer: Answer) -> str:
    if answer.is_silent:
        return "nothing was shown"
    shown = answer.text or f"the files {', '.join(answer.files)}"
    called = f" (called {', '.join(answer.calls)})" if answer.calls else ""
    return f"“{one_line(shown, _LONGEST_SHOWN)}”{called}"


def _holds(kind: Kind, value: str, answer: Answer) -> bool:
    match kind:
        case "shows":
            return matches(value, answer.text)
        case "matches":
            return matches(value.casefold(), answer.text.casefold())
        case "contains":
            return contains(value, answer.text)
        case "not_contains":
            return not contains(value, answer.text)
        case "calls":
            return value in answer.calls
        case "not_calls":
            return value not in answer.calls
        case "file":
            return any(each.lower().endswith(f".{value.lower().lstrip('.')}") for each in answer.files)


def contains(value: str, text: str) -> bool:
    """Return whether a text contains another one, in any case and with any blanks.

    A number at its ends is not a part of a longer one: `59` is not in `1,598`.
    """
    wanted, where = _plain(value).casefold(), _plain(text).casefold()
    at = where.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        before, after = where[max(at - 2, 0) : at], where[end : end + 2]
        if not (_cuts(wanted[0], before[::-1]) or _cuts(wanted[-1], after)):
            return True
        at = where.find(wanted, at + 1)
    return False


def _cuts(end: str, beside: str) -> bool:
    """Return whether a digit at the end of a text and the characters beside it are one number."""
    return end.isdigit() and bool(re.match(r"[0-9]|[.,][0-9]", beside))


def matches(pattern: str, text: str) -> bool:
    """Return whether a whole text matches a pattern, in which `...` stands for any text."""
    first, *others = (_plain(each) for each in pattern.split(ANY))
    rest = _plain(text)
    if not others:
        return rest == first
    if not rest.startswith(first):
        return False
    rest = rest[len(first) :]
    *middle, last = others
    for each in middle:
        _, found, rest = rest.partition(each) if each else ("", "-", rest)
        if not found:
            return False
    return rest.endswith(last)


def _plain(text: str) -> str:
    return " ".join(text.split())
