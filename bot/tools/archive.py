"""Tools `read_messages`, `search_messages` and `find_person`, bounded by what the asker can read."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from bot.chat import (
    Archive,
    ArchiveSource,
    Passage,
    PastMessage,
    Person,
    PlatformError,
    RateLimited,
    ReadingRefused,
)
from bot.chat.text import count, one_line, shorten
from bot.tools.context import turn_of
from bot.tools.errors import ToolFailure

T = TypeVar("T")

_MOST = 100
_USUAL = 30
_FOUND = 20
_CHARS = 12_000
"""Most characters of a result."""

_LONGEST = 1_500
"""Most characters of one message."""

_READ = """\
Read the newest messages of a thread or a channel of this chat that the user who asks can read: give a link \
to a message, the name of a channel, or "this thread". Name the messages that you use, with their links."""

_SEARCH = """\
Search the messages of this chat that the user who asks can read. Give a few words that the message \
contains. Name the messages that you use, with their links."""

_FIND = "Find people of this chat by a part of their name: their names, titles and time zones."

_NOTHING = "Nothing was found among the messages that this user can read."
_NOBODY = "Nobody with this name was found."
_NOT_HERE = "There are no messages to read here.\nThis conversation is not in a chat with channels."


class ReadMessagesArguments(BaseModel):
    """Arguments of `read_messages`."""

    link_or_thread: str = Field(
        description='A link to a message, the name of a channel such as #general, or "this thread"'
    )
    limit: int | None = Field(None, ge=1, le=_MOST, description="Most messages, at most 100; default: 30")


class SearchMessagesArguments(BaseModel):
    """Arguments of `search_messages`."""

    query: str = Field(min_length=1, description="A few words")
    channel: str | None = Field(None, description="Name of a channel; default: all that the user is in")


class FindPersonArguments(BaseModel):
    """Arguments of `find_person`."""

    name: str = Field(min_length=1, description="A part of the name")


def archive_tools(source: ArchiveSource) -> list[BaseTool]:
    """Return the tools; the user whose access counts comes from the config, never from arguments."""

    async def read_messages(link_or_thread: str, config: RunnableConfig, limit: int | None = None) -> str:
        passage = await _ask(_archive(source, config).read(link_or_thread, limit or _USUAL))
        return describe(passage)

    async def search_messages(query: str, config: RunnableConfig, channel: str | None = None) -> str:
        found = await _ask(_archive(source, config).search(query, channel or "", _FOUND))
        return describe_found(found) if found else _NOTHING

    async def find_person(name: str, config: RunnableConfig) -> str:
        found = await _ask(_archive(source, config).find_people(name))
        people = count(len(found), "person", "people")
        return "\n".join([f"Found {people}:", *map(_person, found)]) if found else _NOBODY

    return [
        StructuredTool.from_function(
            coroutine=read_messages,
            name="read_messages",
            description=_READ,
            args_schema=ReadMessagesArguments,
            metadata={"title": "Read messages", "activity": "Reading messages"},
        ),
        StructuredTool.from_function(
            coroutine=search_messages,
            name="search_messages",
            description=_SEARCH,
            args_schema=SearchMessagesArguments,
            metadata={"title": "Search messages", "activity": "Searching messages"},
        ),
        StructuredTool.from_function(
            coroutine=find_person,
            name="find_person",
            description=_FIND,
            args_schema=FindPersonArguments,
            metadata={"title": "Find a person", "activity": "Looking for a person"},
        ),
    ]


def _archive(source: ArchiveSource, config: RunnableConfig) -> Archive:
    """Return the archive of the turn's only author. Raises `ToolFailure` if there are several."""
    turn = turn_of(config)
    if len(turn.authors) > 1:
        raise ToolFailure("Several users ask at once.\nAnswer without it, or ask one of them to ask again.")
    archive = source.archive(turn.messages[-1])
    if archive is None:
        raise ToolFailure(_NOT_HERE)
    return archive


async def _ask(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ReadingRefused as error:
        raise ToolFailure(f"This cannot be read: {error}.") from error
    except RateLimited as error:
        raise ToolFailure("The chat service limits reading at the moment.\nContinue without it.") from error
    except (PlatformError, TimeoutError) as error:
        raise ToolFailure("The chat service did not answer.\nContinue without it, and say so.") from error


def describe(passage: Passage) -> str:
    """Return a passage for the model; its first line is for users, too."""
    if not passage.messages:
        return f"There are no messages in {passage.source}."
    head = f"{count(len(passage.messages), 'message')} of {passage.source}:"
    cut = ["[There are further messages.]"] if passage.is_cut else []
    return "\n".join([head, *cut, *_lines(passage.messages)])


def describe_found(messages: Sequence[PastMessage]) -> str:
    """Return the messages that a search has found, the best first: the first ones, as many as fit."""
    lines = _lines(messages[::-1])[::-1]
    cut = ["[Further messages are left out.]"] if len(lines) < len(messages) else []
    return "\n".join([f"Found {count(len(messages), 'message')}:", *lines, *cut])


def _lines(messages: Sequence[PastMessage]) -> list[str]:
    """Return the messages with time, author and link; the last ones, as many as fit."""
    lines: list[str] = []
    left = _CHARS
    for message in reversed(messages):
        line = _line(message)
        left -= len(line)
        if left < 0 and lines:
            break
        lines.append(line)
    return lines[::-1]


def _line(message: PastMessage) -> str:
    at = datetime.fromtimestamp(message.sent_at, UTC)
    author = one_line(message.author, 80).replace("[", "(").replace("]", ")")
    files = [f"[attached: {one_line(name, 100)}]" for name in message.files]
    # indented, so that no text can look like another message
    text = "\n  ".join("\n".join([shorten(message.text, _LONGEST), *files]).splitlines())
    link = f"\n  {message.link}" if message.link else ""
    return f"[{at:%Y-%m-%d %H:%M} UTC] {author}: {text}{link}"


def _person(person: Person) -> str:
    names = list(dict.fromkeys(one_line(each, 80) for each in (person.name, person.full_name) if each))
    details = [one_line(each, 80) for each in (person.title, person.time_zone) if each]
    return f"- {', also '.join(names)}" + (f" ({', '.join(details)})" if details else "")
