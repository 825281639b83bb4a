"""Tables, charts and files of one reply: in their best form that the workspace takes, each shown once.

Tables and charts are extra messages with keys that count them. The model's results are stored before they are
shown, so a key means the same in each attempt. Key of the receipt: `forms`, by the key of each table the form
that was tried last, which is the one shown if its message exists.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence

from bot.chat import Artifact, File, Receipt, Table
from bot.slack.data_blocks import CHART, TableForm, chart_content, is_all, rows_in, table_content
from bot.slack.errors import GivenUp, Refused
from bot.slack.messages import ReplyMessages
from bot.slack.renderer import Renderer
from bot.slack.uploads import Uploads

log = logging.getLogger(__name__)

_ABOUT_BLOCKS = ("invalid_block", "unsupported", "block_type", "invalid_arguments")
"""Beginnings of the codes with which Slack refuses a kind of block."""


class NativeBlocks:
    """Kinds of blocks that one workspace has refused within the last `seconds`.

    A kind that it has taken before is refused for what is in it, which says nothing about the next one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._refused_until: dict[str, float] = {}
        self._taken: set[str] = set()

    def accepts(self, kind: str) -> bool:
        """Return whether a kind of block is worth a try."""
        return self._refused_until.get(kind, 0.0) <= time.monotonic()

    def note_taken(self, kind: str) -> None:
        """Note that the workspace has taken a kind of block."""
        self._taken.add(kind)

    def note_refused(self, kind: str, error: Refused) -> None:
        """Note the refusal of a message with a kind of block, if that may be the reason."""
        log.info("block refused", extra={"block": kind, "error": str(error)})
        if kind not in self._taken and error.code.startswith(_ABOUT_BLOCKS):
            self._refused_until[kind] = time.monotonic() + self._seconds


class Artifacts:
    """Shows the artifacts of a reply below its text, in order."""

    def __init__(
        self, messages: ReplyMessages, receipt: Receipt, uploads: Uploads, native: NativeBlocks
    ) -> None:
        self._messages = messages
        self._receipt = receipt
        self._uploads = uploads
        self._native = native
        self._counts: Counter[str] = Counter()

    async def show(self, renderer: Renderer) -> bool:
        """Show the artifacts of the renderer, and add a notice to it for each file that cannot be shown.

        Returns whether there was such a notice. Raises `PlatformError` if a later attempt may succeed.
        """
        artifacts, renderer.artifacts = renderer.artifacts, []
        has_notices = False
        for artifact in artifacts:
            renderer.files += await self._show(artifact)
            has_notices = await self._uploads.show(renderer) or has_notices
        return has_notices

    async def _show(self, artifact: Artifact) -> Sequence[File]:
        """Show an artifact as a message, and return the files that are still to be shown."""
        if isinstance(artifact, Table):
            return await self._show_table(artifact, self._key("table"))
        if artifact.chart is None:
            return [artifact]
        return await self._show_chart(artifact, self._key("chart"))

    def _key(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind} {self._counts[kind]}"

    async def _show_table(self, table: Table, key: str) -> Sequence[File]:
        if not (self._messages.has_posted(key) or await self._post_table(table, key)):
            return [table.file]
        form: TableForm = self._receipt.state.get("forms", {}).get(key, "text")
        return [] if is_all(table, form) else [table.file]

    async def _post_table(self, table: Table, key: str) -> bool:
        """Post a table in the best form that Slack takes; return False if it takes none."""
        forms: list[TableForm] = [
            form
            for form in ("data_table", "table", "text")
            if form == "text" or (self._native.accepts(form) and rows_in(table, form))
        ]
        while forms:
            form = forms.pop(0)
            self._note_form(key, form)
            try:
                await self._messages.post_form(key, table_content(table, form))
            except GivenUp:
                forms = forms[-1:]  # the plainest may be taken
            except Refused as error:
                self._native.note_refused(form, error)
            else:
                self._native.note_taken(form)
                return True
        return False

    def _note_form(self, key: str, form: TableForm) -> None:
        """Note the form that is about to be tried; the writer stores it first."""
        self._receipt.note(forms={**self._receipt.state.get("forms", {}), key: form})

    async def _show_chart(self, file: File, key: str) -> Sequence[File]:
        if self._messages.has_posted(key):
            return []
        content = chart_content(file.chart, file.alt) if file.chart else None
        if content is None or not self._native.accepts(CHART) or self._uploads.has_begun(file):
            return [file]
        try:
            await self._messages.post_form(key, content)
        except Refused as error:
            if not isinstance(error, GivenUp):
                self._native.note_refused(CHART, error)
            return [file]
        self._native.note_taken(CHART)
        return []
