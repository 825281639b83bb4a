"""Files of one reply, each shown once in a separate message below the text."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from bot.chat import File, Files, Json, Notice, Receipt
from bot.platforms import texts

log = logging.getLogger(__name__)


class Renderer(Protocol):
    """Renderer of an answer; `files` are those not shown yet."""

    files: list[File]

    def add(self, part: Notice) -> None:
        """Add the next part."""


class NotShown(Exception):
    """Error for a file that cannot be shown, for a reason as in `bot.platforms.texts.not_shown`.

    Its text is a sentence for the user. Unless it `is_final`, the next attempt at the reply tries the file
    again.
    """

    def __init__(self, file: File, reason: str, *, is_final: bool = True) -> None:
        super().__init__(texts.not_shown(texts.file(file.name), reason))
        self.is_final = is_final


class Uploads(ABC):
    """Shows each file once. Key of the receipt: `files`, by the bot's id of each.

    `shown` is true once a file is shown, `words` are the reason why it never will be. A platform adds what
    proves that a file was sent, after a crash during the upload.
    """

    def __init__(self, receipt: Receipt, files: Files) -> None:
        self._receipt = receipt
        self._files = files

    async def show(self, renderer: Renderer) -> bool:
        """Show the files of the renderer, and add a notice to it for each that cannot be shown.

        Returns whether there was such a notice. Raises `PlatformError` if a later attempt may succeed.
        """
        problems = [problem for file in renderer.files if (problem := await self._show(file))]
        renderer.files = []  # not before: if the place takes none of them, they are shown in another one
        for problem in problems:
            renderer.add(Notice(problem))
        return bool(problems)

    async def _show(self, file: File) -> str:
        """Show one file; return nothing, or a sentence if it cannot be shown."""
        if problem := self._file_state(file).get("words"):
            return str(problem)
        try:
            with self._translate_errors(file):
                if not await self._is_shown(file):
                    await self._upload(file, await self._content(file))
                    await self._note(file, shown=True)
        except NotShown as error:
            sentence = str(error)
            log.warning("file not shown", extra={"file": file.name, "reason": str(error.__cause__ or error)})
            if error.is_final:
                await self._note(file, words=sentence)
            return sentence
        return ""

    async def _content(self, file: File) -> bytes:
        found = await self._files.find(file.id)
        if found is None:
            raise NotShown(file, texts.FILE_GONE)
        return found[1]

    async def _is_shown(self, file: File) -> bool:
        """Return whether the file is shown, as far as is known."""
        known = self._file_state(file)
        if not known.get("shown") and await self._was_sent(file, known):
            known = await self._note(file, shown=True)
        return bool(known.get("shown"))

    def _file_state(self, file: File) -> dict[str, Json]:
        return dict(self._receipt.state.get("files", {}).get(file.id, {}))

    async def _note(self, file: File, **changes: Json) -> dict[str, Json]:
        files = self._receipt.state.get("files", {})
        known = self._file_state(file) | changes
        await self._save(files={**files, file.id: known})
        return known

    async def _save(self, **changes: Json) -> None:
        await self._receipt.save(**changes)

    @abstractmethod
    def _translate_errors(self, file: File) -> AbstractContextManager[None]:
        """Raise `NotShown` for permanent errors of the platform."""

    @abstractmethod
    async def _was_sent(self, file: File, known: Mapping[str, Json]) -> bool:
        """Return whether an earlier attempt, which left `known` in the receipt, has sent the file."""

    @abstractmethod
    async def _upload(self, file: File, content: bytes) -> None:
        """Send the file. Raises `PlatformError` or `NotShown`."""
