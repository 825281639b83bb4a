"""Composition root: opens every part, runs them on one event loop, closes them in order.

The order of closing, decided here and nowhere else:

1. the platforms hear nothing new (what they have not acknowledged comes again);
2. turns under way finish within SHUTDOWN_GRACE, the rest goes back to the inbox;
3. the platforms close, then the agent and the pools, then the embedded servers.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from langchain_core.tools import BaseTool

from bot import http
from bot.access.approvals import Approvals, Copies
from bot.access.control import gate
from bot.agent import Model, offline_model, open_agent, see_nothing, seeing
from bot.agent.attachments import AttachmentLimits, Reader
from bot.app import Bot
from bot.commands.commands import Commands
from bot.commands.health import Examination
from bot.commands.redis import Operations
from bot.concurrency.watchdog import Watchdog
from bot.config import Settings, secret_value
from bot.inbox import (
    Erasure,
    FencedRedis,
    Inbox,
    Lookup,
    admin,
    inbox_health,
    is_current,
    note_hang,
)
from bot.inbox.process_name import process_name
from bot.memory import (
    Belongings,
    Embeddings,
    OfflineEmbeddings,
    People,
    Recall,
)
from bot.memory.personal_data import Personal
from bot.platforms.registry import (
    Platforms,
    local_address,
    open_platforms,
)
from bot.storage.client import check_redis, open_redis
from bot.storage.coordination import SharedState
from bot.storage.embedded import embedded_postgres, embedded_redis, for_writing
from bot.storage.files import FileStore
from bot.storage.health import redis_health
from bot.storage.key_value import KeyValueStore
from bot.tools import (
    Database,
    DatabaseWriter,
    RoleCheck,
    RolePolicy,
    open_database,
    open_database_writer,
    toolset,
)
from bot.tools.plugins import open_plugins
from bot.turn import Turns

log = logging.getLogger(__name__)


_WRITING_CONNECTIONS = 2
"""Changes are rare, and each one was approved by a person."""


@asynccontextmanager
async def open_bot(settings: Settings) -> AsyncIterator[Bot]:
    """Open every part that `settings` asks for. Raises `ConfigError` when a setting must be fixed."""
    async with AsyncExitStack() as stack:
        redis_url = await _redis_url(stack, settings)
        await check_redis(redis_url)
        redis = await stack.enter_async_context(open_redis(redis_url, pool_size=settings.redis_pool_size))
        database_url = await _database_url(stack, settings)
        role = RoleCheck(_role_policy(settings))
        database = await stack.enter_async_context(
            open_database(database_url, size=settings.db_pool_size, role=role)
        )
        files = FileStore(redis)
        fenced = FencedRedis(redis)
        name = stack.enter_context(process_name(settings.bot_name, settings.data_dir))

        async def overrules(author: str, thread: str) -> bool:
            return author in settings.admin_users or await approvals.waits_for(author, thread)

        inbox = Inbox(redis, name=name, follow_days=settings.thread_ttl_days, overrules=overrules)
        people = People(redis)
        approvals = Approvals(
            redis,
            inbox.put,
            settings.who_approves,
            settings.approval_hours,
            settings.approval_four_eyes,
            people.authors,
            partial(is_current, redis),
        )
        writer = await _writer(stack, settings, database_url, database)
        platforms = Platforms()
        recall = Recall(
            fenced,
            await stack.enter_async_context(_embeddings(settings)),
            people,
            platforms.audience,
            fact_days=settings.memory_ttl_days,
            turn_days=settings.thread_ttl_days,
        )
        belongings = Belongings(fenced, recall.store, settings.thread_ttl_days * 24 * 3600)
        if settings.enable_memory:
            await stack.enter_async_context(recall.embedding())
        remembered = recall if settings.enable_memory else None
        wanted = settings.plugins if "worker" in settings.bot_roles else None
        plugins = await stack.enter_async_context(open_plugins(wanted, redis))
        tools = plugins.toolbox
        tools.put_own(toolset(database, remembered, keep=files.keep, writer=writer))
        model = await stack.enter_async_context(_model(settings, tools))
        allowed = gate(settings, redis)
        sees = settings.has_model and settings.openai_vision
        reader = Reader(platforms.fetch, files, _file_limits(settings), sees_pictures=sees)
        agent = await stack.enter_async_context(
            open_agent(
                fenced,
                model,
                tools,
                approvals,
                enclose=reader.enclose,
                see=seeing(files) if sees else see_nothing,
                note=belongings.note,
                remember=recall.remember,
                max_iterations=settings.max_iterations,
                history_tokens=settings.history_tokens,
                ttl_days=settings.thread_ttl_days,
                has_memory=settings.enable_memory,
                meter=allowed.meter,
                is_limited=allowed.access.is_limited,
            )
        )
        store = KeyValueStore(redis, settings.redis_ops_prefix)
        operations = Operations(store, lambda user: user == http.AUTHOR or user in settings.admin_users)
        shared, lookup = SharedState(redis, name), Lookup(redis)
        examine = Examination()
        personal = Personal(
            belongings,
            people,
            Erasure(redis, inbox),
            agent,
            is_on=settings.enable_memory,
            elsewhere=[approvals.forget, allowed.forget],
            told={"requests": approvals.tell, "usage": allowed.tell},
        )
        commands = Commands(
            examine,
            inbox.stop,
            approvals.decide,
            operations,
            allowed.usage,
            personal,
            approvals.decide_in_words,
            allowed.access.is_admin,
        )
        platforms += await open_platforms(stack, settings, commands, operations, shared, lookup, files)
        receive = allowed.reception(commands)
        copies = Copies(approvals, platforms.of, lookup, settings.approvals_channel)
        turns = Turns(agent.answer, platforms.thread, receive, agent.conclude, settings.turn_timeout, copies)
        examine.add("redis", partial(redis_health, redis))
        examine.add("postgres", database.health)
        examine.add("model", model.health)
        for platform in platforms:
            if platform.name in settings.bot_roles:
                examine.add(platform.name, platform.health)
        examine.add("inbox", partial(inbox_health, redis))
        examine.add("turns", turns.health)
        if writer:
            examine.add("writes", writer.health)
        if settings.who_approves:
            examine.add("approvals", approvals.health)
        if plugins:
            examine.add("plugins", plugins.health)
            await plugins.tried()
        watchdog = Watchdog(
            settings.lease_seconds, lambda: inbox.under_way, partial(_note_hang, redis_url, inbox)
        )
        page = _page(settings, platforms)
        yield Bot(settings, platforms, inbox, lookup, approvals, turns, examine, watchdog, page)


def _page(settings: Settings, platforms: Platforms) -> str | None:
    """Return the address at which a browser on this machine finds the page, if it is served."""
    ports = [each.port for each in platforms if isinstance(each, http.Http) and each.serves_page]
    return local_address(settings.http_host, ports[0]) if ports else None


async def _redis_url(stack: AsyncExitStack, settings: Settings) -> str:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return await stack.enter_async_context(embedded_redis(settings.data_dir))


async def _database_url(stack: AsyncExitStack, settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return await stack.enter_async_context(embedded_postgres(settings.data_dir))


async def _writer(
    stack: AsyncExitStack, settings: Settings, database_url: str, readers: Database
) -> DatabaseWriter | None:
    """Open the statements that change the database, in a pool of their own for a separate role."""
    if settings.sql_writes == "off":
        return None
    dsn = secret_value(settings.database_write_url) or (
        database_url if settings.database_url else for_writing(database_url)
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
    from bot.agent.models.openai_service import open_model  # takes over a second: only for who needs it

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


def _file_limits(settings: Settings) -> AttachmentLimits:
    return AttachmentLimits(
        size=settings.file_max_bytes, count=settings.file_max_count, chars=settings.file_text_chars
    )


async def serve(settings: Settings) -> None:
    """Open the bot and run it until SIGTERM or SIGINT.

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
        # left last: what hangs while the bot is closed is a hang, too
        async with AsyncExitStack() as watching, open_bot(settings) as bot:
            async with asyncio.TaskGroup() as checks:
                checks.create_task(bot.warn())
                checks.create_task(_check_model(settings))
            is_ready = True
            watching.enter_context(bot.watchdog.watching())
            await bot.run(stop, began)
    except asyncio.CancelledError:
        if is_ready or not stop.is_set():
            raise
        log.info("stopped before it was ready")
    else:
        log.info("stopped")


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
    """Do what an operator asks of the inbox; returns what to print."""
    async with AsyncExitStack() as stack:
        redis_url = await _redis_url(stack, settings)
        await check_redis(redis_url)
        redis = await stack.enter_async_context(open_redis(redis_url, pool_size=settings.redis_pool_size))
        match action:
            case "replay":
                return await admin.replay(redis, entry)
            case "drop":
                return await admin.drop(redis, entry)
            case _:
                return await admin.listing(redis)
