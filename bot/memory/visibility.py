"""Readers of records, derived from the place of a turn and never from the model's output. Pure.

One rule: a record has no more readers than the place in which it was written, and nothing is found where
others could read it too. Readers are digests, which differ for all names, because RediSearch ignores case.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from bot.chat import Audience, Message, ThreadId, Turn, platform_info
from bot.memory.records import digest

Scope = Literal["private", "channel", "workspace"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class NotHere(Exception):
    """Scope that this place does not allow; the first line of the text says why, the second what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """One user on one platform; `space` is empty where ids are unique everywhere."""

    platform: str
    space: str
    user: str

    @classmethod
    def of(cls, author: str, space: str) -> "Account":
        """Return the account of an author, as in `Message`, in a space, as in `ThreadId`."""
        platform, _, user = author.partition(":")
        return cls(platform, "" if platform_info(platform).has_global_ids else space, user)

    @property
    def author(self) -> str:
        """Return the account in the form of `Message.author`."""
        return f"{self.platform}:{self.user}"

    @property
    def digest(self) -> str:
        """Return the reader that stands for this account alone."""
        return digest("person", self.platform, self.space, _own_id(self.space, self.user))

    def wrote(self, message: Message) -> bool:
        """Return True if this account wrote a message."""
        return account_of(message) == self


def account_of(message: Message) -> Account:
    """Return the account of a message's author."""
    return Account.of(message.author, message.thread.space)


def thread_reader(thread: ThreadId) -> str:
    """Return the reader that stands for everybody in a thread."""
    return digest("thread", str(thread))


def turn_readers(turn: Turn, audience: Audience) -> frozenset[str]:
    """Return the readers who may find a turn later."""
    thread = thread_reader(turn.thread)
    if turn.direct:
        return frozenset({thread, *(account_of(message).digest for message in turn.messages)})
    everyone = {_space(turn)} if audience == "everyone" else set()
    return frozenset({thread, _channel(turn), *everyone})


def search_readers(turn: Turn, accounts: frozenset[Account], audience: Audience) -> frozenset[str]:
    """Return the readers on whose behalf a turn may search; `accounts` are the linked accounts of its user.

    Everybody in a shared place reads the answer, so private records are not found there.
    """
    thread = thread_reader(turn.thread)
    if not turn.direct:
        return frozenset({thread, _channel(turn), *_space_readers(turn, audience)})
    own = {each.digest for each in accounts} if _is_one_person(turn) else set()
    is_in_space = not platform_info(turn.thread.platform).has_global_ids
    shared = _space_readers(turn, audience) if is_in_space else set()
    return frozenset({thread, *own, *shared})


def fact_for(turn: Turn, scope: Scope, audience: Audience) -> str:
    """Return the reader of a fact that a turn saves with a scope. Raises `NotHere`."""
    if scope == "private":
        if not (turn.direct and _is_one_person(turn)):
            raise NotHere(
                "Others can read this conversation, so nothing private was saved.\n"
                "Save it for the channel, or ask the user to say it in a direct message."
            )
        return account_of(turn.messages[0]).digest
    if turn.direct:
        raise NotHere(
            "This is a private conversation, so nothing was saved for others.\n"
            "Save it as private, or ask the user to say it in a public channel."
        )
    if scope == "channel":
        return _channel(turn)
    if audience != "everyone":
        raise NotHere(
            "Not everybody in the workspace can read this channel, so nothing was saved for the workspace.\n"
            "Save it for the channel, or ask the user to say it in a public one."
        )
    return _space(turn)


def _is_one_person(turn: Turn) -> bool:
    return len({account_of(message) for message in turn.messages}) == 1


def _own_id(space: str, id: str) -> str:
    """Return an id without its space, which a digest contains anyhow."""
    return id.removeprefix(f"{space}/") if space else id


def _channel(turn: Turn) -> str:
    message, thread = turn.messages[0], turn.messages[0].thread
    parent = "" if message.is_private_thread else message.parent
    channel = _own_id(thread.space, parent or message.channel or thread.channel)
    return digest("channel", thread.platform, thread.space, channel)


def _space_readers(turn: Turn, audience: Audience) -> set[str]:
    return set() if audience == "outsiders" else {_space(turn)}


def _space(turn: Turn) -> str:
    return digest("space", turn.thread.platform, turn.thread.space)
