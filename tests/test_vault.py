"""Secrets at rest: encrypted, bound to their place, readable with the right key, known to all processes."""

import secrets
import stat
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.chat import StorageDown
from bot.config import ConfigError
from bot.config.encryption import parse_keys
from bot.storage.vault import KEY_FILE, RedisVault, encryption_keys

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
RECORDS = b"{bot}:vault:slack"


def a_vault(redis: Redis, *keys: bytes) -> RedisVault:
    return RedisVault(redis, keys or (OLD,), "slack")


async def test_a_record_is_read_back_by_another_process_and_is_not_stored_in_clear(redis: Redis) -> None:
    await a_vault(redis).write("T1", {"token": "xoxb-secret"})
    assert await a_vault(redis).read("T1", "T2") == {"T1": {"token": "xoxb-secret"}}
    assert await a_vault(redis).read() == {"T1": {"token": "xoxb-secret"}}
    assert b"secret" not in await redis.hget(RECORDS, "T1")  # type: ignore[operator]  # bytes
    await a_vault(redis).remove("T1")
    assert not await a_vault(redis).read()


async def test_each_change_is_known_once(redis: Redis) -> None:
    vault = a_vault(redis)
    await vault.write("T1", {})
    await vault.write("T2", {})
    number, changed = await vault.changes(0)
    assert set(changed) == {"T1", "T2"}
    await vault.remove("T1")
    assert await vault.changes(number) == (number + 1, ["T1"])
    assert await vault.changes(number + 1) == (number + 1, [])


async def test_a_record_is_replaced_only_as_it_is_known(redis: Redis) -> None:
    """One that is gone does not come back with a renewal, and a newer one stays."""
    vault = a_vault(redis)
    await vault.write("T1", {"token": "2"}, instead_of={"token": "1"})
    assert not await vault.read()
    await vault.write("T1", {"gone_at": 1})
    await vault.write("T1", {"token": "2"}, instead_of={"token": "1"})
    assert await vault.read() == {"T1": {"gone_at": 1}}
    await vault.write("T1", {"token": "3"}, instead_of={"gone_at": 1})
    assert await vault.read() == {"T1": {"token": "3"}}


async def test_a_record_is_dropped_only_as_it_is_known(redis: Redis) -> None:
    vault = a_vault(redis)
    await vault.write("T1", {"gone_at": 1})
    await vault.write("T1", {"token": "2"})
    await vault.drop("T1", {"gone_at": 1})
    assert await vault.read() == {"T1": {"token": "2"}}
    await vault.drop("T1", {"token": "2"})
    assert not await vault.read()


async def test_another_key_is_an_error_that_says_what_to_do_and_changes_nothing(redis: Redis) -> None:
    await a_vault(redis, OLD).write("T1", {"token": "1"})
    before = await redis.hgetall(RECORDS)
    with pytest.raises(ConfigError, match=r"ENCRYPTION_KEY: 1 of 1 .* Set that one"):
        await a_vault(redis, NEW).check()
    with pytest.raises(StorageDown, match="ENCRYPTION_KEY: T1 has another key"):
        await a_vault(redis, NEW).read("T1")
    assert await redis.hgetall(RECORDS) == before


async def test_a_key_is_changed_with_the_old_one_after_it(redis: Redis) -> None:
    await a_vault(redis, OLD).write("T1", {"token": "1"})
    await a_vault(redis, NEW, OLD).check()
    assert await a_vault(redis, NEW).read("T1") == {"T1": {"token": "1"}}
    await a_vault(redis, NEW).check()


async def test_a_record_in_the_place_of_another_is_empty_and_can_be_replaced(redis: Redis) -> None:
    """A writer in Redis cannot give one workspace the token of another, and does not stop the others."""
    vault = a_vault(redis)
    await vault.write("T1", {"token": "1"})
    await redis.hset(RECORDS, "T2", await redis.hget(RECORDS, "T1"))
    assert await vault.read() == {"T1": {"token": "1"}, "T2": {}}
    await vault.write("T2", {"token": "2"})
    assert await vault.read("T2") == {"T2": {"token": "2"}}


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    [key] = encryption_keys(None, tmp_path / "data")
    file = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert encryption_keys(None, tmp_path / "data") == [key]
    assert encryption_keys("00" * 32, tmp_path / "data") == [bytes(32)]
    assert [each.name for each in file.parent.iterdir()] == [KEY_FILE]
    file.write_text("nonsense")
    with pytest.raises(ConfigError, match="cannot be used"):
        encryption_keys(None, tmp_path / "data")


@pytest.mark.parametrize(
    "text", ["00" * 32, "A" * 43 + "=", "-_" * 21 + "A=", f"{'00' * 32}, {'11' * 32}"], ids=len
)
def test_a_key_is_written_in_hexadecimal_digits_or_in_base64(text: str) -> None:
    assert all(len(each) == 32 for each in parse_keys(text))


@pytest.mark.parametrize("text", ["", "word", "00" * 31, "A" * 42 + "==", ",", "é" * 64])
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|is empty") as caught:
        parse_keys(text)
    assert not text.strip(",") or text not in str(caught.value)
