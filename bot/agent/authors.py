"""Taking one person's words out of a thread's memory: pure functions over LangChain messages."""

from collections.abc import Iterator, Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage

from bot.agent import prompts
from bot.agent.spotlighting import indented, label

AUTHOR = "author"
AUTHOR_NAME = "author_name"
"""Under these a `HumanMessage` says, in its `additional_kwargs`, whose it is: account's digest, and name."""


def author(message: AnyMessage) -> str:
    """The digest of who wrote a message; empty if it is not known."""
    return str(message.additional_kwargs.get(AUTHOR, "")) if isinstance(message, HumanMessage) else ""


def _owner(message: AnyMessage) -> str:
    """The same, also of a call that was made once more when it was decided."""
    return str(message.additional_kwargs.get(AUTHOR, ""))


def without(messages: Sequence[AnyMessage], authors: frozenset[str]) -> list[AnyMessage | RemoveMessage]:
    """The update that removes what these wrote, and every answer to it.

    Where others asked with them, who asked stays, and a sentence takes the place of the answer: a question
    without one would be answered by the next turn.
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
    """Questions asked together, with all that came of them."""
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
    """The names of those who wrote, by their digests, if there are several or somebody imitates that."""
    written = [each for each in messages if isinstance(each, HumanMessage) and author(each)]
    known = {author(each): _name(each) for each in written}
    return known if len(known) > 1 or any(_imitates(each.text) for each in written) else {}


def _imitates(text: str) -> bool:
    """Tell whether a line begins as if it were signed with a name."""
    lines = (line.lstrip() for line in text.splitlines())
    return any(line.startswith("[") and "] " in line[:80] and not line.startswith(_OURS) for line in lines)


_OURS = ("[attached file", "[data from", "[end of data", "[They ")
"""Beginnings of the lines that the bot itself puts into messages."""


def _name(message: HumanMessage) -> str:
    # it is chosen by the person: on one line, and without what ends it
    return label(str(message.additional_kwargs.get(AUTHOR_NAME, "")))[:60] or "somebody"


def named(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages as the model reads them: with the author's name first, when there are several.

    Following lines are indented then: nobody can write a line that looks like another's message.
    """
    known = names(messages)
    return [
        message.model_copy(update={"content": f"[{known[author(message)]}] {indented(message.text)}"})
        if author(message) in known
        else message
        for message in messages
    ]
