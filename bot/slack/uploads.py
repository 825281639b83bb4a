"""Files of one reply on Slack.

An upload has three steps: an address, the content, and the call that shows the file in the thread
(https://docs.slack.dev/messaging/working-with-files#uploading_files). Users see only the last one, so the
receipt stores Slack's id of the file before it; after a crash, a message in the thread with that file proves
that it was shown.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bot.chat import File, Files, Json, Receipt, Unreachable
from bot.platforms import uploads
from bot.platforms.texts import upload_failed
from bot.platforms.uploads import NotShown
from bot.slack import texts
from bot.slack.api import SlackApi
from bot.slack.errors import GivenUp, MissingScope, Refused
from bot.slack.messages import ReplyMessages

log = logging.getLogger(__name__)

_TRIES = 3
_ALT_CHARS = 1_000


class Uploads(uploads.Uploads):
    """Shows each file once. `slack` in the receipt is Slack's id of a file that may have been sent."""

    def __init__(self, api: SlackApi, messages: ReplyMessages, receipt: Receipt, files: Files) -> None:
        super().__init__(receipt, files)
        self._api = api
        self._messages = messages

    def has_begun(self, file: File) -> bool:
        """Return whether this or an earlier attempt has tried to show the file."""
        return bool(self._file_state(file))

    async def _save(self, **changes: Json) -> None:
        await self._messages.save(**changes)

    @contextmanager
    def _translate_errors(self, file: File) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            raise NotShown(file, texts.file_refused(error.code)) from error
        except MissingScope as error:
            raise NotShown(file, texts.UPLOAD_NOT_ALLOWED) from error

    async def _was_sent(self, file: File, known: Mapping[str, Json]) -> bool:
        if not known.get("slack"):
            return False
        try:
            async with self._messages.writer.limit("conversations.replies", file.id):
                return await self._messages.sent.has_file(known["slack"])
        except GivenUp:
            return False

    async def _upload(self, file: File, content: bytes) -> None:
        try:
            await self._upload_once(file, content)
        except GivenUp as error:  # one of the requests that failed may have been carried out
            if not await self._is_shown(file):
                raise NotShown(file, upload_failed("Slack")) from error

    async def _upload_once(self, file: File, content: bytes) -> None:
        method, writer = "files.getUploadURLExternal", self._messages.writer
        await writer.room(method)
        alt = {"alt_txt": file.alt[:_ALT_CHARS]} if file.alt else {}
        async with writer.limit(method, file.id):  # like the reading methods, it takes no JSON
            told = await self._api.read(method, filename=file.name, length=file.size, **alt)
        try:
            await self._send(told["upload_url"], content)
        except Unreachable as error:
            raise NotShown(file, upload_failed("Slack")) from error
        await self._note(file, slack=told["file_id"])
        await self._share(told["file_id"], file)

    async def _share(self, slack_id: str, file: File) -> None:
        """Show an uploaded file in a separate message."""
        method, writer, thread = "files.completeUploadExternal", self._messages.writer, self._messages.thread
        await writer.room(method)
        await writer.write(
            method,
            file.id,
            files=[{"id": slack_id, "title": file.name}],
            channel_id=thread.channel,
            thread_ts=thread.thread,
        )

    async def _send(self, url: str, content: bytes) -> None:
        for attempt in range(_TRIES):
            try:
                await self._api.upload(url, content)
            except Unreachable as error:
                log.info("upload failed", extra={"attempt": attempt + 1, "error": str(error)})
                if attempt == _TRIES - 1:
                    raise
            else:
                return
