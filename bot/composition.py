"""Composition root: opens all parts, runs them on one event loop, closes them in order.

The shutdown order, defined only here:

1. the platforms stop receiving (events that they have not acknowledged arrive again later);
2. running turns finish within SHUTDOWN_GRACE, the others go back to the inbox;
3. the HTTP server closes, then the agent, the platforms and the pools, then the embedded servers.
"""

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.tools import BaseTool
from redis.asyncio import Redis

from bot.access.approvals import Approvals, Copies, Moderators, RequestStore
from bot.access.control import AccessControl, build_access_control
from bot.agent import Agent, Model, ThreadData, offline_model, open_agent
from bot.agent.attachments import AttachmentLimits, AttachmentReader
from bot.app import Bot
from bot.chat import HealthCheck, PersonalDataSource
from bot.commands.commands import Commands
from bot.commands.health import HealthChecks
from bot.commands.redis import Operations
from bot.concurrency.watchdog import Watchdog
from bot.config import Settings, secret_value
from bot.http.platform import Http
from bot.inbox import Erasure, FencedRedis, Inbox, Lookup, admin, is_current, note_hang
from bot.inbox.process_name import process_name
from bot.memory import AccountLinks, Embeddings, LongTermMemory, OfflineEmbeddings
from bot.memory.personal_data import PersonalData
from bot.platforms.adapter import Adapter
from bot.platforms.registry import Platforms, open_platforms
from bot.storage.client import check_redis, open_redis
from bot.storage.coordination import RedisCoordination
from bot.storage.embedded import Servers, embedded_redis, writer_dsn
from bot.storage.files import FileStore
from bot.storage.health import RedisHealth
from bot.storage.key_value import KeyValueStore
from bot.tools import Database, DatabaseWriter, open_database, open_database_writer, toolset
from bot.tools.plugins import Plugins, open_plugins
from bot.tools.sql.role import RoleCheck, RolePolicy
from bot.turn import Durations, Turns

log = logging.getLogger(__name__)

_WRITING_CONNECTIONS = 2
"""Few connections: changes are rare, because each one needs an approval."""


@asynccontextmanager
async def open_bot(
    settings: Settings, servers: Servers, adapters: Sequence[Adapter[Any]]
) -> AsyncIterator[Bot]:
    """Open all parts according to `settings`, and the platforms.

    Raises `ConfigError` if a setting must be fixed.
    """
    durations = Durations()
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(_open_storage(settings, servers))
        access = _build_access(settings, storage)
        platforms = await stack.enter_async_context(
            open_platforms(adapters, settings, storage.coordination, storage.lookup, storage.files)
        )
        parts = await stack.enter_async_context(_open_agent(settings, storage, access, platforms))
        check_health = _build_health_checks(settings, storage, access, parts, platforms, durations)
        commands = Commands(
            check_health,
            access.inbox.stop,
            access.approvals,
            Operations(storage.keys, access.control.allow_list.is_admin),
            access.control.usage,
            _build_personal_data(settings, storage, access, parts),
            access.control.allow_list.is_admin,
        )
        http = next((each for each in platforms if isinstance(each, Http)), None)
        page = await stack.enter_async_context(http.serve(commands, platforms.webhooks)) if http else None
        copies = Copies(access.approvals, platforms.of, storage.lookup, settings.approvals_channel)
        turns = Turns(
            parts.agent,
            platforms.thread,
            access.control,
            settings.turn_timeout,
            commands,
            copies,
            durations,
            parts.long_term_memory.filer if settings.enable_memory else None,
        )
        await parts.plugins.wait_for_start()
        note = partial(_note_hang, storage.redis_url, access.inbox)
        watchdog = Watchdog(settings.lease_seconds, lambda: access.inbox.under_way, note)
        yield Bot(
            settings,
            platforms,
            access.inbox,
            storage.lookup,
            access.approvals,
            turns,
            commands,
            check_health,
            watchdog,
            page,
        )


@dataclass(frozen=True, slots=True)
class _Storage:
    """Redis and the business database, with the stores that all other parts use."""

    redis_url: str
    redis: Redis
    fenced_redis: FencedRedis
    process: str
    """Name of this process, the owner of its leases."""
    coordination: RedisCoordination
    lookup: Lookup
    files: FileStore
    keys: KeyValueStore
    database: Database
    writer: DatabaseWriter | None


