"""Socket Mode: two sockets, checked regularly.

Events do not pass through Bolt, which takes 700 function calls for each of them.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from bot.chat import Json, Unreachable
from bot.slack.api import SDK_LOG, Clients
from bot.slack.timing import Timing

log = logging.getLogger(__name__)

SOCKETS = 2
"""slack-sdk closes a socket that Slack wants to replace before it opens the next: the other one receives the
events in between."""

DeliverEvent = Callable[[Mapping[str, Json]], Awaitable[None]]
"""Function that delivers the event in a payload: it is acknowledged when the function returns."""


@contextlib.asynccontextmanager
async def open_sockets(
    app: AsyncApp, deliver: DeliverEvent, clients: Clients, app_token: str, address: str, timing: Timing
) -> AsyncIterator["Sockets"]:
    """Open sockets that pass events to `deliver`, and commands, buttons and forms to `app`.

    The first one uses `address`. Raises `Unreachable` when none opens in time.
    """
    handlers = [_Handler(app, deliver, clients, app_token, timing.ping_interval) for _ in range(SOCKETS)]
    handlers[0].client.wss_uri = address  # Slack limits how many addresses an app requests in a minute
    try:
        await _connect(handlers, timing.connect_timeout)
        yield Sockets(handlers, timing)
    finally:
        for handler in handlers:
            await _close(handler)


class Sockets:
    """The sockets of one connection to Slack."""

    def __init__(self, handlers: Sequence[AsyncSocketModeHandler], timing: Timing) -> None:
        self._handlers = handlers
        self._timing = timing

    async def count_connected(self) -> int:
        """Return how many sockets are open and answer pings."""
        return sum([await handler.client.is_connected() for handler in self._handlers])

    async def watch(self, on_loss: Callable[[], None]) -> None:
        """Check the sockets until cancelled; call `on_loss` while none is open.

        Raises `Unreachable` when none was open for `Timing.down_after` seconds.
        """
        loop = asyncio.get_running_loop()
        alive_at = loop.time()
        while True:
            await asyncio.sleep(self._timing.socket_check_interval)
            if await self.count_connected():
                alive_at = loop.time()
            else:
                on_loss()
                if loop.time() - alive_at >= self._timing.down_after:
                    raise Unreachable(f"Slack: no socket for over {self._timing.down_after:g} s")
            await self._unstick()

    async def _unstick(self) -> None:
        # slack-sdk retries an expired address for ever; without an address it requests a new one
        for handler in self._handlers:
            if not await handler.client.is_connected():
                log.info("Slack socket lost")
                handler.client.wss_uri = None


class _Handler(AsyncSocketModeHandler):
    """Handler that acknowledges payloads in which Bolt cannot find ids: else Slack would repeat them."""

    def __init__(
        self, app: AsyncApp, deliver: DeliverEvent, clients: Clients, app_token: str, ping_interval: float
    ) -> None:
        super().__init__(
            app, app_token, logger=SDK_LOG, web_client=clients.reader, ping_interval=ping_interval
        )
        self.client.proxy = None  # as in bot.slack.api
        self._deliver = deliver

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]  # as Bolt does
        if req.type == "events_api" and isinstance(req.payload, dict):
            await self._deliver(req.payload)
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=req.envelope_id))
            return
        try:
            AsyncBoltRequest(mode="socket_mode", body=req.payload)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("event skipped", extra={"error": repr(error)})
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=req.envelope_id))
            return
        await super().handle(client, req)


async def _connect(handlers: Sequence[AsyncSocketModeHandler], timeout: float) -> None:
    # connect_async retries for ever, so it needs a time limit here
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            for handler in handlers:
                group.create_task(handler.connect_async())  # type: ignore[no-untyped-call]  # Bolt leaves it untyped
    except TimeoutError as error:
        raise Unreachable(f"Slack: no socket within {timeout:g} s") from error


async def _close(handler: AsyncSocketModeHandler) -> None:
    await handler.close_async()  # type: ignore[no-untyped-call]  # as above
    client = handler.client
    tasks = (client.message_processor, client.current_session_monitor, client.message_receiver)
    await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
