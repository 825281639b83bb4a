"""A message with files, and the reader of attachments that is given it."""

from collections.abc import Mapping

from redis.asyncio import Redis

from bot.agent.attachments import AttachmentLimits, AttachmentReader
from bot.agent.attachments.sandbox import Sandbox
from bot.chat import Attachment, AttachmentContent, FileRefused, Message, ThreadId
from bot.storage.files import FileStore


class Source:
    """Implements `bot.chat.FileSource`."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents

    async def fetch(self, message: Message, attachment: Attachment, most_bytes: int) -> bytes:
        content = self._contents[attachment.url]
        if content == b"gone":
            raise FileRefused("it is gone, or I may not see it")
        return content


def a_message(*files: tuple[str, bytes]) -> tuple[Message, Source]:
    """A message with files, and where they are."""
    contents = {f"file:{number}": content for number, (_, content) in enumerate(files)}
    attachments = tuple(
        Attachment(name=name, media_type="application/octet-stream", size=len(content), url=f"file:{number}")
        for number, (name, content) in enumerate(files)
    )

    message = Message(
        id="m1",
        thread=ThreadId("test", "space", "t1"),
        author="test:ada",
        text="what is in it?",
        sent_at=0.0,
        addressed=True,
        attachments=attachments,
    )
    return message, Source(contents)


async def read_files(
    redis: Redis,
    *files: tuple[str, bytes],
    limits: AttachmentLimits | None = None,
    sees: bool = True,
    sandbox: Sandbox | None = None,
) -> AttachmentContent:
    message, source = a_message(*files)
    store = FileStore(redis)
    reader = AttachmentReader(
        source, store, limits or AttachmentLimits(), sees_pictures=sees, sandbox=sandbox
    )
    return await reader.read(message)
