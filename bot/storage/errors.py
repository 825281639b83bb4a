"""Conversion of Redis errors to `bot.chat.StorageDown`."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from bot.chat import StorageDown


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise `StorageDown` in place of an error of Redis or of its connection."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StorageDown(f"Redis did not answer: {error}") from error
