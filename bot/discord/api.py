"""Client of Discord's REST API: all that the bot writes, independent of the gateway connection."""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import discord
from discord import ui
from discord.http import handle_message_parameters
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from bot.chat import Json, Unreachable, well_formed
from bot.discord.client import PINGS, Client
from bot.discord.errors import ThreadArchived, ThreadLocked, translate_errors
from bot.discord.timing import Timing
from bot.platforms.request_guard import Hold, guard_requests, trace_config

log = logging.getLogger(__name__)

Result = TypeVar("Result")

TRIES = 3
"""Tries of a request while Discord is unreachable."""

_REPEATED_STATUSES = frozenset({500, 502, 504, 524})
"""Statuses after which discord.py repeats a request itself (http.py, HTTPClient.request, 2.7.1)."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
_REPLY_NEEDS_HISTORY = 160002


@dataclass(frozen=True, slots=True)
class SentMessage:
    """Message of the bot as Discord stores it, with names of its files and the id that it replies to."""

    id: int
    text: str
    files: tuple[str, ...] = ()
    reply_to: int | None = None


@dataclass(frozen=True, slots=True)
class FileUpload:
    """File to send; `alt` is the text for users who cannot see it."""

    name: str
    content: bytes
    alt: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """Discord's gateway: the recommended `shards`, and the limits on new sessions.

    `remaining` sessions may begin in the next `reset_after` seconds, `max_concurrency` every five seconds.
    """

    url: str
    shards: int
    max_concurrency: int
    remaining: int
    reset_after: float


class DiscordApi:
    """Client that only sends; it logs in when it is first needed.

    Every method raises `PlatformError`. All requests are safe to repeat, so a lost connection is an error
    only after three tries. Requests with visible effects take a `hold`, which is awaited before each try; its
    exceptions are passed on.
    """

    def __init__(self, token: str, timing: Timing) -> None:
        self._token = token
        self._timing = timing
        self._client: discord.Client | None = None
        self._login = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client:
            await self._client.close()

    async def open_direct(self, user: int) -> int:
        """Return the channel of the direct messages with a user; opening it is not visible."""

        async def open_(client: discord.Client) -> int:
            opened = await client.http.start_private_message(user)
            return int(opened["id"])

        return await self.request(open_)

    async def send(
        self,
        channel: int,
        text: str,
        *,
        nonce: str,
        reply_to: int | None,
        hold: Hold,
        buttons: ui.View | None = None,
        tell: Sequence[int] = (),
    ) -> SentMessage:
        """Post a message. For some minutes, the same `nonce` returns the message that was posted first.

        Links get no preview: Discord would fetch addresses that a model made up. Users in `tell` are notified
        if the text mentions them.
        """
        form: dict[str, Any] = {
            "content": well_formed(text),
            "nonce": nonce,
            "flags": discord.MessageFlags(suppress_embeds=True),
        }
        if buttons:
            form["view"] = buttons
        if tell:
            form["allowed_mentions"] = _pings(tell)

        async def send(client: discord.Client) -> SentMessage:
            async def post(**reference: Any) -> Json:
                return await _post(client, channel, **form, **reference)

            return _parse_message(await _post_reply(post, channel, reply_to))

        with _locked_if_archived():
            return await self.request(send, hold)

    async def attach(
        self, channel: int, file: FileUpload, *, nonce: str, reply_to: int | None, hold: Hold
    ) -> None:
        """Post a message that is a file; `nonce` as in `send`."""

        async def attach(client: discord.Client) -> None:
            async def post(**reference: Any) -> Json:
                # created for each try, since sending consumes it
                alt = well_formed(file.alt) or None
                content = discord.File(io.BytesIO(file.content), file.name, description=alt)
                return await _post(client, channel, file=content, nonce=nonce, **reference)

            await _post_reply(post, channel, reply_to)

        with _locked_if_archived():
            await self.request(attach, hold, self._timing.upload_timeout)

    async def edit(
        self,
        channel: int,
        message: int,
        content: str | ui.LayoutView,
        *,
        hold: Hold,
        buttons: ui.View | None = None,
        without_buttons: bool = False,
        tell: Sequence[int] = (),
    ) -> None:
        """Replace the text of a message of the bot, and its buttons; without both arguments these stay.

        A layout replaces both for ever: Discord takes no text in its place. The message keeps the mentions of
        users in `tell`. https://docs.discord.com/developers/resources/message#edit-message
        """
        form: dict[str, Any]
        if isinstance(content, ui.LayoutView):
            flags = discord.MessageFlags(suppress_embeds=True)  # discord.py adds that of layouts
            form = {"content": None, "view": content, "flags": flags}
        else:
            form = {"content": well_formed(content)}
            if buttons or without_buttons:
                form["view"] = buttons

        async def edit(client: discord.Client) -> None:
            with handle_message_parameters(**form, allowed_mentions=_pings(tell)) as parameters:
                await client.http.edit_message(channel, message, params=parameters)

        await self.request(edit, hold)

    async def delete(self, channel: int, message: int, *, hold: Hold) -> None:
        """Delete a message of the bot; a missing one is not an error."""

        async def delete(client: discord.Client) -> None:
            try:
                await client.http.delete_message(channel, message)
            except discord.NotFound:
                log.debug("message already deleted", extra={"message_id": message})

        await self.request(delete, hold)

    async def type(self, channel: int, *, hold: Hold) -> None:
        """Show for ten seconds that the bot is typing."""

        async def type_(client: discord.Client) -> None:
            await client.http.send_typing(channel)

        await self.request(type_, hold)

    async def check_token(self, seconds: float) -> None:
        """Request the bot's own user, once and for at most `seconds`. Raises `PlatformError`."""

        async def ask(client: discord.Client) -> None:
            await client.http.request(discord.http.Route("GET", "/users/@me"))

        with translate_errors():
            async with asyncio.timeout(seconds):
                await self._request_once(ask)

    async def gateway(self) -> Gateway:
        """Return the gateway's address and limits."""

        async def ask(client: discord.Client) -> Gateway:
            # not get_bot_gateway, which turns every refusal into the same error
            told = await client.http.request(discord.http.Route("GET", "/gateway/bot"))
            limit = told["session_start_limit"]
            return Gateway(
                url=told["url"],
                shards=told["shards"],
                max_concurrency=limit["max_concurrency"],
                remaining=limit["remaining"],
                reset_after=limit["reset_after"] / 1000,
            )

        return await self.request(ask)

    async def messages_since(
        self, channel: int, when: datetime, *, reply_to: int | None
    ) -> list[SentMessage]:
        """Return the bot's messages in a channel since `when`, oldest first, at most a hundred.

        With `reply_to`, replies to other messages are left out: other conversations in the channel may have
        the same text.
        """

        async def read(client: discord.Client) -> list[SentMessage]:
            assert client.user is not None  # set by login
            after = discord.utils.time_snowflake(when, high=False)
            page: list[Json] = list(await client.http.logs_from(channel, 100, after=after))
            sent = [_parse_message(each) for each in reversed(page) if _is_by(each, client.user.id)]
            # if a reply was not possible, it was sent as a plain message
            return [each for each in sent if reply_to is None or each.reply_to in (reply_to, None)]

        return await self.request(read)

    async def request(
        self,
        call: Callable[[discord.Client], Awaitable[Result]],
        hold: Hold | None = None,
        seconds: float | None = None,
    ) -> Result:
        """Make a request that is safe to repeat, at most `seconds` long each time."""
        backoff = self._timing.request_backoff
        repeated = AsyncRetrying(
            retry=retry_if_exception(_is_worth_repeating),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(backoff, max=10 * backoff),
            reraise=True,
        )
        result: Result = await repeated(self._request_once, call, hold, seconds)
        return result

    async def _request_once(
        self,
        call: Callable[[discord.Client], Awaitable[Result]],
        hold: Hold | None = None,
        seconds: float | None = None,
    ) -> Result:
        client = await self._log_in()
        timing = self._timing
        with translate_errors(is_reading=True), self._reopen_if_closed(client):
            async with (
                asyncio.timeout(timing.request_timeout),
                guard_requests(hold, seconds or timing.exchange_timeout),
            ):
                with _release_global_limit(client):
                    return await call(client)

    @contextmanager
    def _reopen_if_closed(self, client: discord.Client) -> Iterator[None]:
        """Log in again next time if the client's HTTP session is closed: it never opens another one."""
        try:
            yield
        except RuntimeError as error:
            if str(error) != "Session is closed":  # text of aiohttp (client.py, ClientSession._request)
                raise
            if self._client is client:
                self._client = None
            raise Unreachable("the HTTP session of Discord's client was closed") from error

    async def _log_in(self) -> discord.Client:
        async with self._login:
            if self._client is None:
                self._client = await self._new_client()
            return self._client

    async def _new_client(self) -> discord.Client:
        client = Client(discord.Intents(guilds=True), http_trace=trace_config())
        try:
            with translate_errors(is_reading=True):
                async with asyncio.timeout(self._timing.request_timeout):
                    await client.login(self._token)
        except BaseException:  # raised again; a login that fails or is cancelled would leave the session open
            await client.close()
            raise
        return client


