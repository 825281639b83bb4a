"""The files of one reply, each in a message of its own below the text.

Slack takes a file in three steps: an address for it, the bytes, and the call that shows it in the thread
(https://docs.slack.dev/messaging/working-with-files#uploading_files). Only the last one is seen, so the
receipt is told Slack's id of the file before it; after a crash in it a message of the thread that has that
file is the proof that it was shown.
"""

import logging

from bot.chat import File, Files, Json, Notice, Receipt, Unreachable
from bot.slack.api import SlackApi
from bot.slack.errors import GivenUp, MissingScope, Refused
from bot.slack.messages import Messages
from bot.slack.renderer import Renderer

log = logging.getLogger(__name__)

_TRIES = 3
_ALT_CHARS = 1_000

_NO_SCOPE = (
    "I could not show the file {name}: this Slack app may not upload files yet. Please ask whoever runs me "
    "to install it again from manifest.yml (scope files:write)."
)
_GONE = "I could not show the file {name}: I no longer have it. Ask again, and I make it anew."
_REFUSED = (
    "I could not show the file {name}: Slack does not take it ({reason}). An admin of the workspace may help."
)
_UNREACHABLE = "I could not show the file {name}: Slack did not take the upload. Ask again in a few minutes."


class Uploads:
    """Shows files once. Key of the receipt: `files`, by our id of each.

    With `slack` (Slack's id) it may be on its way; `shown` is true once it is; `words` say why it never
    will be.
    """

    def __init__(self, api: SlackApi, messages: Messages, receipt: Receipt, files: Files) -> None:
        self._api = api
        self._messages = messages
        self._receipt = receipt
        self._files = files

    async def show(self, renderer: Renderer) -> bool:
        """Show the files that the renderer has gathered; what keeps one away becomes a notice in it.

        Returns whether there was such a notice. Raises `PlatformError` when it may work later.
        """
        files, renderer.files = renderer.files, []
        problems = [words for file in files if (words := await self._show(file))]
        for words in problems:
            renderer.add(Notice(words))
        return bool(problems)

    async def _show(self, file: File) -> str:
        """Show one file; the words for why it cannot be shown, or nothing."""
        known = self._known(file)
        if known.get("words"):
            return str(known["words"])
        try:
            if await self._is_shown(file):
                return ""
            words = await self._upload(file)
        except GivenUp:  # one of the requests that failed may have been carried out
            if await self._is_shown(file):
                return ""
            words = _UNREACHABLE.format(name=file.name)
        except Refused as error:
            words = _REFUSED.format(name=file.name, reason=error.code)
        except MissingScope:
            words = _NO_SCOPE.format(name=file.name)
        if words:
            log.warning("file not shown", extra={"file": file.name, "reason": words})
            await self._note(file, words=words)
        return words

    async def _is_shown(self, file: File) -> bool:
        """Return whether the file is shown, as far as can be known."""
        known = self._known(file)
        if known.get("slack") and not known.get("shown"):
            try:
                async with self._messages.writer.bounded("conversations.replies", file.id):
                    is_there = await self._messages.has_file(known["slack"])
            except GivenUp:
                return False
            if is_there:
                known = await self._note(file, shown=True)
        return bool(known.get("shown"))

    def _known(self, file: File) -> dict[str, Json]:
        return dict(self._receipt.state.get("files", {}).get(file.id, {}))

    async def _note(self, file: File, **changes: Json) -> dict[str, Json]:
        files = self._receipt.state.get("files", {})
        known = self._known(file) | changes
        await self._messages.save(files={**files, file.id: known})
        return known

    async def _upload(self, file: File) -> str:
        found = await self._files.find(file.id)
        if found is None:
            return _GONE.format(name=file.name)
        method, writer = "files.getUploadURLExternal", self._messages.writer
        await writer.room(method)
        alt = {"alt_txt": file.alt[:_ALT_CHARS]} if file.alt else {}
        async with writer.bounded(method, file.id):  # it takes no JSON, as what reads
            told = await self._api.read(method, filename=file.name, length=file.size, **alt)
        try:
            await self._send(told["upload_url"], found[1])
        except Unreachable:
            return _UNREACHABLE.format(name=file.name)
        await self._note(file, slack=told["file_id"])
        await self._messages.share(told["file_id"], file)
        await self._note(file, shown=True)
        return ""

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