@asynccontextmanager
async def _open_storage(settings: Settings, servers: Servers) -> AsyncIterator[_Storage]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            open_redis(servers.redis_url, pool_size=settings.redis_pool_size)
        )
        role = RoleCheck(_role_policy(settings))
        database = await stack.enter_async_context(
            open_database(servers.database_url, size=settings.db_pool_size, role=role)
        )
        process = stack.enter_context(process_name(settings.bot_name, settings.data_dir))
        yield _Storage(
            servers.redis_url,
            redis,
            FencedRedis(redis),
            process,
            RedisCoordination(redis, process),
            Lookup(redis),
            FileStore(redis),
            KeyValueStore(redis, settings.redis_ops_prefix),
            database,
            await _writer(stack, settings, servers.database_url, database),
        )


@dataclass(frozen=True, slots=True)
class _Access:
    """Inbox, access control and approvals."""

    control: AccessControl
    account_links: AccountLinks
    inbox: Inbox
    approvals: Approvals


def _build_access(settings: Settings, storage: _Storage) -> _Access:
    requests, account_links = RequestStore(storage.redis), AccountLinks(storage.redis)
    inbox = Inbox(
        storage.redis,
        name=storage.process,
        follow_days=settings.thread_ttl_days,
        stop_policy=Moderators(settings.admin_users, settings.who_approves, requests),
    )
    approvals = Approvals(
        requests,
        inbox.put,
        settings.who_approves,
        settings.approval_hours,
        settings.approval_four_eyes,
        account_links.authors,
        partial(is_current, storage.redis),
    )
    return _Access(build_access_control(settings, storage.redis), account_links, inbox, approvals)


@dataclass(frozen=True, slots=True)
class _AgentParts:
    """The agent, with its model, its tools and its long-term memory."""

    agent: Agent
    model: Model
    plugins: Plugins
    long_term_memory: LongTermMemory


@asynccontextmanager
async def _open_agent(
    settings: Settings, storage: _Storage, access: _Access, platforms: Platforms
) -> AsyncIterator[_AgentParts]:
    async with AsyncExitStack() as stack:
        long_term_memory = LongTermMemory(
            storage.fenced_redis,
            await stack.enter_async_context(_embeddings(settings)),
            access.account_links,
            platforms.audience,
            fact_days=settings.memory_ttl_days,
            turn_days=settings.thread_ttl_days,
        )
        if settings.enable_memory and "worker" in settings.bot_roles:  # workers know all platforms
            await stack.enter_async_context(long_term_memory.filer.in_background())
        wanted = settings.plugins if "worker" in settings.bot_roles else None
        memory = long_term_memory if settings.enable_memory else None
        own = toolset(storage.database, memory, None, storage.files.keep, storage.writer, platforms)
        plugins = await stack.enter_async_context(open_plugins(wanted, storage.redis, own))
        model = await stack.enter_async_context(_model(settings, plugins.toolbox))
        has_sight = settings.has_model and settings.openai_vision
        limits = AttachmentLimits(
            size=settings.file_max_bytes, count=settings.file_max_count, chars=settings.file_text_chars
        )
        agent = await stack.enter_async_context(
            open_agent(
                storage.fenced_redis,
                model,
                plugins.toolbox,
                access.approvals,
                owners=long_term_memory.owners,
                attachments=AttachmentReader(platforms, storage.files, limits, sees_pictures=has_sight),
                pictures=storage.files if has_sight else None,
                max_iterations=settings.max_iterations,
                history_tokens=settings.history_tokens,
                ttl_days=settings.thread_ttl_days,
                has_memory=settings.enable_memory,
                meter=access.control.budget,
                is_restricted=access.control.allow_list.is_restricted,
                contexts=platforms,
                most_context=settings.context_messages,
            )
        )
        yield _AgentParts(agent, model, plugins, long_term_memory)


def _build_personal_data(
    settings: Settings, storage: _Storage, access: _Access, parts: _AgentParts
) -> PersonalData:
    owners, erasure = parts.long_term_memory.owners, Erasure(storage.redis, access.inbox)
    threads = ThreadData(parts.agent, owners, erasure)
    sources: list[PersonalDataSource] = [threads, owners, erasure, access.approvals]
    if access.control.budget:
        sources.append(access.control.budget)
    return PersonalData(owners, access.account_links, sources, is_on=settings.enable_memory)


