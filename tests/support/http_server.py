"""HTTP platform without a bot behind it, and raw connections to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from redis.asyncio import Redis

from bot.chat import Event, Message, Part, Receipt, Text, Turn
from bot.commands.commands import Commands
from bot.commands.redis import Operations
from bot.concurrency.tasks import cancel
from bot.http.connections import Bounds
from bot.http.credentials import SHARED, Credentials
from bot.http.platform import Http
from bot.http.timing import Timing
from bot.inbox import Lookup
from bot.platforms.receiver import Webhook
from bot.storage.conversations import RedisConversations
from bot.storage.files import FileStore
from bot.storage.key_value import KeyValueStore
from tests.support.agents import Answer
from tests.support.commands import NO_COMMANDS
from tests.support.wait import wait_until


async def echo(turn: Turn) -> AsyncIterator[Part]:
    """Answer with the question."""
    yield Text(turn.messages[0].text)


def credentials(api_token: str | None) -> Credentials:
    """Return the credentials of a server whose callers share one token, or need none."""
    return Credentials({SHARED: api_token} if api_token else {})


@dataclass
class HttpServer:
    """Server that answers each message at once; `turns` holds the running turns."""

    http: Http
    answer: Answer
    messages: list[Message] = field(default_factory=list)
    turns: set[asyncio.Task[None]] = field(default_factory=set)

    async def deliver(self, event: Event) -> None:
        """Take a message and start to answer it."""
        assert isinstance(event, Message)
        self.messages.append(event)

        async def keep(state: object) -> None:
            pass

        turn = Turn(id=event.id, thread=event.thread, messages=(event,))
        thread = self.http.thread(event.thread)
        self.turns.add(asyncio.create_task(thread.reply(self.answer(turn), Receipt(turn, keep))))

    @property
    def port(self) -> int:
        """Return the server's port."""
        return self.http.port

    async def exchange(self, *pieces: bytes, port: int | None = None) -> bytes:
        """Send bytes over a new connection and return all data until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        try:
            async with asyncio.timeout(20):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def status(self, *pieces: bytes, port: int | None = None) -> int:
        """Send bytes and return the status of the response; 0 if the connection is closed without one."""
        return status_of(await self.exchange(*pieces, port=port))


def status_of(response: bytes) -> int:
    """Return the status of a response, or 0 if there is none."""
    return int(response.split(b" ", 2)[1]) if response else 0


@asynccontextmanager
async def http_server(
    redis: Redis,
    *,
    answer: Answer = echo,
    api_token: str | None = None,
    commands: Commands | None = None,
    webhooks: Mapping[str, Webhook] | None = None,
    bounds: Bounds | None = None,
) -> AsyncIterator[HttpServer]:
    """Serve until the context is left."""
    operations = Operations(KeyValueStore(redis, "kv:"), lambda user: False)
    commands = replace(commands or NO_COMMANDS, operations=operations)
    http = Http(
        host="127.0.0.1",
        port=0,
        credentials=credentials(api_token),
        lookup=Lookup(redis),
        files=FileStore(redis),
        conversations=RedisConversations(redis, 30),
        timing=Timing(),
        bounds=bounds,
    )
    async with http.serve(commands, webhooks or {}):
        server = HttpServer(http, answer)
        receiving = asyncio.create_task(http.receive(server.deliver, commands))
        await wait_until(lambda: _takes_messages(http), "the server takes messages")
        try:
            yield server
        finally:
            await cancel(receiving)


async def _takes_messages(http: Http) -> bool:
    return (await http.health()).state == "ok"
