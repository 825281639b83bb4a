"""Redis behind Sentinels, which report the current master: https://redis.io/docs/latest/develop/reference/sentinel-clients/"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from bot.storage.connections import Pool

_CONNECTIONS = {
    "redis+sentinel": SentinelManagedConnection,
    "rediss+sentinel": SentinelManagedSSLConnection,
}
_PORT = 26379
_SECONDS = 3.0
"""Seconds to wait for a Sentinel before the next one is asked."""


class _Pool(Pool, SentinelConnectionPool):
    """Connection pool of the master that waits for a free connection; redis-py's own pool raises instead."""


def is_behind_sentinels(url: str) -> bool:
    """Return whether `url` names Sentinels: `redis+sentinel://[user:password@]host:port,…/service[/database]`."""
    return urlsplit(url).scheme in _CONNECTIONS


@asynccontextmanager
async def open_master(url: str, **options: Any) -> AsyncIterator[Redis]:
    """Return a client for the current master, according to the Sentinels in `url`; it follows a failover.

    User and password are those of Redis; the Sentinels are asked without them. `options` are for the pool.
    """
    address = urlsplit(url)
    service, _, database = address.path.strip("/").partition("/")
    async with Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        [_host(each) for each in address.netloc.rpartition("@")[2].split(",")],
        sentinel_kwargs={"socket_timeout": _SECONDS, "socket_connect_timeout": _SECONDS},
    ) as sentinels:
        pool = _Pool(
            service_name=service,
            sentinel_manager=sentinels,
            connection_class=_CONNECTIONS[address.scheme],
            db=int(database or 0),
            username=unquote(address.username) if address.username else None,
            password=unquote(address.password) if address.password else None,
            **options,
        )
        async with Redis.from_pool(pool) as redis:
            yield redis


def _host(text: str) -> tuple[str, int]:
    parsed = urlsplit(f"//{text}")
    return parsed.hostname or "", parsed.port or _PORT
