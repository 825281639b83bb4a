"""Transcripts of recordings: a voice message is what its author says, any other recording is data."""

import logging
from dataclasses import replace
from typing import Protocol

from bot.agent import prompts
from bot.agent.attachments import texts
from bot.agent.attachments.file_types import audio_format, is_recording
from bot.agent.attachments.reader import AttachmentLimits, plain_name
from bot.chat import Attachment, FileRefused, FileSource, Message, Quote, Transcripts, Turn
from bot.chat.texts import file_too_large

log = logging.getLogger(__name__)


class Transcriber(Protocol):
    """Service that writes down what is said in a recording."""

    async def transcribe(self, turn: Turn, content: bytes, format: str) -> tuple[str, tuple[str, ...]]:
        """Return the text of a recording, and notices for the user; `format` is the ending of its name.

        Raises `FileRefused`, `BudgetExceeded` and `StorageDown`.
        """


class RecordingReader:
    """Implements `bot.chat.Recordings` with a service."""

    def __init__(self, source: FileSource, limits: AttachmentLimits, transcriber: Transcriber) -> None:
        self._source = source
        self._limits = limits
        self._transcriber = transcriber

    async def transcribe(self, turn: Turn) -> Transcripts | None:
        """Return the transcripts of a turn, or None if it has no recordings."""
        found: dict[str, str] = {}
        problems: dict[str, str] = {}
        notices: list[str] = []
        for message in turn.messages:
            for number, recording in enumerate(_recordings(message)):
                try:
                    text, warnings = await self._text(turn, message, recording, number)
                except FileRefused as error:
                    problems[recording.url] = str(error)
                    notices.append(texts.not_heard(plain_name(recording.name), str(error)))
                    log.info("recording not transcribed", extra={"reason": str(error)})
                    continue
                found[recording.url] = text
                notices += warnings
        if not found and not problems:
            return None
        return Transcripts(texts=found, problems=problems, notices=tuple(notices))

    async def _text(
        self, turn: Turn, message: Message, recording: Attachment, number: int
    ) -> tuple[str, tuple[str, ...]]:
        """Return the text of a message's recording with this number, and notices for the user."""
        if number >= self._limits.count:
            raise FileRefused(texts.too_many_recordings(self._limits.count))
        if recording.size > self._limits.size:
            raise FileRefused(file_too_large(self._limits.size))
        content = await self._source.fetch(message, recording, self._limits.size)
        format = audio_format(content)
        if format is None:
            raise FileRefused(texts.EMPTY if not content else texts.DAMAGED)
        text, warnings = await self._transcriber.transcribe(turn, content, format)
        if not text:
            raise FileRefused(texts.NO_SPEECH)
        most = self._limits.chars
        return (text if len(text) <= most else text[:most] + prompts.CUT_TRANSCRIPT), warnings

    def insert(self, turn: Turn, transcripts: Transcripts) -> Turn:
        """Return the turn with transcripts in place of its recordings."""
        return replace(turn, messages=tuple(_insert(each, transcripts) for each in turn.messages))


def _recordings(message: Message) -> list[Attachment]:
    return [each for each in message.attachments if is_recording(message, each)]


def _insert(message: Message, transcripts: Transcripts) -> Message:
    known = {**transcripts.texts, **transcripts.problems}
    recordings = [each for each in _recordings(message) if each.url in known]
    if not recordings:
        return message
    said = [message.text]
    quotes = list(message.quotes)
    for each in recordings:
        name, text = plain_name(each.name), transcripts.texts.get(each.url)
        if text is None:
            said.append(prompts.UNHEARD.format(name=name, reason=transcripts.problems[each.url]))
        elif each.url in message.voices:
            is_film = each.media_type.startswith("video/")
            said.append((prompts.FILM_TRANSCRIPT if is_film else prompts.TRANSCRIPT).format(text=text))
        else:
            quotes.append(Quote(source=f"the recording {name}, as transcribed", text=text))
    return replace(
        message,
        text="\n\n".join(filter(None, said)),
        quotes=tuple(quotes),
        attachments=tuple(each for each in message.attachments if each not in recordings),
    )
