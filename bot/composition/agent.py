"""The agent with its model, its tools and its long-term memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from langchain_core.tools import BaseTool

from bot.agent import Agent, Model, offline_model, open_agent
from bot.agent.attachments import AttachmentLimits, AttachmentReader, RecordingReader
from bot.agent.models.transcription import open_transcription
from bot.composition.access import Access
from bot.composition.storage import Storage
from bot.concurrency.process_pool import open_process_pool
from bot.config import Settings
from bot.memory import Embeddings, LongTermMemory, OfflineEmbeddings
from bot.platforms.registry import Platforms
from bot.tools.plugins import Plugins, open_plugins
from bot.tools.toolset import toolset


@dataclass(frozen=True, slots=True)
class AgentParts:
    """The agent, with its model, its tools and its long-term memory."""

    agent: Agent
    model: Model
    plugins: Plugins
    long_term_memory: LongTermMemory
    recordings: RecordingReader | None


@asynccontextmanager
async def open_parts(
    settings: Settings, storage: Storage, access: Access, platforms: Platforms
) -> AsyncIterator[AgentParts]:
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
        own = toolset(
            storage.database,
            memory,
            None,
            storage.files.keep,
            storage.writer,
            platforms,
            await stack.enter_async_context(open_process_pool()),
            asks=settings.enable_memory,
        )
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
                access.requests,
                owners=long_term_memory.owners,
                attachments=AttachmentReader(platforms, storage.files, limits, sees_pictures=has_sight),
                pictures=storage.files if has_sight else None,
                max_iterations=settings.max_iterations,
                history_tokens=settings.history_tokens,
                ttl_days=settings.thread_ttl_days,
                has_memory=settings.enable_memory,
                meter=access.control.budget,
                is_restricted=access.control.allow_list.is_restricted,
                instructions=settings.read_instructions(),
                channels=access.channels,
                contexts=platforms,
                most_context=settings.context_messages,
            )
        )
        transcription = await stack.enter_async_context(
            open_transcription(
                name=settings.openai_transcription_model,
                api_key=settings.openai_api_key,
                base_url=settings.openai_base_url,
                timeout=settings.request_timeout,
                meter=access.control.budget,
            )
        )
        recordings = RecordingReader(platforms, limits, transcription) if transcription else None
        yield AgentParts(agent, model, plugins, long_term_memory, recordings)


@asynccontextmanager
async def _model(settings: Settings, tools: Sequence[BaseTool]) -> AsyncIterator[Model]:
    if not settings.has_model:
        yield offline_model(tools, has_sample=settings.database_url is None)
        return
    from bot.agent.models.openai_service import open_model  # takes over a second: only on demand

    async with open_model(
        name=settings.openai_model,
        fallback=settings.openai_fallback_model,
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=settings.request_timeout,
        tools=tools,
        choices=settings.channel_models,
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
