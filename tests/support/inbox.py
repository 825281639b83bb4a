"""An inbox, and messages for it."""

from redis.asyncio import Redis

from bot.chat import Message, ThreadId
from bot.inbox import Inbox


def a_message(text: str, thread: str = "t1", *, addressed: bool = True) -> Message:
    return Message(
        id=f"test:{thread}:{text}",
        thread=ThreadId("test", "space", thread),
        author="test:ada",
        text=text,
        sent_at=1.0,
        addressed=addressed,
    )


def an_inbox(redis: Redis, name: str = "one") -> Inbox:
    return Inbox(redis, name=name, follow_days=30)
