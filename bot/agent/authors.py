"""Authors of a thread's messages: their names in the prompt, and removal of what they wrote. Pure."""

from collections.abc import Iterator, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage

from bot.agent import prompts
from bot.agent.spotlighting import indent, label
from bot.chat import Message
from bot.chat.text import has_visible, unnamed_user
from bot.memory import account_of

AUTHOR = "author"
AUTHOR_NAME = "author_name"
_UNNAMED = "author_unnamed"
"""Keys of a `HumanMessage`'s `additional_kwargs`: digest of the author's account, display name, and whether
that only stands for a name which was not known."""


def author_fields(message: Message) -> dict[str, str | bool]:
    """Return the author's fields, for `add_author_names`; the model does not receive them."""
    digest = account_of(message).digest
    if has_visible(message.author_name):
        return {AUTHOR: digest, AUTHOR_NAME: message.author_name}
    if not message.place:  # there are no earlier messages that could name the author
        return {AUTHOR: digest, AUTHOR_NAME: ""}
    return {AUTHOR: digest, AUTHOR_NAME: unnamed_user(message.author), _UNNAMED: True}


def author(message: AnyMessage) -> str:
    """Return the digest of a human message's author, or an empty string if it is unknown."""
    return str(message.additional_kwargs.get(AUTHOR, "")) if isinstance(message, HumanMessage) else ""


def _owner(message: AnyMessage) -> str:
    """Return the digest of the author of a message, or of a call that was repeated after its decision."""
    return str(message.additional_kwargs.get(AUTHOR, ""))


def without(messages: Sequence[AnyMessage], authors: frozenset[str]) -> list[AnyMessage | RemoveMessage]:
    """Return the update that removes the messages of these authors and every answer to them.

    If others asked in the same turn, their questions stay and a sentence replaces the answer: the next turn
    would answer a question without one.
    """
    return [change for group in _groups(messages) for change in _changes(group, authors)]


def _changes(group: Sequence[AnyMessage], authors: frozenset[str]) -> Iterator[AnyMessage | RemoveMessage]:
    asked = [each for each in group if isinstance(each, HumanMessage) or _owner(each)]
    if not any(_owner(each) in authors for each in asked):
        return
    are_others_left = any(_owner(each) not in authors for each in asked)
    last = group[-1]
    for each in group:
        is_theirs = isinstance(each, HumanMessage) and author(each) not in authors
        if is_theirs:
            continue
        if each is last and are_others_left and isinstance(each, AIMessage):
            yield AIMessage(prompts.FORGOTTEN, id=each.id)  # with the same id it keeps its place
        else:
            yield RemoveMessage(id=each.id or "")


def _groups(messages: Sequence[AnyMessage]) -> Iterator[list[AnyMessage]]:
    """Yield the turns: the messages that were answered together, with all answers."""
    group: list[AnyMessage] = []
    for message in messages:
        is_answered = bool(group) and not isinstance(group[-1], HumanMessage)
        begins = isinstance(message, HumanMessage) or _owner(message) != ""
        if begins and is_answered:
            yield group
            group = []
        group.append(message)
    if group:
        yield group


def names(messages: Sequence[AnyMessage]) -> dict[str, str]:
    """Return the authors' names by digest, if there are several or a message imitates a signed line.

    An author whose name was not known for one of their messages has that of another. Earlier versions have
    stored nothing in its place: it is made from the digest where no message has one.
    """
    written = [each for each in messages if isinstance(each, HumanMessage) and author(each)]
    if len({author(each) for each in written}) < 2 and not any(_imitates(each.text) for each in written):
        return {}
    found: dict[str, str] = {}
    for each in written:
        before = found.get(author(each), "")
        is_better = not before or not each.additional_kwargs.get(_UNNAMED)
        found[author(each)] = (is_better and _name(each)) or before
    return {digest: name or unnamed_user(digest) for digest, name in found.items()}


def _imitates(text: str) -> bool:
    """Return True if a line begins as if it were signed with a name."""
    begun = [line for line in map(str.lstrip, text.splitlines()) if line[:1] == "["]
    return any("] " in line[:80] and not line.startswith(_OURS) for line in begun)


_OURS = ("[attached file", "[data from", "[end of data", "[The user ", "[They ")
"""Beginnings of the lines that the bot itself puts into messages; the last one is in older checkpoints."""


def _name(message: HumanMessage) -> str:
    # users choose it: keep it on one line, without brackets
    return label(str(message.additional_kwargs.get(AUTHOR_NAME, "")))[:60]


def add_author_names(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages with their author's name first, if there are several authors.

    Following lines are indented, so that nobody can write a line that looks like another's message.
    """
    known = names(messages)
    if not known:
        return list(messages)
    return [
        message.model_copy(update={"content": f"[{known[author(message)]}] {indent(message.text)}"})
        if author(message) in known
        else message
        for message in messages
    ]
