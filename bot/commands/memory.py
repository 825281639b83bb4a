"""Subcommands of `/agent-memory`, some of which are also typed after `!memory`: their words and arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast, get_args

from bot.chat import Message
from bot.commands import texts

TYPED = "!memory"
CONFIRMATION = "everything"
"""Argument with which `forget` removes all; without one, it only shows what would be removed."""

Verb = Literal["show", "list", "correct", "forget", "link", "unlink"]

_WITHOUT_ARGUMENT = ("show", "unlink")
_TYPED_VERBS = ("list", "correct", "forget")
_OF_EVERYTHING = (("forget", ""), ("forget", CONFIRMATION))


@dataclass(frozen=True, slots=True)
class Caller:
    """User of a command: an author, as in `Message`, in a space, as in `ThreadId`."""

    author: str
    space: str


FACTS_OF_PAGE = 10
"""Most facts of a `MemoryOverview`."""


class KnownFact(NamedTuple):
    """Fact about a user: the id by which it is named, its text, and its date and scope in words."""

    id: str
    text: str
    about: str


class KnownThread(NamedTuple):
    """Thread in which a user wrote, as text, with their newest question there and its date in words."""

    thread: str
    question: str
    about: str


@dataclass(frozen=True, slots=True)
class MemoryOverview:
    """Memory of one user: numbers of facts and questions, one page of the facts, and the newest threads.

    `first` is the number of facts before the page. `is_on` means that it stores more.
    """

    facts: int
    questions: int
    page: Sequence[KnownFact] = ()
    threads: Sequence[KnownThread] = ()
    is_on: bool = True
    first: int = 0


class PersonalMemory(Protocol):
    """Commands on a user's own data. All methods raise `BotError`; texts are Markdown."""

    async def show(self, caller: Caller) -> str:
        """Return a summary with the newest facts and conversations."""

    async def overview(self, caller: Caller, first: int = 0) -> MemoryOverview:
        """Return the numbers of facts and questions, with a page of the facts and the newest threads.

        The page is the last one if there are not so many facts any more.
        """

    async def list_facts(self, caller: Caller, words: str) -> str:
        """Return the newest facts that contain `words`, each with its id."""

    async def correct_fact(self, caller: Caller, id: str, text: str) -> str:
        """Replace the text of one fact."""

    async def forget_fact(self, caller: Caller, id: str) -> str:
        """Remove one fact."""

    async def summary(self, message: Message) -> str:
        """Return the amount of data about the author of a message, in words that others can read."""

    async def export(self, caller: Caller) -> bytes:
        """Return all data, as a JSON document."""

    async def forget(self, caller: Caller, *, is_confirmed: bool) -> str:
        """Remove all data; without a confirmation only describe it."""

    async def link(self, caller: Caller, code: str) -> str:
        """Create a code, or use the code that another account of the same user has created."""

    async def unlink(self, caller: Caller) -> str:
        """Remove the links of this account."""


class MemoryOrder(NamedTuple):
    """Subcommand and its argument, as typed."""

    verb: Verb
    argument: str = ""


def parse(text: str) -> MemoryOrder | None:
    """Return the subcommand in a text, `show` for an empty one, or None for other words."""
    first, *rest = text.split(maxsplit=1) or ["show"]
    verb, argument = first.lower(), "".join(rest).strip()
    if verb not in get_args(Verb) or (argument and verb in _WITHOUT_ARGUMENT):
        return None
    return MemoryOrder(cast(Verb, verb), argument)


async def run(memory: PersonalMemory, caller: Caller, order: MemoryOrder) -> str:
    """Run a subcommand and return the answer, which only the caller must see. Raises `BotError`."""
    match order:
        case MemoryOrder("show"):
            return await memory.show(caller)
        case MemoryOrder("list", words):
            return await memory.list_facts(caller, words)
        case MemoryOrder("correct", argument):
            id, *text = argument.split(maxsplit=1)[:2] or [""]
            return await memory.correct_fact(caller, id, "".join(text))
        case MemoryOrder("forget", "" | "everything" as confirmation):
            return await memory.forget(caller, is_confirmed=confirmation == CONFIRMATION)
        case MemoryOrder("forget", id):
            return await memory.forget_fact(caller, id)
        case MemoryOrder("link", code):
            return await memory.link(caller, "".join(code.split()))
        case _:
            return await memory.unlink(caller)


def is_typed(message: Message) -> bool:
    """Return True for a typed `!memory`, with or without a subcommand."""
    first = message.text.split(maxsplit=1)[:1]
    return [each.lower() for each in first] == [TYPED]


async def answer_typed(memory: PersonalMemory, message: Message) -> str | None:
    """Return the answer to a typed `!memory`, or None for another message. Raises `StorageDown`.

    Facts are named only where nobody else reads the answer. The subcommands that take longer, or that remove
    the thread itself, are not typed.
    """
    if not is_typed(message):
        return None
    _, *rest = message.text.split(maxsplit=1)
    if not rest:
        return await memory.summary(message)
    order = parse(rest[0])
    if order is None or order.verb not in _TYPED_VERBS or order in _OF_EVERYTHING:
        return texts.MEMORY_TYPED
    if not message.direct:
        return texts.MEMORY_READ_BY_OTHERS
    return await run(memory, Caller(message.author, message.thread.space), order)
