"""Redis and the business database, with the stores that all other parts use."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from bot.chat import Vault
from bot.config import Settings, is_trial, secret_value
from bot.inbox import FencedRedis, Lookup
from bot.inbox.process_name import process_name
from bot.storage.client import open_redis
from bot.storage.conversations import RedisConversations
from bot.storage.coordination import RedisCoordination
from bot.storage.embedded import Servers, writer_dsn
from bot.storage.files import FileStore
from bot.storage.key_value import KeyValueStore
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.role import RoleCheck, RolePolicy
from bot.tools.sql.write import DatabaseWriter, open_database_writer

_WRITING_CONNECTIONS = 2
"""Few connections: changes are rare, because each one needs an approval."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Redis and the business database, with the stores that all other parts use."""

    redis_url: str
    redis: Redis
    fenced_redis: FencedRedis
    process: str
    """Name of this process, the owner of its leases."""
    coordination: RedisCoordination
    lookup: Lookup
    files: FileStore
    conversations: RedisConversations
    keys: KeyValueStore
    database: Database
    writer: DatabaseWriter | None
    vault: Vault | None
    """Secrets of platforms, if any keeps some."""


@asynccontextmanager
async def open_storage(settings: Settings, servers: Servers) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            open_redis(servers.redis_url, pool_size=settings.redis_pool_size)
        )
        role = RoleCheck(_role_policy(settings))
        database = await stack.enter_async_context(
            open_database(servers.database_url, size=settings.db_pool_size, role=role)
        )
        process = stack.enter_context(process_name(settings.bot_name, settings.data_dir))
        yield Storage(
            servers.redis_url,
            redis,
            FencedRedis(redis),
            process,
            RedisCoordination(redis, process),
            Lookup(redis),
            FileStore(redis),
            RedisConversations(redis, settings.thread_ttl_days),
            KeyValueStore(redis, settings.redis_ops_prefix),
            database,
            await _writer(stack, settings, servers.database_url, database),
            await _vault(settings, redis),
        )


async def _vault(settings: Settings, redis: Redis) -> Vault | None:
    """Open the vault if a platform needs it. Raises `ConfigError` if its records have another key."""
    if not any(each.keeps_secrets for each in settings.each_platform()):
        return None
    from bot.storage.vault import RedisVault, encryption_keys  # cryptography takes megabytes

    keys = encryption_keys(secret_value(settings.encryption_key), settings.data_dir)
    vault = RedisVault(redis, keys, "slack")
    await vault.check()
    return vault


async def _writer(
    stack: AsyncExitStack, settings: Settings, database_url: str, readers: Database
) -> DatabaseWriter | None:
    """Open changes of the database, with a separate pool and role."""
    if settings.sql_writes == "off" and not is_trial(settings):
        return None
    dsn = secret_value(settings.database_write_url) or (
        database_url if settings.database_url else writer_dsn(database_url)
    )
    refuses_powers = _role_policy(settings) == "refuse"
    return await stack.enter_async_context(
        open_database_writer(dsn, readers, size=_WRITING_CONNECTIONS, refuses_powers=refuses_powers)
    )


def _role_policy(settings: Settings) -> RolePolicy:
    if settings.sql_allow_privileged_role:
        return "accept"
    return "refuse" if settings.bot_env == "production" else "warn"
