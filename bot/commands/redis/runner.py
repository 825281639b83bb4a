"""Execution of operations: only for administrators, with an audit log line for each."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from bot.chat import BotError, Json
from bot.commands.redis import texts
from bot.commands.redis.operations import Answer, Delete, Get, Keys, Mset, Operation, Set
from bot.commands.redis.parser import HELP, parse
from bot.commands.redis.texts import line
from bot.storage.key_value import InvalidArgument, KeyValueStore

log = logging.getLogger(__name__)

AUDIT = "redis operation"
"""Event of the audit log line, which never contains a value."""

_MAX_LOGGED = 20
_MAX_SUGGESTED = 25
_SUGGEST_SECONDS = 1.5

Outcome = Literal["done", "refused", "invalid", "failed"]


class NotAllowed(BotError):
    """Refusal of a caller who is not an administrator; `str()` says whom to ask."""


@dataclass(frozen=True, slots=True)
class RedisCaller:
    """Caller: an author, as `platform:id`, and the place.

    `is_external` marks a guest or an external user, `is_operator` an authenticated caller over HTTP.
    """

    author: str
    where: str
    is_external: bool = False
    is_operator: bool = False


class Operations:
    """Operations on the store; each method checks that the caller is an administrator."""

    def __init__(self, store: KeyValueStore, is_admin: Callable[[str], bool]) -> None:
        self._store = store
        self._is_admin = is_admin

    async def run(self, operation: Operation, caller: RedisCaller) -> Answer:
        """Run an operation. Raises `NotAllowed`, `InvalidArgument` and `bot.chat.StorageDown`."""
        if sentence := self.refusal(operation, caller):
            raise NotAllowed(sentence)
        outcome: Outcome = "failed"
        reason: dict[str, Json] = {}
        try:
            result = await operation.run(self._store)
            outcome = "done"
        except InvalidArgument:
            outcome = "invalid"
            raise
        except BotError as error:
            reason = {"reason": str(error)}
            raise
        finally:
            _audit(operation, caller, outcome, reason)
        return result

    async def answer(self, operation: Operation, caller: RedisCaller) -> str:
        """Run an operation and return its answer as Markdown, or the sentence of an error."""
        try:
            return (await self.run(operation, caller)).text
        except BotError as error:
            return str(error)

    async def answer_text(self, text: str, caller: RedisCaller) -> str | Set:
        """Return the answer to a typed line, or a draft that a form completes."""
        try:
            operation = parse(text)
        except InvalidArgument as error:
            return self.refusal(None, caller) or f"{error}\n{HELP}"
        return operation if self.is_draft(operation, caller) else await self.answer(operation, caller)

    def is_draft(self, operation: Operation, caller: RedisCaller) -> TypeGuard[Set]:
        """Return whether a form has to ask for the value, and the caller is allowed to store it."""
        return isinstance(operation, Set) and operation.value == "" and self._is_allowed(caller)

    def refusal(self, operation: Operation | None, caller: RedisCaller) -> str | None:
        """Return a sentence for a caller who is not allowed to do this, else None.

        The operation is None if the input was not one.
        """
        if self._is_allowed(caller):
            return None
        _audit(operation, caller, "refused", {})
        return (texts.NOT_FOR_EXTERNAL if caller.is_external else texts.NOT_ADMIN).format(user=caller.author)

    async def suggest(self, part: str, caller: RedisCaller) -> Sequence[str]:
        """Return keys that contain `part`, those that begin with it first; none without permission."""
        if not self._is_allowed(caller):
            return []
        try:
            found = await self._store.search(part, 10 * _MAX_SUGGESTED, _SUGGEST_SECONDS)
        except BotError:  # only a suggestion: the operation itself reports the error
            return []
        # other keys would be changed by the platform, or are not the exact name in Redis
        plain = [key for key in found if key.isprintable() and key == key.strip() and "\ufffd" not in key]
        return sorted(plain, key=lambda key: (not key.startswith(part), key))[:_MAX_SUGGESTED]

    def _is_allowed(self, caller: RedisCaller) -> bool:
        return caller.is_operator or (self._is_admin(caller.author) and not caller.is_external)


def _audit(
    operation: Operation | None, caller: RedisCaller, outcome: Outcome, reason: dict[str, Json]
) -> None:
    about = {"by": caller.author, "platform": caller.author.partition(":")[0], "where": caller.where}
    name = operation.name if operation else "unknown"
    log.info(AUDIT, extra={**about, "operation": name, **_subject(operation), "outcome": outcome, **reason})


def _subject(operation: Operation | None) -> dict[str, Json]:
    """Return the arguments for the log, without values."""
    match operation:
        case Get(key=key) | Delete(key=key):
            return {"keys": [line(key)]}
        case Set(key=key, ttl=ttl):
            return {"keys": [line(key)], "ttl": ttl}
        case Mset(data=data, ttl=ttl):
            names = [line(key) for key in list(data)[:_MAX_LOGGED]]
            return {"keys": names, "key_count": len(data), "ttl": ttl}
        case Keys(pattern=pattern):
            return {"pattern": line(pattern)}
        case _:
            return {}
