"""Files of one reply on Discord."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bot.chat import File, Files, Json, Receipt, Undeliverable
from bot.discord.api import DiscordApi, FileUpload
from bot.discord.destination import Destination
from bot.discord.errors import NO_PERMISSION, GivenUp, ThreadLocked, code_of
from bot.discord.messages import NONCE, find_messages
from bot.discord.part_timeout import PartTimeout
from bot.discord.texts import FILE_FORBIDDEN, FILE_REFUSED, FILE_TOO_LARGE
from bot.platforms import uploads
from bot.platforms.texts import upload_failed
from bot.platforms.uploads import NotShown

_REASONS = {NO_PERMISSION: FILE_FORBIDDEN, 40005: FILE_TOO_LARGE}


class Uploads(uploads.Uploads):
    """Shows each file once. `at` in the receipt is the time (Unix seconds) of a possible upload."""

    def __init__(
        self,
        api: DiscordApi,
        destination: Destination,
        receipt: Receipt,
        part_timeout: PartTimeout,
        files: Files,
    ) -> None:
        super().__init__(receipt, files)
        self._api = api
        self._destination = destination
        self._part_timeout = part_timeout

    @contextmanager
    def _translate_errors(self, file: File) -> Iterator[None]:
        try:
            yield
        except GivenUp as error:  # not final: if the sentence fails, too, the file is tried again
            raise NotShown(file, upload_failed("Discord"), is_final=False) from error
        except ThreadLocked:  # the answer continues elsewhere, with this file
            raise
        except Undeliverable as error:
            raise NotShown(file, _REASONS.get(code_of(error), FILE_REFUSED)) from error

    async def _was_sent(self, file: File, known: Mapping[str, Json]) -> bool:
        if not known.get("at"):
            return False
        bound = self._part_timeout.limit("history")
        recent = await find_messages(self._api, self._destination, known["at"], bound)
        return any(accepted_name(file.name) in message.files for message in recent)

    async def _upload(self, file: File, content: bytes) -> None:
        await self._note(file, at=time.time())
        nonce = hashlib.sha256(f"{self._receipt.turn.id}:{file.id}".encode()).hexdigest()[:NONCE]
        async with self._part_timeout.limit(f"file {file.id}"):
            await self._api.attach(
                self._destination.channel,
                FileUpload(accepted_name(file.name), content, file.alt),
                nonce=nonce,
                reply_to=self._destination.reply_to,
                hold=self._receipt.hold,
            )


def accepted_name(name: str) -> str:
    """Return the name of a file with only characters that Discord does not replace."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