def _is_worth_repeating(error: BaseException) -> bool:
    """Return whether Discord was unreachable: other failed requests were sent five times by discord.py."""
    cause = error.__cause__
    has_been_repeated = isinstance(cause, discord.HTTPException) and cause.status in _REPEATED_STATUSES
    return isinstance(error, Unreachable) and not has_been_repeated


@contextmanager
def _release_global_limit(client: discord.Client) -> Iterator[None]:
    """End the wait for Discord's global limit when it is cut short.

    discord.py closes a gate for all requests before that wait, and opens it after it, but not when it is
    cancelled (http.py, HTTPClient.request, 2.7.1): nothing would ever be sent again.
    """
    try:
        yield
    except asyncio.CancelledError:
        client.http._global_over.set()
        raise


@contextmanager
def _locked_if_archived() -> Iterator[None]:
    """Raise `ThreadLocked` for a new message that an archived thread refuses: otherwise it would reopen."""
    try:
        yield
    except ThreadArchived as error:
        raise ThreadLocked(str(error)) from error.__cause__


def _pings(users: Sequence[int]) -> discord.AllowedMentions:
    """Return the rule for a text whose mentions of these users count, beside `PINGS`."""
    return PINGS.merge(discord.AllowedMentions(users=[discord.Object(user) for user in users] or False))


async def _post(client: discord.Client, channel: int, **form: Any) -> Json:
    """Post a message. `Messageable.send` would read the whole answer, with the message replied to."""
    with handle_message_parameters(**form, previous_allowed_mentions=PINGS) as parameters:
        return await client.http.send_message(channel, params=parameters)


async def _post_reply(post: Callable[..., Awaitable[Json]], channel: int, reply_to: int | None) -> Json:
    """Post as a reply if one is wanted and allowed."""
    if reply_to is None:
        return await post()
    question = discord.MessageReference(message_id=reply_to, channel_id=channel, fail_if_not_exists=False)
    try:
        return await post(message_reference=question.to_message_reference_dict())
    except discord.Forbidden as error:
        if error.code != _REPLY_NEEDS_HISTORY:
            raise
        return await post()


def _parse_message(data: Json) -> SentMessage:
    """Read a message of the bot, and only the fields that are needed."""
    reference = (data.get("message_reference") or {}).get("message_id")
    files = tuple(each["filename"] for each in data["attachments"])
    return SentMessage(int(data["id"]), data["content"], files, int(reference) if reference else None)


def _is_by(data: Json, user: int) -> bool:
    match data:
        case {"author": {"id": str(id)}}:
            return id == str(user)
        case _:
            return False
