"""Vault: small records with secrets in Redis, encrypted with ENCRYPTION_KEY.

    {bot}:vault:<name>           hash: <id> with the sealed record
    {bot}:vault_changes:<name>   sorted set: <id> by the number of its last change; removed ones stay in it

A sealed record is one byte (the format), 4 bytes of the key's hash, a nonce of 12 bytes and the JSON object
under AES-256-GCM. Name and id are authenticated with it, so that no record can take the place of another.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis

from bot.chat import Json, StorageDown
from bot.config import ConfigError
from bot.config.encryption import KEY_BYTES, parse_keys
from bot.storage.errors import storage_errors

log = logging.getLogger(__name__)

KEY_FILE = "encryption.key"
"""Name of the file in DATA_DIR with the key that was made because none was set."""

_TAG = "{bot}"
_FORMAT = b"\x01"
_MARK_BYTES = 4
_NONCE_BYTES = 12
_MOST_CHANGES = 100_000
"""Most ids in the list of changes."""

# Removes or stores records, and notes that they have changed, in one step. A record is stored only if the
# sealed one that it replaces is still there (`before`; empty: whatever is there).
# KEYS records changes | ARGV most before id sealed id sealed … (an empty `sealed` removes)
_CHANGE = """
if ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[3]) ~= ARGV[2] then return 0 end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
local number = (tonumber(last[2]) or 0) + 1
for index = 3, #ARGV, 2 do
  if ARGV[index + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[index])
  else redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
  redis.call('ZADD', KEYS[2], number, ARGV[index])
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[1]) - 1)
return number
"""


class KeyMismatch(StorageDown):
    """Record that another ENCRYPTION_KEY has encrypted."""


class RedisVault:
    """Vault in Redis; a `bot.chat.Vault`. The first of `keys` encrypts, each of them decrypts."""

    def __init__(self, redis: Redis, keys: Sequence[bytes], name: str) -> None:
        self._redis = redis
        self._name = name
        self._ciphers = {_mark(key): AESGCM(key) for key in keys}
        self._current = _mark(keys[0])
        self._change = redis.register_script(_CHANGE)
        self._records, self._changes = f"{_TAG}:vault:{name}", f"{_TAG}:vault_changes:{name}"

    async def check(self) -> None:
        """Encrypt records of an earlier key with the first one. Raises `ConfigError` for an unknown key."""
        with storage_errors():
            sealed: Any = await self._redis.hgetall(self._records)
        foreign = sum(_mark_of(each) not in self._ciphers for each in sealed.values())
        if foreign:
            raise ConfigError(
                [
                    f"ENCRYPTION_KEY: {foreign} of {len(sealed)} stored installations were encrypted with "
                    "another key. Set that one, or, to change the key, the new one, a comma and that one. If "
                    f"none was ever set, it is in the file {KEY_FILE} of DATA_DIR, where the bot has made "
                    "it. Nothing was changed."
                ]
            )
        for field, each in sealed.items():
            if _mark_of(each) != self._current:
                id = field.decode()
                await self._store([id, self._seal(id, self._open(id, each))], before=each)
                log.info("record encrypted with the new key", extra={"record": id})

    async def read(self, *ids: str) -> Mapping[str, Mapping[str, Json]]:
        """Return the records with these ids, or all of them."""
        with storage_errors():
            if ids:
                found: Any = await self._redis.hmget(self._records, list(ids))
                sealed = {id: each for id, each in zip(ids, found, strict=True) if each is not None}
            else:
                known: Any = await self._redis.hgetall(self._records)
                sealed = {field.decode(): each for field, each in known.items()}
        return {id: self._open(id, each) for id, each in sealed.items()}

    async def write(
        self, id: str, record: Mapping[str, Json], *, instead_of: Mapping[str, Json] | None = None
    ) -> None:
        """Store a record with this id; with `instead_of`, only in place of that one."""
        before = b"" if instead_of is None else await self._sealed(id, instead_of)
        if before is not None:
            await self._store([id, self._seal(id, record)], before=before)

    async def remove(self, *ids: str) -> None:
        """Remove records."""
        if ids:
            await self._store([part for id in ids for part in (id, b"")])

    async def drop(self, id: str, record: Mapping[str, Json]) -> None:
        """Remove a record if it is still this one."""
        before = await self._sealed(id, record)
        if before is not None:
            await self._store([id, b""], before=before)

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """Return the number of the last change, and the ids of the records changed after change `since`."""
        with storage_errors():
            found: Any = await self._redis.zrange(
                self._changes, f"({since}", "+inf", byscore=True, withscores=True
            )
        return max((int(number) for _, number in found), default=since), [id.decode() for id, _ in found]

    async def _sealed(self, id: str, record: Mapping[str, Json]) -> bytes | None:
        """Return a record as it is stored, if it is still this one."""
        with storage_errors():
            sealed: Any = await self._redis.hget(self._records, id)
        return sealed if sealed is not None and self._open(id, sealed) == record else None

    async def _store(self, changed: Sequence[str | bytes], before: bytes = b"") -> None:
        with storage_errors():
            await self._change(keys=[self._records, self._changes], args=[_MOST_CHANGES, before, *changed])

    def _seal(self, id: str, record: Mapping[str, Json]) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        text = json.dumps(record).encode()
        sealed = self._ciphers[self._current].encrypt(nonce, text, self._bound(id))
        return _FORMAT + self._current + nonce + sealed

    def _open(self, id: str, sealed: bytes) -> Mapping[str, Json]:
        cipher = self._ciphers.get(_mark_of(sealed))
        if cipher is None:
            raise KeyMismatch(f"ENCRYPTION_KEY: {id} has another key; all processes need the same one")
        begin = len(_FORMAT) + _MARK_BYTES
        nonce, text = sealed[begin : begin + _NONCE_BYTES], sealed[begin + _NONCE_BYTES :]
        try:
            record: Json = json.loads(cipher.decrypt(nonce, text, self._bound(id)))
        except (InvalidTag, ValueError):  # one such record must not stop the others
            log.warning("record damaged", extra={"vault": self._name, "record": id})
            return {}
        return record if isinstance(record, dict) else {}

    def _bound(self, id: str) -> bytes:
        return f"{self._name}:{id}".encode()


def encryption_keys(setting: str | None, data_dir: Path) -> list[bytes]:
    """Return the keys of ENCRYPTION_KEY, or else the one in `data_dir`, which is made if there is none.

    Raises `ConfigError` if the file cannot be read or written.
    """
    if setting is not None:
        return parse_keys(setting)
    path = data_dir / KEY_FILE
    try:
        with suppress(FileExistsError):
            _make(path)
        return parse_keys(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigError([f"ENCRYPTION_KEY: not set, and {path} cannot be used ({error}); set it"]) from None


def _make(path: Path) -> None:
    """Make a key that only this user can read. Raises `FileExistsError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # whole at once, and only if no other process was first
        log.warning("encryption key made", extra={"file": str(path)})
    finally:
        temporary.unlink(missing_ok=True)


def _mark(key: bytes) -> bytes:
    """Return what tells a key from others, and reveals nothing about it."""
    return hashlib.sha256(b"vault key" + key).digest()[:_MARK_BYTES]


def _mark_of(sealed: bytes) -> bytes:
    begin = len(_FORMAT)
    return sealed[begin : begin + _MARK_BYTES] if sealed[:begin] == _FORMAT else b""
