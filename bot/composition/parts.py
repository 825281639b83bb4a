"""The whole bot: all parts, opened according to the settings."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from bot.access.requests import Copies, WaitingRequests
from bot.agent import ThreadData
from bot.app import Bot
from bot.chat import HealthCheck, PersonalDataSource, SpaceData, ThreadEraser
from bot.commands.channel import ChannelCommand
from bot.commands.commands import Commands
from bot.commands.health import HealthChecks
from bot.commands.redis import Operations
from bot.composition.access import Access, build_access
from bot.composition.agent import AgentParts, open_parts
from bot.composition.storage import Storage, open_storage
from bot.composition.welcome import welcome
from bot.concurrency.watchdog import Watchdog
from bot.config import Settings
from bot.http.platform import Http
from bot.inbox import Erasure, note_hang_apart
from bot.memory.personal_data import PersonalData, SpaceErasure
from bot.platforms.adapter import Adapter
from bot.platforms.hooks import Hooks
from bot.platforms.registry import Platforms, open_platforms
from bot.storage.embedded import Servers
from bot.storage.health import RedisHealth
from bot.turn import Durations, Turns


@asynccontextmanager
async def open_bot(
    settings: Settings, servers: Servers, adapters: Sequence[Adapter[Any]]
) -> AsyncIterator[Bot]:
    """Open all parts according to `settings`, and the platforms.

    Raises `ConfigError` if a setting must be fixed.
    """
    durations = Durations()
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings, servers))
        access = build_access(settings, storage)
        platforms = await stack.enter_async_context(
            open_platforms(
                adapters,
                settings,
                storage.coordination,
                storage.lookup,
                storage.files,
                storage.conversations,
                storage.vault,
            )
        )
        parts = await stack.enter_async_context(open_parts(settings, storage, access, platforms))
        hooks = Hooks(settings.each_hook, platforms.of)
        check_health = _build_health_checks(settings, storage, access, parts, platforms, durations, hooks)
        commands = Commands(
            check_health,
            partial(access.requests.halt, access.inbox.stop),
            access.requests,
            Operations(storage.keys, access.control.allow_list.is_admin),
            partial(access.control.usage, names=platforms) if access.control.usage else None,
            _build_personal_data(settings, storage, access, parts, platforms),
            ChannelCommand(access.channels, access.control.allow_list.is_admin, parts.plugins.toolbox),
            access.control.allow_list.is_admin,
            access.answers,
            parts.model,
            access.control.allow_list,
            WaitingRequests(access.requests.store, access.requests.approvals),
            _build_eraser(storage, access, parts, platforms),
        )
        http = next((each for each in platforms if isinstance(each, Http)), None)
        page = (
            await stack.enter_async_context(http.serve(commands, platforms.webhooks, welcome(settings)))
            if http
            else None
        )
        copies = Copies(access.requests, platforms.of, storage.lookup, settings.approvals_channel)
        turns = Turns(
            parts.agent,
            platforms.thread,
            access.control,
            settings.turn_timeout,
            commands,
            copies,
            durations,
            parts.long_term_memory.filer if settings.enable_memory else None,
            parts.recordings,
            access.answers if access.shows_buttons else None,
        )
        await parts.plugins.wait_for_start()
        note = partial(note_hang_apart, storage.redis_url, access.inbox)
        watchdog = Watchdog(settings.lease_seconds, lambda: access.inbox.under_way, note)
        spaces = SpaceErasure(_space_sources(storage, access, parts, platforms))
        yield Bot(
            settings,
            platforms,
            access.inbox,
            storage.lookup,
            access.requests,
            access.channels,
            turns,
            hooks,
            commands,
            check_health,
            watchdog,
            spaces,
            page,
        )


def _build_personal_data(
    settings: Settings, storage: Storage, access: Access, parts: AgentParts, platforms: Platforms
) -> PersonalData:
    owners, erasure = parts.long_term_memory.owners, Erasure(storage.redis, access.inbox)
    threads = ThreadData(parts.agent, owners, erasure, platforms)
    sources: list[PersonalDataSource] = [
        threads,
        storage.conversations,
        owners,
        erasure,
        access.requests,
        access.answers,
        storage.coordination,
    ]
    if access.control.budget:
        sources.append(access.control.budget)
    return PersonalData(owners, access.account_links, sources, platforms, is_on=settings.enable_memory)


def _build_eraser(storage: Storage, access: Access, parts: AgentParts, platforms: Platforms) -> ThreadEraser:
    owners, erasure = parts.long_term_memory.owners, Erasure(storage.redis, access.inbox)
    return ThreadData(parts.agent, owners, erasure, platforms)


def _space_sources(
    storage: Storage, access: Access, parts: AgentParts, platforms: Platforms
) -> Sequence[SpaceData]:
    owners, erasure = parts.long_term_memory.owners, Erasure(storage.redis, access.inbox)
    threads = ThreadData(parts.agent, owners, erasure, platforms)
    return [threads, owners, erasure, access.requests, access.answers, storage.coordination]


def _build_health_checks(
    settings: Settings,
    storage: Storage,
    access: Access,
    parts: AgentParts,
    platforms: Platforms,
    durations: Durations,
    hooks: Hooks,
) -> HealthChecks:
    services: list[HealthCheck] = [RedisHealth(storage.redis), storage.database, parts.model]
    others: list[HealthCheck] = [access.inbox, durations]
    if storage.writer:
        others.append(storage.writer)
    if settings.who_approves or storage.writer:
        others.append(access.requests)
    if hooks.hooks:
        others.append(hooks)
    if parts.plugins:
        others.append(parts.plugins)
    return HealthChecks(services, platforms.listeners, others)
