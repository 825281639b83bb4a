"""The one Redis client that all parts share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bot.chat import StorageDown
from bot.storage.connections import Pool
from bot.storage.sentinel import is_behind_sentinels, open_master

_MODULES = frozenset({"rejson", "search"})
"""Commands that the checkpoint saver and the memory search need; Redis 8 and Redis Stack have both."""

_DRIVER = DriverInfo()
"""Name and version of redis-py: without it each new connection would search the disk for them."""


async def check_redis(url: str) -> None:
    """Check at once, without retries, that this Redis is usable.

    Raises `StorageDown` with a sentence for the operator.
    """
    try:
        async with _client(url, max_connections=1, retry=Retry(NoBackoff(), 0)) as redis:
            modules = {_module_name(each) for each in await redis.module_list()}
    except (RedisError, OSError) as error:
        raise StorageDown(f"REDIS_URL: {_advice(error, has_tls=url.startswith(_TLS))}") from error
    except (TypeError, ValueError) as error:  # redis-py passes the options of an address on as arguments
        raise StorageDown(
            f"REDIS_URL: an option after ? is invalid ({error}); correct or remove it"
        ) from error
    if not modules >= _MODULES:
        raise StorageDown(
            "REDIS_URL: this Redis lacks JSON or Search; use Redis 8 (image redis:8) or Redis Stack"
        )


_TLS = "rediss"


def _advice(error: Exception, *, has_tls: bool) -> str:
    """Return why Redis cannot be used, and what to do about it."""
    text = str(error)
    if isinstance(error, AuthenticationError) or "NOAUTH" in text:
        return f"Redis rejects the user name or password ({text}); write redis://user:password@host:port/0"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "the certificate of Redis is not trusted; for a CA of your own add ?ssl_ca_certs=/path/to/ca.pem "
            f"to the address ({text})"
        )
    if has_tls and "No such file" in text:
        return f"a file in the address, as in ?ssl_ca_certs=/path/to/ca.pem, does not exist ({text})"
    if "SSL" in text or (has_tls and isinstance(error, RedisTimeoutError)):
        return f"Redis does not use TLS there; write redis:// instead of rediss:// ({text})"
    if not has_tls and (
        "closed by server" in text or isinstance(error, InvalidResponse | ConnectionResetError)
    ):
        return f"Redis closes the connection; if it requires TLS, write rediss:// ({text})"
    return f"Redis cannot be reached ({text}); start it, or correct the address"


def _module_name(entry: Mapping[Any, Any]) -> str:
    name = entry.get("name") or entry[b"name"]
    return (name.decode() if isinstance(name, bytes) else str(name)).lower()


async def refusal(redis: Redis) -> str | None:
    """Return the error with which Redis refuses writes (full, read-only, cannot save), or None.

    Errors of the connection pass through.
    """
    try:
        await redis.set("{bot}:probe", 1, ex=60)
    except ResponseError as error:
        return str(error)
    return None


@asynccontextmanager
async def open_redis(url: str, *, pool_size: int) -> AsyncIterator[Redis]:
    """Open a client that survives interruptions of Redis.

    With redis-py's defaults 60 % of 100 concurrent turns failed with `MaxConnectionsError`, and most running
    turns failed on CLIENT KILL, a restart of 2 s or a pause of 10 s; with these settings 12 of 12
    survived each. The protocol stays the default: an explicit 3 breaks the checkpoint saver's searches.
    """
    retry = Retry(ExponentialBackoff(cap=2, base=0.1), 8)
    async with _client(url, max_connections=pool_size, health_check_interval=15, retry=retry) as redis:
        yield redis


def _client(url: str, **options: Any) -> AbstractAsyncContextManager[Redis]:
    """Open a client, and close it with its connections at the end of the context."""
    options |= {"timeout": 10, "socket_timeout": 5, "socket_connect_timeout": 3, "driver_info": _DRIVER}
    if is_behind_sentinels(url):
        return open_master(url, **options)
    return Redis.from_pool(Pool.from_url(url, **options))