def _build_health_checks(
    settings: Settings,
    storage: _Storage,
    access: _Access,
    parts: _AgentParts,
    platforms: Platforms,
    durations: Durations,
) -> HealthChecks:
    services: list[HealthCheck] = [RedisHealth(storage.redis), storage.database, parts.model]
    others: list[HealthCheck] = [access.inbox, durations]
    if storage.writer:
        others.append(storage.writer)
    if settings.who_approves:
        others.append(access.approvals)
    if parts.plugins:
        others.append(parts.plugins)
    return HealthChecks(services, platforms.listeners, others)


async def _writer(
    stack: AsyncExitStack, settings: Settings, database_url: str, readers: Database
) -> DatabaseWriter | None:
    """Open changes of the database, with a separate pool and role."""
    if settings.sql_writes == "off":
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


@asynccontextmanager
async def _model(settings: Settings, tools: Sequence[BaseTool]) -> AsyncIterator[Model]:
    if not settings.has_model:
        yield offline_model(tools)
        return
    from bot.agent.models.openai_service import open_model  # takes over a second: only on demand

    async with open_model(
        name=settings.openai_model,
        fallback=settings.openai_fallback_model,
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=settings.request_timeout,
        tools=tools,
    ) as model:
        yield model


@asynccontextmanager
async def _embeddings(settings: Settings) -> AsyncIterator[Embeddings]:
    if settings.openai_embedding_model is None:
        yield OfflineEmbeddings()
        return
    from bot.memory.openai_embeddings import open_embeddings  # as in _model

    async with open_embeddings(
        name=settings.openai_embedding_model,
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=settings.request_timeout,
    ) as embeddings:
        yield embeddings


async def serve(settings: Settings, servers: Servers, adapters: Sequence[Adapter[Any]]) -> None:
    """Open the bot with these servers and platforms, and run it until SIGTERM or SIGINT.

    Until it is ready the first signal ends it, afterwards the second one does, which raises `CancelledError`.
    """
    stop = asyncio.Event()
    is_ready = False
    itself = asyncio.current_task()
    assert itself is not None

    def on_signal() -> None:
        if stop.is_set() or not is_ready:
            itself.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)
    began = time.monotonic()
    try:
        # closed last, so that it also detects a hang during the shutdown
        async with AsyncExitStack() as watching, open_bot(settings, servers, adapters) as bot:
            async with asyncio.TaskGroup() as checks:
                checks.create_task(bot.warn())
                checks.create_task(_check_model(settings))
            is_ready = True
            _keep_what_is_loaded()
            watching.enter_context(bot.watchdog.watch())
            await bot.run(stop, began)
    except asyncio.CancelledError:
        if is_ready or not stop.is_set():
            raise
        log.info("stopped before it was ready")
    else:
        log.info("stopped")


def _keep_what_is_loaded() -> None:
    """Exempt all objects that there are, a quarter of a million, from garbage collection, and switch it on.

    A full collection of them takes 0.1 s, in which no turn goes on.
    """
    gc.freeze()
    gc.enable()


async def _note_hang(redis_url: str, inbox: Inbox, work: str) -> None:
    async with open_redis(redis_url, pool_size=1) as redis:
        await note_hang(redis, inbox, work)


async def _check_model(settings: Settings) -> None:
    if not settings.has_model or "worker" not in settings.bot_roles:
        return
    from bot.agent.models.credentials import check_model_service  # as in _model

    await check_model_service(
        api_key=settings.openai_api_key, base_url=settings.openai_base_url, models=settings.models
    )


async def operate(settings: Settings, action: str, entry: str) -> str:
    """Run an operator's command on the inbox; return the text to print."""
    async with AsyncExitStack() as stack:
        url = secret_value(settings.redis_url)
        if url is None:
            url = await stack.enter_async_context(embedded_redis(settings.data_dir))
        await check_redis(url)
        redis = await stack.enter_async_context(open_redis(url, pool_size=settings.redis_pool_size))
        return await admin.run(redis, action, entry)
