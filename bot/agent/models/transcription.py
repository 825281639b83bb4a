"""Transcription of recordings by an OpenAI-compatible service: `POST /audio/transcriptions`."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from pydantic import SecretStr
from yarl import URL

from bot.agent.models import errors, texts
from bot.agent.models.errors import CallFailed
from bot.agent.models.metering import call_meter
from bot.agent.models.session import open_session
from bot.chat import FileRefused, Json, Meter, Notice, Part, Tokens, Turn

log = logging.getLogger(__name__)

_MOST_BYTES = 2 << 20
"""Largest response: the words of many hours."""

_TRIES = 2
_PAUSE = 0.5
_TEMPORARY = (errors.TROUBLE, errors.BROKEN, errors.UNREACHABLE, errors.SLOW, errors.BUSY)
_MEDIA_TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4"}


class Transcription:
    """Transcriber by one model of a service, with `seconds` for each attempt.

    Usage is counted if the service reports it in tokens; some report only the length of the recording.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        headers: Mapping[str, str],
        model: str,
        seconds: float,
        meter: Meter | None,
    ) -> None:
        self._session = session
        self._url = url
        self._headers = headers
        self._model = model
        self._seconds = seconds
        self._meter = meter

    async def transcribe(self, turn: Turn, content: bytes, format: str) -> tuple[str, tuple[str, ...]]:
        """Return the text of a recording, and notices for the user.

        Raises `FileRefused`, `BudgetExceeded` and `StorageDown`.
        """
        notices: list[Part] = []
        measure = call_meter(self._meter, turn, notices.append)
        try:
            async with measure(self._model, Tokens()) as usage:
                answer = await self._ask(content, format)
                usage.tokens = _tokens(answer.get("usage"))
        except CallFailed as error:
            log.warning("transcription failed", extra={"model": self._model, "error": str(error)})
            raise FileRefused(_reason(error)) from None
        text = str(answer.get("text") or "").strip()
        return text, tuple(each.text for each in notices if isinstance(each, Notice))

    async def _ask(self, content: bytes, format: str) -> Mapping[str, Json]:
        """Send the recording and return the answer. Raises `CallFailed`."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._ask_once(content, format)
            except CallFailed as error:
                if attempt == _TRIES or error.cause not in _TEMPORARY:
                    raise
            await asyncio.sleep(_PAUSE)
        raise AssertionError("unreachable")

    async def _ask_once(self, content: bytes, format: str) -> Mapping[str, Json]:
        form = aiohttp.FormData()
        media_type = _MEDIA_TYPES.get(format, f"audio/{format}")
        # services tell the format from the name
        form.add_field("file", io.BytesIO(content), filename=f"recording.{format}", content_type=media_type)
        form.add_field("model", self._model)
        form.add_field("response_format", "json")
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._session.post(
                    self._url, data=form, headers=self._headers, allow_redirects=False
                ) as response,
            ):
                body = b""
                while len(body) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                    body += more
        except TimeoutError:
            raise CallFailed(errors.SLOW, f"no transcript after {self._seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise CallFailed(errors.UNREACHABLE, f"{type(error).__name__}: {error}") from None
        if response.status != 200:
            headers = {name.lower(): value for name, value in response.headers.items()}
            raise errors.of_status(response.status, headers, body[:_MOST_BYTES].decode(errors="replace"))
        return _object(body)


def _object(body: bytes) -> Mapping[str, Json]:
    try:
        answer: Json = json.loads(body) if len(body) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise CallFailed(errors.REFUSED, f"{len(body)} bytes in place of a transcript")
    return answer


def _tokens(usage: Json) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    match usage.get("input_tokens"), usage.get("output_tokens"):
        case int(read), int(written) if read >= 0 and written >= 0:
            return Tokens(read, written)
    return None


def _reason(error: CallFailed) -> str:
    """Return the reason for the user, which completes a sentence of `bot.agent.attachments.texts`."""
    if error.cause in _TEMPORARY:
        return texts.TRANSCRIPTION_DOWN
    return texts.TRANSCRIPTION_TOO_LONG if error.cause is errors.TOO_LONG else texts.TRANSCRIPTION_REFUSED


@asynccontextmanager
async def open_transcription(
    *, name: str | None, api_key: SecretStr | None, base_url: str | None, timeout: float, meter: Meter | None
) -> AsyncIterator[Transcription | None]:
    """Open the transcription by the model `name`, None without one; `timeout` is in seconds."""
    if name is None:
        yield None
        return
    # over a second: only on demand
    from bot.agent.models.openai_service import endpoint, service_headers

    url = endpoint(base_url, "audio/transcriptions")
    headers = {
        header: value
        for header, value in service_headers(api_key, url).items()
        if header not in ("Content-Type", "Accept")  # that of a form has its boundary
    }
    async with open_session(url, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Transcription(session, url, headers, name, timeout, meter)
