"""Command line and composition root: opens every part, runs them on one event loop, closes them in order.

The order of closing, decided here and nowhere else:

1. the platforms hear nothing new (what they have not acknowledged comes again);
2. turns under way finish within SHUTDOWN_GRACE, the rest goes back to the inbox;
3. the platforms close, then the agent and the pools, then the embedded servers.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from langchain_core.tools import BaseTool

from bot import http
from bot.agent import Model, offline_model, open_agent, see_nothing, seeing
from bot.approvals import Approvals
from bot.attachments import Limits as FileLimits
from bot.attachments import Reader
from bot.chat import BotError, Health
from bot.commands import Commands
from bot.config import ConfigError, Settings, load_settings, settings_table
from bot.embedded import embedded_postgres, embedded_redis, for_writing
from bot.files import FileStore
from bot.gate import gate
from bot.health import Examination
from bot.inbox import Erasure, FencedRedis, Inbox, desk, inbox_health
from bot.logs import configure_logging
from bot.operations import Operations
from bot.personal import Personal
from bot.platforms import Platforms, open_platforms, plain
from bot.process import process_name
from bot.recall import Belongings, Embeddings, OfflineEmbeddings, People, Recall
from bot.service import Bot
from bot.shared import SharedState
from bot.store import check_redis, open_redis, refusal
from bot.tools import (
    Database,
    KeyValueStore,
    Orders,
    RoleCheck,
    RolePolicy,
    open_database,
    open_orders,
    toolset,
)
from bot.tools.plugins import open_plugins
from bot.turn import Turns

log = logging.getLogger(__name__)


_WRITING_CONNECTIONS = 2
"""Changes are rare, and each one was approved by a person."""


@asynccontextmanager
async def open_bot(settings: Settings) -> AsyncIterator[Bot]:
    """Open every part that `settings` asks for. Raises `ConfigError` when a person must mend something."""
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
        inbox = Inbox(redis, name=name, follow_days=settings.thread_ttl_days)
        people = People(redis)
        approvals = Approvals(
            redis,
            inbox.put,
            settings.who_approves,
            settings.approval_hours,
            settings.approval_four_eyes,
            people.authors,
        )
        orders = await _orders(stack, settings, database_url, database)
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
        tools.put_own(toolset(database, remembered, keep=files.keep, orders=orders))
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
            )
        )
        store = KeyValueStore(redis, settings.redis_ops_prefix)
        operations = Operations(store, lambda user: user == http.AUTHOR or user in settings.admin_users)
        shared = SharedState(redis, name)
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
        commands = Commands(examine, inbox.stop, approvals.decide, operations, allowed.usage, personal)
        platforms += await open_platforms(stack, settings, commands, operations, shared, files)
        receive = allowed.reception(commands)
        turns = Turns(agent.answer, platforms.thread, receive, agent.conclude, settings.turn_timeout)
        examine.add("redis", partial(_redis_health, store, partial(refusal, redis)))
        examine.add("postgres", database.health)
        examine.add("model", model.health)
        for platform in platforms:
            if platform.name in settings.bot_roles:
                examine.add(platform.name, platform.health)
        examine.add("inbox", partial(inbox_health, redis))
        examine.add("turns", turns.health)
        if orders:
            examine.add("writes", orders.health)
        if settings.who_approves:
            examine.add("approvals", approvals.health)
        if plugins:
            examine.add("plugins", plugins.health)
            await plugins.tried()
        yield Bot(settings, platforms, inbox, shared, approvals, turns, examine)


async def _redis_url(stack: AsyncExitStack, settings: Settings) -> str:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return await stack.enter_async_context(embedded_redis(settings.data_dir))


async def _database_url(stack: AsyncExitStack, settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return await stack.enter_async_context(embedded_postgres(settings.data_dir))


async def _orders(
    stack: AsyncExitStack, settings: Settings, database_url: str, readers: Database
) -> Orders | None:
    """What changes the database, in a pool of its own, since another role may do that."""
    if settings.sql_writes == "off":
        return None
    dsn = plain(settings.database_write_url) or (
        database_url if settings.database_url else for_writing(database_url)
    )
    refuses_powers = _role_policy(settings) == "refuse"
    return await stack.enter_async_context(
        open_orders(dsn, readers, size=_WRITING_CONNECTIONS, refuses_powers=refuses_powers)
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
    from bot.agent.openai_model import open_model  # takes over a second: only for who needs it

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
    from bot.recall.openai_embeddings import open_embeddings  # as in _model

    async with open_embeddings(
        name=settings.openai_embedding_model,
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=settings.request_timeout,
    ) as embeddings:
        yield embeddings


def _file_limits(settings: Settings) -> FileLimits:
    return FileLimits(
        size=settings.file_max_bytes, count=settings.file_max_count, chars=settings.file_text_chars
    )


async def _redis_health(store: KeyValueStore, problem: Callable[[], Awaitable[str]]) -> Health:
    """Redis with its evidence: `degraded` when it may forget, by eviction or for want of persistence.

    `down` when it takes no writes: then no message can be kept.
    """
    info = await store.server()
    evidence = {"ping_ms": await store.ping()}
    kept = ("version", "modules", "used_memory_mib", "maxmemory_policy", "persistence", "connected_clients")
    evidence |= {key: info[key] for key in kept}
    if reason := await problem():
        return Health(name="redis", state="down", evidence={"takes_no_writes": reason, **evidence})
    is_safe = info["maxmemory_policy"] == "noeviction" and info["persistence"] != "none"
    return Health(name="redis", state="ok" if is_safe else "degraded", evidence=evidence)


async def _serve(settings: Settings) -> None:
    """Open the bot and run it until SIGTERM or SIGINT; a second signal stops at once."""
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
    async with open_bot(settings) as bot:
        is_ready = True
        await bot.warn()
        await bot.run(stop, began)
    log.info("stopped")


async def _operate(settings: Settings, action: str, entry: str) -> str:
    """Do what an operator asks of the inbox; returns what to print."""
    async with AsyncExitStack() as stack:
        redis_url = await _redis_url(stack, settings)
        await check_redis(redis_url)
        redis = await stack.enter_async_context(open_redis(redis_url, pool_size=settings.redis_pool_size))
        match action:
            case "replay":
                return await desk.replay(redis, entry)
            case "drop":
                return await desk.drop(redis, entry)
            case _:
                return await desk.listing(redis)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bot", description="A chat agent for Slack, Discord and HTTP."
    )
    parser.set_defaults(command="run")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="serve until SIGTERM (what happens without a command)")
    commands.add_parser("settings", help="print the table of all settings")
    inbox = commands.add_parser("inbox", help="show the messages that wait, run or were given up")
    inbox.add_argument(
        "action", nargs="?", choices=["list", "replay", "drop"], default="list", help="default: list"
    )
    inbox.add_argument("entry", nargs="?", default="", help="a dead message as listed, or `all`")
    parsed = parser.parse_args(arguments)
    parsed.command = parsed.command or "run"
    if parsed.command == "inbox" and (parsed.action == "list") == bool(parsed.entry):
        inbox.error("replay and drop need the entry of a dead message, or `all`")
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0 a clean stop, 2 something for a person to mend."""
    parsed = _parse(arguments)
    if parsed.command == "settings":
        print(settings_table())  # noqa: T201 - the output of this command
        return 0
    try:
        settings = load_settings()
        configure_logging(style=settings.log_format, debug=settings.debug, secrets=settings.secrets())
        if parsed.command == "inbox":
            print(asyncio.run(_operate(settings, parsed.action, parsed.entry)))  # noqa: T201 - as above
        else:
            asyncio.run(_serve(settings))
    except asyncio.CancelledError:
        log.warning("stopped at once, on a second signal")
        return 1
    except (ConfigError, BotError, BaseExceptionGroup) as error:
        problems = _leaves(error)
        if not all(isinstance(each, ConfigError | BotError) for each in problems):
            raise  # a bug: the trace is what is needed
        return _report(problems)
    return 0


def _report(problems: Sequence[BaseException]) -> int:
    """Tell the person who started the program what to mend."""
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 - logging may not be set up yet
    return 2


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
