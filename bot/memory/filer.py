"""Filing in the background: records of finished turns with their vectors, and vectors that are missing."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice

from redisvl.query.filter import Tag

from bot.chat import Audience, Filing, Turn
from bot.concurrency.tasks import cancel
from bot.memory.embeddings import EmbeddingFailed, Embeddings
from bot.memory.filing import MOST_WAITING, STREAM, FinishedTurn, WaitingTurns
from bot.memory.index import ERRORS, Embedded, Move, Store
from bot.memory.visibility import thread_reader, turn_readers

log = logging.getLogger(__name__)

_BATCH = 64
_GATHER_SECONDS = 1.0
_EMBED_SECONDS = 10.0
"""Longest time for which records wait for their vectors."""

_RETRY_SECONDS = 60.0
"""Seconds between two searches for what other processes have left behind, and for records without a vector;
also before a service that has failed to embed turns is asked again."""

_CLOSE_SECONDS = 2.0


class Filer:
    """Filing of turns, each once, by the process that has ended it, or by another one if that has died.

    Implements `bot.chat.MemoryWriter`. `audience` returns the readers of a turn's place. A service that fails
    delays no record: the record is stored without a vector, which follows.
    """

    def __init__(
        self,
        store: Store,
        waiting: WaitingTurns,
        embeddings: Embeddings,
        audience: Callable[[Turn], Awaitable[Audience]],
        turn_seconds: int,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._embeddings = embeddings
        self._audience = audience
        self._turn_seconds = turn_seconds
        self._own: dict[str, FinishedTurn] = {}
        """Turns that this process has ended, by their entries."""
        self._added = asyncio.Event()
        self._embeds_from = 0.0
        self._dimensions = 0
        self._is_of_one_model = False

    def filing(self, turn: Turn, answer: str) -> Filing:
        """Return the entry with which a finished turn and the text of its answer are filed for searches."""
        finished = FinishedTurn(turn, answer)
        return Filing(STREAM, finished.dump(), MOST_WAITING, partial(self._add, finished))

    def _add(self, finished: FinishedTurn, entry: str) -> None:
        if len(self._own) < MOST_WAITING:  # else it is found in the stream
            self._own[entry] = finished
        self._added.set()

    @contextlib.asynccontextmanager
    async def in_background(self, gather_seconds: float = _GATHER_SECONDS) -> AsyncIterator[None]:
        """File turns and embed records while the context is open.

        After a new turn it waits `gather_seconds` for more, because a batch costs little more than one.
        """
        tasks = [
            asyncio.create_task(self._keep_filed(gather_seconds), name="memory filing"),
            asyncio.create_task(self._keep_complete(), name="memory embedding"),
        ]
        try:
            yield
        finally:
            await cancel(*tasks)
            await self._file_at_the_end()

    async def _keep_filed(self, gather_seconds: float) -> None:
        while True:
            await self._added.wait()
            await asyncio.sleep(gather_seconds)
            self._added.clear()
            await _try(self.file_own, "turns not filed")

    async def _keep_complete(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)  # not at once: the start needs the processor
            await _try(self.file_left, "turns not filed")
            await _try(self.embed_missing, "records not embedded")

    async def _file_at_the_end(self) -> None:
        """Store what waits, without vectors, which are made later; what is late waits in Redis."""
        self._embeds_from = float("inf")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await _try(self.file_own, "turns not filed")

    async def file_own(self) -> None:
        """File the turns that this process has ended; those that fail are left to `file_left`."""
        while batch := dict(islice(self._own.items(), _BATCH)):
            for entry in batch:
                del self._own[entry]
            try:
                await self.file(batch)
            except asyncio.CancelledError:
                self._own |= batch
                raise

    async def file_left(self, idle_seconds: float = _RETRY_SECONDS) -> None:
        """File the turns that have waited for `idle_seconds`, of processes that have died meanwhile."""
        batch: dict[str, FinishedTurn] = {}
        async for entry, finished in self._waiting.read(idle_seconds):
            batch[entry] = finished
            if len(batch) == _BATCH:
                await self.file(batch)
                batch = {}
        await self.file(batch)

    async def file(self, turns: Mapping[str, FinishedTurn]) -> None:
        """Store the records of turns that still wait, by their entries."""
        oldest = time.time() - self._turn_seconds
        current = {entry: each for entry, each in turns.items() if _added_at(entry) > oldest}
        await self._waiting.remove([entry for entry in turns if entry not in current])
        records = {entry: each.record for entry, each in current.items()}
        vectors = await self._embed([each.text for each in records.values()])
        moves = [
            Move(
                entry,
                records[entry],
                turn_readers(each.turn, await self._audience(each.turn)),
                thread_reader(each.turn.thread),
                round(_added_at(entry) - oldest),
                vector,
            )
            for (entry, each), vector in zip(current.items(), vectors, strict=True)
        ]
        await self._store.keep_moved(STREAM, moves)

    async def _embed(self, texts: Sequence[str]) -> Sequence[Embedded | None]:
        """Return embedded texts, or None for each if the model fails: those are embedded later."""
        if texts and time.monotonic() >= self._embeds_from:
            try:
                async with asyncio.timeout(_EMBED_SECONDS):
                    return await self._embedded(texts)
            except Exception as error:  # whatever a model raises, records are stored without vectors
                is_foreseen = isinstance(error, EmbeddingFailed | TimeoutError)
                log.warning(
                    "embedding failed", extra={"error": repr(error)}, exc_info=None if is_foreseen else error
                )
                self._embeds_from = time.monotonic() + _RETRY_SECONDS
        return [None] * len(texts)

    async def embed_missing(self) -> None:
        """Embed all records that lack a vector, also those of an earlier model. Raises `EmbeddingFailed`."""
        while await self._embed_some():
            pass

    async def _embed_some(self) -> int:
        """Embed a batch of records; return how many."""
        keys = await self._store.without_vector(_BATCH)
        if not keys and not self._is_of_one_model:
            if not await self._store.newest(Tag("kind") == ["fact", "turn"], 1):
                return 0
            dimensions = await self._find_dimensions()
            keys = await self._store.of_other_models(self._embeddings.model, dimensions, _BATCH)
            self._is_of_one_model = not keys
        records = await self._store.read(keys)
        if records:
            embedded = await self._embedded([each.text for each in records])
            await self._store.set_vectors(dict(zip((each.key for each in records), embedded, strict=True)))
        return len(records)

    async def _embedded(self, texts: Sequence[str]) -> list[Embedded]:
        """Return the vector of each text, None for one without a direction. Raises `EmbeddingFailed`."""
        dimensions = await self._find_dimensions()
        vectors = await self._embeddings.embed(texts)
        usable = [each if each and len(each) == dimensions else None for each in vectors]
        return [Embedded(self._embeddings.model, dimensions, each) for each in usable]

    async def _find_dimensions(self) -> int:
        """Return the length of the model's vectors, measured once, because no service reports it."""
        if not self._dimensions:
            (vector,) = await self._embeddings.embed(["memory"])
            if vector is None:
                raise EmbeddingFailed(f"{self._embeddings.model} gives no vector for a word")
            self._dimensions = len(vector)
        return self._dimensions


async def _try(step: Callable[[], Awaitable[None]], failure: str) -> None:
    """Run a step; errors are logged as `failure`, and must not end the task: later turns need records."""
    try:
        await step()
    except (*ERRORS, OSError, EmbeddingFailed) as error:
        log.warning(failure, extra={"error": repr(error)})
    except Exception:  # a bug is logged with its trace; if it ended the task, no later turn would be filed
        log.exception(failure)


def _added_at(entry: str) -> float:
    """Return the time when an entry was added, in Unix seconds of Redis."""
    return int(entry.partition("-")[0]) / 1000
