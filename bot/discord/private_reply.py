"""Private answers: shown only to the user who asked, in place of the response to their command.

One request shows all of it, and can be repeated; others before it show which tools run. Discord takes them
for 15 minutes; after that the answer goes to the user's direct messages.
https://discord.com/developers/docs/interactions/receiving-and-responding
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from discord import ui

from bot.chat import (
    AnswerButtons,
    Approval,
    Files,
    Notice,
    Part,
    PlatformError,
    Question,
    Receipt,
    Request,
    Undeliverable,
)
from bot.commands import approval_texts, question_texts
from bot.commands import ask_texts as texts
from bot.discord.api import DiscordApi, FileUpload
from bot.discord.cards import Piece, file_piece, fits, layout, private_card
from bot.discord.errors import RESPONSE_GONE, code_of
from bot.discord.events import TOKEN
from bot.discord.messages import EditPace, nonce_of
from bot.discord.renderer import Renderer
from bot.discord.request_buttons import buttons
from bot.discord.request_forms import render_private_request
from bot.discord.responses import edit_response
from bot.discord.texts import FILE_REFUSED
from bot.discord.timing import Timing
from bot.discord.uploads import accepted_name
from bot.platforms.read_ahead import ReadAhead
from bot.platforms.texts import FILE_GONE, file, not_shown

log = logging.getLogger(__name__)

_MOST_FILES = 9
_FILE = "answer.md"


@dataclass(slots=True)
class _Answer:
    """Whole answer: its text, its files, and the requests that wait for a user."""

    renderer: Renderer = field(default_factory=Renderer)
    requests: list[Request] = field(default_factory=list)
    files: list[FileUpload] = field(default_factory=list)

    async def take(self, ahead: ReadAhead, patience: float | None) -> None:
        """Add the parts that arrive within `patience` seconds."""
        for part in await ahead.take(patience):
            self.add(part)

    def add(self, part: Part) -> None:
        """Add a part; answers here cannot be rated, since only their user sees them."""
        match part:
            case AnswerButtons():
                pass
            case Approval() | Question() if part.state == "asked":
                self.requests.append(part)
            case Approval():
                self.renderer.add(Notice(approval_texts.request_text(part)))
            case Question():
                self.renderer.add(Notice(question_texts.question_text(part)))
            case _:
                self.renderer.add(part)

    async def finish(self, files: Files) -> None:
        """Read the files; a notice names each one that is not shown."""
        for each in {
            each.id: each for each in self.renderer.files
        }.values():  # a table and an export share one
            found = await files.find(each.id)
            if found is None:
                self.renderer.add(Notice(not_shown(file(each.name), FILE_GONE)))
            elif len(self.files) == _MOST_FILES:
                self.renderer.add(Notice(not_shown(file(each.name), texts.TOO_MANY_FILES)))
            else:
                self.files.append(FileUpload(found[0].name, found[1], found[0].alt))
        self.renderer.finish()

    def message(self) -> tuple[ui.LayoutView, list[FileUpload]]:
        """Return one message, and its files.

        A request is always shown whole, as its user decides by it; a long answer becomes a file.
        """
        files = _with_own_names(self.files)
        pages = self.renderer.messages() or ([] if self.requests else ["…"])
        cards = [private_card(each) for each in self.requests]
        words: list[Piece] = [ui.TextDisplay(each) for each in pages]
        if not fits([*words, *cards, *map(file_piece, files)]):
            whole = "\n\n".join(["".join(pages), *map(render_private_request, self.requests)])
            files.insert(0, FileUpload(_FILE, whole.encode(), ""))
            words = [ui.TextDisplay(each) for each in [*([] if cards else pages[:1]), texts.WHOLE_ANSWER]]
            more = ui.TextDisplay[Any](texts.MORE_REQUESTS)
            while cards and not fits([*words, *cards, more, *map(file_piece, files)]):
                cards.pop()
            words += [more] if len(cards) < len(self.requests) else []
        return layout([*words, *cards, *map(file_piece, files)]), files


def _with_own_names(files: Sequence[FileUpload]) -> list[FileUpload]:
    """Return files with names that Discord does not change, each another: a layout names its files."""
    named: dict[str, FileUpload] = {}
    for number, each in enumerate(files, 1):
        name = accepted_name(each.name)
        name = f"{number}_{name}" if name in named or name == _FILE else name
        named[name] = replace(each, name=name)
    return list(named.values())


async def reply_privately(
    api: DiscordApi,
    files: Files,
    parts: AsyncIterator[Part],
    receipt: Receipt,
    pace: EditPace,
    timing: Timing,
) -> None:
    """Show `parts` when all have come. Raises the exception with which they end, and `PlatformError`."""
    if receipt.state.get("finished"):
        return
    answer = _Answer()
    async with ReadAhead(parts) as ahead:
        while not ahead.has_ended:
            await answer.take(ahead, None)
            if answer.renderer.is_working and not ahead.has_ended:
                await answer.take(ahead, timing.step_delay)
            if answer.renderer.is_working and "sent" not in receipt.state:
                await pace.turn(int(receipt.turn.messages[-1].place["author"]))
                await answer.take(ahead, 0)
                if answer.renderer.is_working:
                    await _show_steps(api, answer, receipt)
        if ahead.failure:
            raise ahead.failure
    await answer.finish(files)
    if "sent" not in receipt.state:  # else it has begun to go to direct messages
        try:
            await _show(api, answer, receipt)
        except Undeliverable as error:
            log.info("private answer not shown", extra={"error": str(error)})
            await receipt.save(sent=0, is_response_gone=code_of(error) in RESPONSE_GONE)
    if "sent" in receipt.state:
        try:
            await _show_directly(api, answer, receipt)
        except Undeliverable:
            await _end_response(api, receipt, texts.SHOWN_NOWHERE)
            raise
        await _end_response(api, receipt, texts.SHOWN_DIRECTLY)
    receipt.note(finished=True)


async def _end_response(api: DiscordApi, receipt: Receipt, text: str) -> None:
    """Show in the response where the answer is: otherwise it would show for ever that something runs."""
    if not receipt.state.get("is_response_gone", True):
        await _show_text(api, receipt, text)


async def _show_steps(api: DiscordApi, answer: _Answer, receipt: Receipt) -> None:
    """Show what has come and which tools run."""
    await _show_text(api, receipt, answer.renderer.messages()[-1])


async def _show_text(api: DiscordApi, receipt: Receipt, text: str) -> None:
    """Show a text in the response; the answer does not depend on it."""
    token = receipt.turn.messages[-1].place[TOKEN]
    try:
        content = layout([ui.TextDisplay(text)])  # no text: Discord takes none in place of a layout
        await api.request(partial(edit_response, token=token, content=content), receipt.hold)
    except PlatformError as error:
        log.debug("state of a private answer not shown", extra={"error": str(error)})


async def _show(api: DiscordApi, answer: _Answer, receipt: Receipt) -> None:
    content, files = answer.message()
    token = receipt.turn.messages[-1].place[TOKEN]
    await api.request(partial(edit_response, token=token, content=content, files=files), receipt.hold)


async def _show_directly(api: DiscordApi, answer: _Answer, receipt: Receipt) -> None:
    """Send the answer to the user's direct messages. Key of the receipt: `sent`, the number of messages."""
    channel = await api.open_direct(int(receipt.turn.messages[-1].place["author"]))
    pages = [(each, None) for each in [texts.NOT_SHOWN_THERE, *answer.renderer.messages()]]
    requests = [(render_private_request(each), buttons(each)) for each in answer.requests]
    everything: list[tuple[str, ui.View | None] | FileUpload] = [*pages, *requests, *answer.files]
    for number, each in enumerate(everything):
        if number < receipt.state["sent"]:
            continue
        to: dict[str, Any] = {
            "nonce": nonce_of(receipt.turn, f"private {number}"),
            "reply_to": None,
            "hold": receipt.hold,
        }
        if isinstance(each, FileUpload):
            await _attach(api, channel, each, to)
        else:
            await api.send(channel, each[0], buttons=each[1], **to)
        await receipt.save(sent=number + 1)


async def _attach(api: DiscordApi, channel: int, upload: FileUpload, to: Mapping[str, Any]) -> None:
    """Send a file, or a sentence that says why not."""
    try:
        await api.attach(channel, upload, **to)
    except Undeliverable as error:
        log.info("file of a private answer not shown", extra={"error": str(error)})
        await api.send(channel, not_shown(file(upload.name), FILE_REFUSED), **to)
