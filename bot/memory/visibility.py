"""Who may read what is remembered: that follows from where a turn happens, not from what a model says. Pure.

One rule: nothing is kept for more readers than those who can read the place it was said in, and nothing is
found where others could read it too. Readers are named by digests, which mix no two names, as RediSearch
compares without case.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from bot.chat import Audience, Message, ThreadId, Turn, platform_info
from bot.memory.records import digest

Scope = Literal["private", "channel", "workspace"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class NotHere(Exception):
    """A scope that this place does not have; the text says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Account:
    """One person on one platform; `space` is empty where ids are unique everywhere."""

    platform: str
    space: str
    user: str

    @classmethod
    def of(cls, author: str, space: str) -> "Account":
        """The account of an author, as in `Message`, seen in a space, as in `ThreadId`."""
        platform, _, user = author.partition(":")
        return cls(platform, "" if platform_info(platform).has_global_ids else space, user)

    @property
    def author(self) -> str:
        """What `Message.author` says of this person."""
        return f"{self.platform}:{self.user}"

    @property
    def digest(self) -> str:
        """The reader that only this person is."""
        return digest("person", self.platform, self.space, self.user)

    def wrote(self, message: Message) -> bool:
        """Whether this is who wrote a message."""
        return account_of(message) == self


def account_of(message: Message) -> Account:
    """Who wrote a message."""
    return Account.of(message.author, message.thread.space)


def thread_reader(thread: ThreadId) -> str:
    """The readers of a thread."""
    return digest("thread", str(thread))


def kept_for(turn: Turn, audience: Audience) -> frozenset[str]:
    """The readers who may find what was said in a turn."""
    thread = thread_reader(turn.thread)
    if turn.direct:
        return frozenset({thread, *(account_of(message).digest for message in turn.messages)})
    everyone = {_space(turn)} if audience == "everyone" else set()
    return frozenset({thread, _channel(turn), *everyone})


def found_by(turn: Turn, accounts: frozenset[Account], audience: Audience) -> frozenset[str]:
    """The readers as whom a turn may search. `accounts` are all those of the one person who asks.

    An answer in a shared place is read by all who are there: nobody's own things are found in it.
    """
    thread = thread_reader(turn.thread)
    if not turn.direct:
        return frozenset({thread, _channel(turn), *_shared(turn, audience)})
    own = {each.digest for each in accounts} if _is_one_person(turn) else set()
    is_in_space = not platform_info(turn.thread.platform).has_global_ids
    shared = _shared(turn, audience) if is_in_space else set()
    return frozenset({thread, *own, *shared})


def fact_for(turn: Turn, scope: Scope, audience: Audience) -> str:
    """The reader of a fact that is saved in a turn. Raises `NotHere`."""
    if scope == "private":
        if not (turn.direct and _is_one_person(turn)):
            raise NotHere(
                "Others read this conversation, so nothing private is saved here: save it for the channel, "
                "or ask the person to say it in a direct message."
            )
        return account_of(turn.messages[0]).digest
    if turn.direct:
        raise NotHere(
            "This is a direct conversation, and what is said in it stays private: save it as private, or ask "
            "the person to say it in a public channel."
        )
    if scope == "channel":
        return _channel(turn)
    if audience != "everyone":
        raise NotHere(
            "Not everybody in the workspace can read this channel (as far as I know): save it for the "
            "channel, or ask the person to say it in a public one."
        )
    return _space(turn)


def _is_one_person(turn: Turn) -> bool:
    return len({account_of(message) for message in turn.messages}) == 1


def _channel(turn: Turn) -> str:
    message, thread = turn.messages[0], turn.messages[0].thread
    parent = "" if message.is_private_thread else message.parent
    channel = parent or message.channel or thread.channel
    return digest("channel", thread.platform, thread.space, channel)


def _shared(turn: Turn, audience: Audience) -> set[str]:
    return set() if audience == "outsiders" else {_space(turn)}


def _space(turn: Turn) -> str:
    return digest("space", turn.thread.platform, turn.thread.space)
