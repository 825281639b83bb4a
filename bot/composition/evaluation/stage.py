"""Stage of a story without a chat service: people write to `StoryPlatform`, the whole bot answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.access.requests import Requests
from bot.chat import (
    Approval,
    Attachment,
    Correction,
    Event,
    File,
    Message,
    Notice,
    Part,
    Question,
    Table,
    Text,
    ThreadId,
    ToolStep,
)
from bot.commands.approval_texts import APPROVE, REJECT, request_text
from bot.commands.channel import ChannelCaller
from bot.commands.decisions import Chooser
from bot.commands.question_texts import question_text
from bot.composition.evaluation.checks import Answer
from bot.composition.evaluation.platform import INFO, LINKS, Conversation, Shown, StoryPlatform
from bot.composition.evaluation.scenario import BOT, DIRECT, GENERAL, LINK, MENTION, Says, Scenario
from bot.composition.evaluation.story import CannotAct, written
from bot.composition.evaluation.texts import no_answer, no_button, no_command
from bot.platforms.table_text import markdown

_POLL_SECONDS = 0.02

_MOST_ROWS = 20
"""Most rows of a table in the text of an answer."""

IsIdle = Callable[[ThreadId], Awaitable[bool]]
"""Function that returns whether nothing in a thread waits for an answer."""


@dataclass(slots=True)
class StoryStage:
    """Implements `Stage`. `space` belongs to this run alone, and so do its people, channels and memory.

    An answer may take `patience` seconds.
    """

    scenario: Scenario
    space: str
    platform: StoryPlatform
    requests: Requests
    is_idle: IsIdle
    patience: float
    problems: list[str] = field(default_factory=list)
    """Sentences of the bot about answers that failed, such as one about a model service that is away."""
    _messages: dict[str, Message] = field(default_factory=dict)
    _count: int = 0
    _thread: ThreadId | None = None
    _read: dict[ThreadId, int] = field(default_factory=dict)
    """Number of answers that were read, by thread."""
    _said: list[str] = field(default_factory=list)
    """Answers to commands that were not read."""

    async def say(self, step: Says) -> None:
        self._count += 1
        id = f"{INFO.name}:{self.space}:{self._count}"
        self._thread = self._thread_of(step)
        message = self._message(step, id, self._thread)
        if step.id:
            self._messages[step.id] = message
        self.platform.note(message)
        await self._deliver(message)

    def _thread_of(self, step: Says) -> ThreadId:
        """Return the thread of a message: a new one in a named place, that of its reply, else the same."""
        if step.replies_to:
            return self._messages[step.replies_to].thread
        if self._thread and not step.place:
            return self._thread
        place = step.place or GENERAL
        channel = f"{self.space}.{place}"
        if place == DIRECT:
            channel = f"{channel}.{step.person}"
        return ThreadId(INFO.name, self.space, channel, str(self._count))

    @property
    def _place(self) -> str:
        return _place_of(self._thread) if self._thread else GENERAL

    def _message(self, step: Says, id: str, thread: ThreadId) -> Message:
        names = MENTION.findall(step.text)
        is_direct = _place_of(thread) == DIRECT
        addressed = is_direct or BOT in names
        others = set(names) & set(self.scenario.people) - {step.person}
        links = " ".join(self._messages[each].id for each in LINK.findall(step.text))
        return Message(
            id=id,
            thread=thread,
            author=author_of(self.space, step.person),
            author_name=step.person.capitalize(),
            text=written(step.text, lambda name: "" if name == BOT else None, self._link).strip(),
            sent_at=time.time(),
            addressed=addressed,
            direct=is_direct,
            attachments=self._attachments(step, id),
            channel=thread.channel,
            place={LINKS: links} if links else {},
            purpose="aside" if others and not addressed else "",
        )

    def _link(self, name: str) -> str:
        return f"message {self._messages[name].id}"

    def _attachments(self, step: Says, id: str) -> tuple[Attachment, ...]:
        if step.file is None:
            return ()
        content = step.file.text.encode()
        self.platform.keep(id, content)
        return (Attachment(name=step.file.name, media_type="text/plain", size=len(content), url=id),)

    async def _deliver(self, event: Event) -> None:
        async with self._in_time():
            await (await self.platform.reception()).deliver(event)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.patience):
                yield
        except TimeoutError:
            raise CannotAct(no_answer(self.patience)) from None

    async def edit(self, step: Says) -> None:
        assert step.edits
        before = self._messages[step.edits]
        self._thread = before.thread
        after = self._message(step, before.id, before.thread)
        await self._deliver(Correction(message=after, edited_at=time.time()))

    async def press(self, step: Says) -> None:
        assert step.button
        await self._wait(self._is_done)
        commands, request = (await self.platform.reception()).commands, self._open_request()
        author, name = author_of(self.space, step.person), step.person.capitalize()
        buttons = request.options if isinstance(request, Question) else (APPROVE, REJECT)
        chosen = _find(step.button, buttons) if request else None
        if request is None or chosen is None:
            raise CannotAct(no_button(step.button))
        if isinstance(request, Approval):
            answer = await commands.decide(request.id, author, approve=not chosen, name=name)
        else:
            answer = await commands.choose(request.id, chosen, Chooser(author=author, name=name))
        if answer.thread is None:
            self._said.append(answer.words)

    def _open_request(self) -> Approval | Question | None:
        """Return the newest request that is not decided."""
        requests: dict[str, Approval | Question] = {}
        for shown in self._conversation.shown:
            requests |= {each.id: each for each in shown.parts if isinstance(each, Approval | Question)}
        return next((each for each in reversed(requests.values()) if each.state == "asked"), None)

    @property
    def _conversation(self) -> Conversation:
        assert self._thread
        return self.platform.conversation(self._thread)

    async def command(self, step: Says) -> None:
        word, _, rest = step.text.partition(" ")
        channel = (await self.platform.reception()).commands.channel
        if word != "/agent-channel" or channel is None:
            raise CannotAct(no_command(word))
        caller = ChannelCaller(
            author=author_of(self.space, step.person),
            name=step.person.capitalize(),
            channel=f"{INFO.name}:{self.space}.{step.place or self._place}",
        )
        self._said.append(await channel.answer_text(rest, caller))

    async def answer_begins(self) -> None:
        await self._wait(self._has_begun)

    async def _has_begun(self) -> bool:
        new = self._unread()
        return any(isinstance(part, Text) for shown in new for part in shown.parts) or await self._is_done()

    async def _wait(self, is_over: Callable[[], Awaitable[bool]]) -> None:
        async with self._in_time():
            while True:
                if await is_over():
                    return
                await asyncio.sleep(_POLL_SECONDS)  # the inbox tells nobody when a thread is idle

    async def _is_done(self) -> bool:
        return self._thread is None or await self.is_idle(self._thread)

    async def answer(self) -> Answer:
        await self._wait(self._is_done)
        parts = self._new_parts() if self._thread else []
        said, self._said = self._said, []
        calls = await self._calls(parts)
        files = tuple(part.name for part in parts if isinstance(part, File))
        problems = [part.text for part in parts if isinstance(part, Notice) and part.status]
        self.problems += problems
        text = "\n\n".join([*said, "".join(_rendered(part) for part in parts).strip()]).strip()
        return Answer(text, calls, files, is_failure=bool(problems))

    def _unread(self) -> Sequence[Shown]:
        assert self._thread
        return self._conversation.shown[self._read.get(self._thread, 0) :]

    def _new_parts(self) -> list[Part]:
        assert self._thread
        new = self._unread()
        self._read[self._thread] = len(self._conversation.shown)
        return [part for each in new for part in each.parts]

    async def _calls(self, parts: Sequence[Part]) -> tuple[str, ...]:
        """Return the names of tools that were at work, or wait for a person; not one that was refused."""
        asked: list[str] = []
        refused: set[str] = set()
        for part in parts:
            if isinstance(part, Approval | Question) and (found := await self.requests.find(part.id)):
                if part.state == "asked":
                    asked.append(found[1].tool)
                elif part.state not in ("approved", "answered"):
                    refused.add(found[1].tool)  # its step is shown, too
        steps = [part.name for part in parts if isinstance(part, ToolStep) and part.name not in refused]
        return tuple(dict.fromkeys([*steps, *asked]))


def author_of(space: str, person: str) -> str:
    """Return a person of one run as an author."""
    return f"{INFO.name}:{space}.{person}"


def _place_of(thread: ThreadId) -> str:
    return thread.channel.split(".")[1]


def _find(label: str, buttons: Sequence[str]) -> int | None:
    """Return the place of a button whose label is this, or has it as a part: models word options freely."""
    wanted, shown = label.casefold(), [each.casefold() for each in buttons]
    alike = [at for at, each in enumerate(shown) if each == wanted]
    alike = alike or [at for at, each in enumerate(shown) if wanted in each]
    return alike[0] if len(alike) == 1 else None


def _rendered(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Notice():
            return f"\n\n{part.text}\n\n"
        case Approval():
            return f"\n\n{request_text(part)}\n\n"
        case Question():
            return f"\n\n{question_text(part)}\n\n"
        case Table():
            return f"\n\n{markdown(part, _MOST_ROWS)}\n\n"
        case _:
            return ""
