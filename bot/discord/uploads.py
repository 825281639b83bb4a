"""The files of one reply, each in a message of its own below the text."""

import hashlib
import logging
import re
import time
from datetime import UTC, datetime

from bot.chat import File, Files, Json, Notice, Receipt, Undeliverable
from bot.discord.api import Attached, DiscordApi
from bot.discord.destination import Destination
from bot.discord.errors import GivenUp
from bot.discord.messages import CLOCKS, NONCE
from bot.discord.patience import Patience
from bot.discord.renderer import Renderer

log = logging.getLogger(__name__)

_GONE = "I could not show the file {name}: I no longer have it. Ask again, and I make it anew."
_FAILED = "I could not show the file {name}: Discord fails each time I send it. Please ask again later."
_REFUSED = (
    "I could not show the file {name}: Discord does not take it here. It may be too large for this server, "
    "or I lack the permission Attach Files: please ask an admin of the server."
)


class Uploads:
    """Shows files once. Key of the receipt: `files`, by the id of each.

    With `at` (Unix seconds) it may have been sent; `shown` is true once it was; `words` say why it never
    will be.
    """

    def __init__(
        self, api: DiscordApi, destination: Destination, receipt: Receipt, patience: Patience, files: Files
    ) -> None:
        self._api = api
        self._destination = destination
        self._receipt = receipt
        self._patience = patience
        self._files = files

    async def show(self, renderer: Renderer) -> None:
        """Show the files that the renderer has gathered; what keeps one away becomes a notice in it."""
        files, renderer.files = renderer.files, []
        for file in files:
            if words := await self._show(file):
                renderer.add(Notice(words))

    async def _show(self, file: File) -> str:
        """Show one file; the words for why it cannot be shown, or nothing."""
        known = self._known(file)
        if known.get("at") and not known.get("shown") and await self._was_sent(file, known["at"]):
            known = await self._note(file, shown=True)
        if known.get("shown") or known.get("words"):
            return str(known.get("words", ""))
        try:
            async with self._patience.part(f"file {file.id}"):
                words = await self._send(file)
        except GivenUp as error:  # not noted: should even the words fail, the file is tried again
            log.warning("file not shown", extra={"file": file.name, "reason": str(error)})
            return _FAILED.format(name=file.name)
        except Undeliverable as error:
            log.warning("file not shown", extra={"file": file.name, "reason": str(error)})
            words = _REFUSED.format(name=file.name)
        if words:
            await self._note(file, words=words)
        return words

    def _known(self, file: File) -> dict[str, Json]:
        return dict(self._receipt.state.get("files", {}).get(file.id, {}))

    async def _note(self, file: File, **changes: Json) -> dict[str, Json]:
        files = self._receipt.state.get("files", {})
        known = self._known(file) | changes
        await self._receipt.save(files={**files, file.id: known})
        return known

    async def _was_sent(self, file: File, at: float) -> bool:
        since = datetime.fromtimestamp(at, UTC) - CLOCKS
        try:
            async with self._patience.part("history"):
                recent = await self._api.sent_since(
                    self._destination.channel, since, reply_to=self._destination.reply_to
                )
        except Undeliverable:  # we may not read here; the nonce still holds for some minutes
            return False
        return any(_attached_as(file) in message.files for message in recent)

    async def _send(self, file: File) -> str:
        found = await self._files.find(file.id)
        if found is None:
            return _GONE.format(name=file.name)
        await self._note(file, at=time.time())
        nonce = hashlib.sha256(f"{self._receipt.turn.id}:{file.id}".encode()).hexdigest()[:NONCE]
        await self._api.attach(
            self._destination.channel,
            Attached(_attached_as(file), found[1], file.alt),
            nonce=nonce,
            reply_to=self._destination.reply_to,
            hold=self._receipt.hold,
        )
        await self._note(file, shown=True)
        return ""


def _attached_as(file: File) -> str:
    """The name that Discord keeps as it is; it replaces other characters in ways of its own."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.name)
