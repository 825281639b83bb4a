"""An inbox, messages for it, and turns with them."""

from dataclasses import dataclass

from redis.asyncio import Redis

from bot.chat import Message, ThreadId
from bot.inbox import Inbox
from bot.inbox.lease import Begun, Lease, TurnStart


def a_message(text: str, thread: str = "t1", *, addressed: bool = True) -> Message:
    return Message(
        id=f"test:{thread}:{text}",
        thread=ThreadId("test", "space", thread),
        author="test:ada",
        text=text,
        sent_at=1.0,
        addressed=addressed,
        place={"ts": "1"},
    )


def an_inbox(redis: Redis, name: str = "one") -> Inbox:
    return Inbox(redis, name=name, follow_days=30)


async def begin(inbox: Inbox) -> tuple[Lease, TurnStart]:
    """Begin the next turn that is due."""
    await inbox.ensure_group()
    await inbox.wake()
    (lease,) = await inbox.lease(1, 1)
    begun = await inbox.begin(lease)
    assert begun
    return lease, begun


async def answer(inbox: Inbox) -> list[str]:
    """Run the next turn and return its texts."""
    lease, begun = await begin(inbox)
    await inbox.finish(lease, begun.turn)
    return [message.text for message in begun.turn.messages]


@dataclass(slots=True)
class Desk:
    """Implements `bot.inbox.lease.Desk` for one message: there is a place for its turn."""

    consumer: str
    lease: Lease | None = None
    begun: Begun | None = None
    is_reserved: bool = False

    def reserve(self, wish: Lease) -> bool:
        assert not self.is_reserved
        self.is_reserved = True
        return True

    def settle(self, wish: Lease, lease: Lease | None = None, begun: Begun | None = None) -> None:
        assert self.is_reserved
        self.is_reserved, self.lease, self.begun = False, lease, begun
