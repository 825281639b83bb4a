"""Rehearsals tell nothing that the reading role may not know, whatever the statement."""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from bot.tools.errors import ToolFailure
from bot.tools.sql.database import Database, open_database
from bot.tools.sql.write import DatabaseWriter, open_database_writer
from tests.support.sql_rehearsal_attacks import (
    ATTACKS,
    SECRETS,
    SURELY_TRIED,
    VAULT,
    WORLDS,
)

ROLES = "vault_reader", "vault_writer"


@dataclass(frozen=True, slots=True)
class Vault:
    """The database in one of its worlds, and what rehearses changes in it."""

    owner: "asyncpg.Connection[asyncpg.Record]"
    writer: "asyncpg.Connection[asyncpg.Record]"
    readers: Database
    orders: DatabaseWriter

    async def in_both_worlds(
        self, ask: Callable[[str], Awaitable[str]], statements: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """Return the outcome of each statement, in one world and in the other."""
        seen = []
        for world in WORLDS:
            await self.owner.execute(world)
            seen.append([await ask(each) for each in statements])
        return dict(zip(statements, zip(*seen, strict=True), strict=True))

    async def answer(self, statement: str) -> str:
        """Return the model's answer to a statement that nobody has approved."""
        try:
            preview = await self.orders.preview(statement)
        except ToolFailure as error:
            return str(error)
        return f"{preview.effect} {preview.facts}"

    async def outcome(self, statement: str) -> str:
        """Return the outcome of a statement that the writing role simply runs."""
        transaction = self.writer.transaction()
        await transaction.start()
        try:
            return await self.writer.execute(statement)
        except asyncpg.PostgresError as error:
            return f"{error!r} {error.detail}"
        finally:
            await transaction.rollback()


@pytest_asyncio.fixture(scope="module")
async def vault(database_url: str) -> AsyncIterator[Vault]:
    """A database with secrets, a role that reads some of it, and one that may do all."""
    superuser = database_url.replace("bot_reader@", "postgres@", 1)
    url = superuser.replace("/sample?", "/vault?", 1)
    reader, writer = (url.replace("postgres@", f"{role}@", 1) for role in ROLES)
    server = await asyncpg.connect(superuser)
    await server.execute("CREATE DATABASE vault TEMPLATE template0")
    await server.execute("; ".join(f"CREATE ROLE {role} LOGIN" for role in ROLES))
    try:
        owner = await asyncpg.connect(url)
        await owner.execute(VAULT)
        directly = await asyncpg.connect(writer)
        async with (
            open_database(reader, size=1) as readers,
            open_database_writer(writer, readers, size=1, rehearsals=100_000) as orders,
        ):
            yield Vault(owner, directly, readers, orders)
        await directly.close()
        await owner.close()
    finally:
        await server.execute("DROP DATABASE vault WITH (FORCE)")
        await server.execute("; ".join(f"DROP ROLE {role}" for role in ROLES))
        await server.close()


@pytest_asyncio.fixture(scope="module")
async def told(vault: Vault) -> dict[str, tuple[str, ...]]:
    """Return the model's answer to each attack, in one world and in the other."""
    return await vault.in_both_worlds(vault.answer, ATTACKS)


@pytest_asyncio.fixture(scope="module")
async def done(vault: Vault) -> dict[str, tuple[str, ...]]:
    """Return the effect of each attack if the writing role just ran it."""
    return await vault.in_both_worlds(vault.outcome, ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack[:60])
def test_a_rehearsal_is_no_oracle(
    attack: str, told: dict[str, tuple[str, ...]], done: dict[str, tuple[str, ...]]
) -> None:
    """Fault: an unapproved rehearsal read what the reading role may not, by error, count or success.

    Run by the writing role, each attack tells the worlds apart: otherwise it would prove nothing.
    """
    assert len(set(done[attack])) == 2
    one, other = told[attack]
    assert one == other
    assert not any(secret in one for secret in SECRETS if secret not in attack)


@pytest.mark.parametrize(("statement", "words"), SURELY_TRIED.items())
async def test_what_depends_on_nothing_hidden_is_tried(statement: str, words: str, vault: Vault) -> None:
    """A person is not asked for what cannot run; the words are ours."""
    answer = await vault.answer(statement)
    assert words in answer
    assert "not tried" not in answer


async def test_errors_are_told_by_their_code_and_a_sentence_of_ours(vault: Vault) -> None:
    """The server's words quote values, which may be another's."""
    answer = await vault.answer("UPDATE plain SET stock = name::int WHERE id = 1")
    assert answer == "It cannot run: a value has the wrong format, or is out of range (SQLSTATE 22P02)."


PIECES = [
    "id = 1", "true", "stock > 0", "name LIKE 'a%'", "EXISTS (SELECT FROM secrets WHERE value < 'i')",
    "EXISTS (WITH secrets AS (SELECT 'a' AS value) SELECT FROM secrets WHERE value < 'i')",
    "(SELECT value FROM secrets)::regclass IS NULL", "(SELECT count(*) FROM guarded) > 2", "peek() = 1",
    "id IN (SELECT pay - 8712 FROM salaries)", "id IN (SELECT id FROM salaries)", "tell() < 'i'",
    "(SELECT max(stock) FROM mine) > 100", "EXISTS (SELECT FROM plans)", "id @#@ 0 > 1",
    "EXISTS (SELECT FROM backroom.plans WHERE value < 'i')", "1 / (3 - (SELECT count(*) FROM guarded)) = 1",
]  # fmt: skip
VALUES = [
    "1", "DEFAULT", "stock - 11", "(SELECT length(value) FROM secrets)", "peek() - 1", "1 - 2 * peek()",
    "(SELECT max(pay) FROM salaries)", "(SELECT 1 FROM guarded WHERE id > 2)", "length(tell()) - 8",
]  # fmt: skip
TABLES = ["plain", "shelf", "guarded", "watched", "ruled", "salaries", "mine", "public.plain", "checked"]
CLAUSES = [
    "",
    "WITH secrets AS (SELECT 'a' AS value) ",
    "WITH guarded AS (TABLE plain) ",
    "WITH x AS (TABLE mine) ",
]


def random_change(chance: random.Random) -> str:
    """A change put together from pieces that read what is hidden, and from some that do not."""
    clause, table = chance.choice(CLAUSES), chance.choice(TABLES)
    condition = chance.choice([" AND ", " OR "]).join(chance.choices(PIECES, k=chance.randint(1, 3)))
    others = chance.choice(["", "", "guarded g", "secrets s", "salaries s", "(SELECT * FROM mine) AS m"])
    match chance.randint(0, 2):
        case 0:
            source = f" FROM {others}" if others else ""
            return f"{clause}UPDATE {table} SET stock = {chance.choice(VALUES)}{source} WHERE {condition}"
        case 1:
            source = f" USING {others}" if others else ""
            return f"{clause}DELETE FROM {table}{source} WHERE {condition}"
        case _:
            value = chance.choice(VALUES[2:])
            rows = f"SELECT id + 100, {value} FROM plain WHERE {condition}"
            return f"{clause}INSERT INTO {table} (id, stock) {rows}"


async def test_no_invented_change_is_an_oracle(vault: Vault) -> None:
    """Statements of random shapes are answered alike in both worlds, some with an effect.

    The same ones in every run; HYPOTHESIS_PROFILE=search looks for new ones.
    """
    is_search = os.environ.get("HYPOTHESIS_PROFILE") == "search"
    chance = random.Random(None if is_search else 9)
    statements = list(dict.fromkeys(random_change(chance) for _ in range(3_000 if is_search else 100)))
    told = await vault.in_both_worlds(vault.answer, statements)
    assert [each for each, answers in told.items() if len(set(answers)) > 1] == []
    assert not [one for one, _ in told.values() if any(secret in one for secret in SECRETS)]
    assert sum(one.startswith("It would") for one, _ in told.values()) > 5
