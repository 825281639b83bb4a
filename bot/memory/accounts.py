"""Which accounts are one person: linked with a code that is made on one side and typed on the other."""

import hashlib
import json
import secrets
from dataclasses import asdict
from typing import Any

from redis.asyncio import Redis

from bot.memory.visibility import Account

CODE_SECONDS = 600
MOST_TRIES = 5
"""Codes that an account may try in `CODE_SECONDS`."""

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # nothing that looks like something else
_CODE_LENGTH = 10

# KEYS offer | ARGV code_key_prefix code account seconds: the code before this one ends
_OFFER = """
local earlier = redis.call('GET', KEYS[1])
if earlier then redis.call('DEL', ARGV[1] .. earlier) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
redis.call('SET', ARGV[1] .. ARGV[2], ARGV[3], 'EX', ARGV[4])
"""

# KEYS tries code | ARGV most seconds own_account -> -1 too many tries | nothing: no such code | the account
# Taken in the same step, so that no code works twice; its own maker keeps it.
_TAKE = """
local tries = redis.call('INCR', KEYS[1])
if tries == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if tries > tonumber(ARGV[1]) then return -1 end
local account = redis.call('GET', KEYS[2])
if account and account ~= ARGV[3] then redis.call('DEL', KEYS[2]) end
return account
"""

# KEYS links of two accounts | ARGV prefix, then digest and account of each: each gets all of the other's
_LINK = """
local prefix, all = ARGV[1], {[ARGV[2]] = ARGV[3], [ARGV[4]] = ARGV[5]}
for _, key in ipairs(KEYS) do
  local linked = redis.call('HGETALL', key)
  for i = 1, #linked, 2 do all[linked[i]] = linked[i + 1] end
end
for digest in pairs(all) do
  for other, account in pairs(all) do
    if other ~= digest then redis.call('HSET', prefix .. digest, other, account) end
  end
end
"""

# KEYS links | ARGV prefix digest -> how many accounts it was linked with
_UNLINK = """
local others = redis.call('HKEYS', KEYS[1])
for _, other in ipairs(others) do redis.call('HDEL', ARGV[1] .. other, ARGV[2]) end
redis.call('DEL', KEYS[1])
return #others
"""


class LinkRefused(Exception):
    """A code that links nothing; the text says why, and what to do."""


class People:
    """The links between accounts. Errors of redis-py pass through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._offer = redis.register_script(_OFFER)
        self._take = redis.register_script(_TAKE)
        self._link = redis.register_script(_LINK)
        self._unlink = redis.register_script(_UNLINK)

    async def accounts(self, account: Account) -> frozenset[Account]:
        """All accounts of the person whose account this is, itself among them."""
        linked: Any = await self._redis.hvals(_links(account))
        return frozenset({account, *(Account(**json.loads(each)) for each in linked)})

    async def authors(self, author: str, space: str) -> frozenset[str]:
        """All authors, as in `Message`, that are the same person as this one, who writes in that space."""
        return frozenset(each.author for each in await self.accounts(Account.of(author, space)))

    async def offer(self, account: Account) -> str:
        """A code that links another account with this one, once, within `CODE_SECONDS`."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
        await self._offer(
            keys=[f"people:offer:{account.digest}"],
            args=["people:code:", _hidden(code), _packed(account), CODE_SECONDS],
        )
        return f"{code[:5]}-{code[5:]}"

    async def link(self, account: Account, code: str) -> Account:
        """Make one person of this account and the one that made the code, which is returned.

        Raises `LinkRefused`.
        """
        maker: Any = await self._take(
            keys=[f"people:tries:{account.digest}", f"people:code:{_hidden(code)}"],
            args=[MOST_TRIES, CODE_SECONDS, _packed(account)],
        )
        if maker == -1:
            raise LinkRefused("Too many codes were tried from this account. Wait ten minutes.")
        if maker is None:
            raise LinkRefused(
                "This code does not exist, was used, or is older than ten minutes. Make a new one with "
                "`/agent-memory link` on the other side."
            )
        other = Account(**json.loads(maker))
        if other == account:
            raise LinkRefused("You made this code here. Type it on the other side: that links the two.")
        await self._link(
            keys=[_links(account), _links(other)],
            args=[_LINKS, account.digest, _packed(account), other.digest, _packed(other)],
        )
        return other

    async def unlink(self, account: Account) -> int:
        """Make a person of its own of this account again; returns how many it was linked with."""
        return int(await self._unlink(keys=[_links(account)], args=[_LINKS, account.digest]))

    async def forget(self, account: Account) -> None:
        """Remove all that is kept of an account here."""
        await self.unlink(account)
        offer: Any = await self._redis.get(f"people:offer:{account.digest}")
        codes = [f"people:code:{offer.decode()}"] if offer else []
        await self._redis.delete(f"people:offer:{account.digest}", f"people:tries:{account.digest}", *codes)


_LINKS = "people:links:"


def _links(account: Account) -> str:
    return f"{_LINKS}{account.digest}"


def _packed(account: Account) -> str:
    return json.dumps(asdict(account))


def _hidden(code: str) -> str:
    # who can read Redis shall not find codes that still work; no spelling of it matters
    plain = "".join(each for each in code.upper() if each.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
