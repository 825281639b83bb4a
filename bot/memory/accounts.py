"""Linked accounts of one person: a code that one account creates is typed in the other."""

import hashlib
import json
import secrets
from dataclasses import asdict
from typing import Any

from redis.asyncio import Redis

from bot.memory import texts
from bot.memory.visibility import Account

CODE_SECONDS = 600
MOST_TRIES = 5
"""Most codes that an account may try in `CODE_SECONDS`."""

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # no characters that look alike
_CODE_LENGTH = 10

# KEYS offer | ARGV code_key_prefix code account seconds: an earlier code becomes invalid
_OFFER = """
local earlier = redis.call('GET', KEYS[1])
if earlier then redis.call('DEL', ARGV[1] .. earlier) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
redis.call('SET', ARGV[1] .. ARGV[2], ARGV[3], 'EX', ARGV[4])
"""

# KEYS tries code | ARGV most seconds own_account -> -1 too many tries | nothing: no such code | the account
# Deleted in the same step, so that no code works twice; the account that made the code cannot use it up.
_TAKE = """
local tries = redis.call('INCR', KEYS[1])
if tries == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if tries > tonumber(ARGV[1]) then return -1 end
local account = redis.call('GET', KEYS[2])
if account and account ~= ARGV[3] then redis.call('DEL', KEYS[2]) end
return account
"""

# KEYS links of two accounts | ARGV prefix, then digest and account of each: each gets all links of the other
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

# KEYS links | ARGV prefix digest -> number of accounts it was linked with
_UNLINK = """
local others = redis.call('HKEYS', KEYS[1])
for _, other in ipairs(others) do redis.call('HDEL', ARGV[1] .. other, ARGV[2]) end
redis.call('DEL', KEYS[1])
return #others
"""


class LinkRefused(Exception):
    """Code that cannot link accounts; the text tells the user why, and what to do."""


class AccountLinks:
    """Links between accounts. Errors of redis-py pass through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._offer = redis.register_script(_OFFER)
        self._take = redis.register_script(_TAKE)
        self._link = redis.register_script(_LINK)
        self._unlink = redis.register_script(_UNLINK)

    async def accounts(self, account: Account) -> frozenset[Account]:
        """Return all linked accounts of a person, including this one."""
        linked: Any = await self._redis.hvals(_links(account))
        return frozenset({account, *(Account(**json.loads(each)) for each in linked)})

    async def authors(self, author: str, space: str) -> frozenset[str]:
        """Return all authors, as in `Message`, that are the same person as this author in this space."""
        return frozenset(each.author for each in await self.accounts(Account.of(author, space)))

    async def offer(self, account: Account) -> str:
        """Return a code that links another account with this one, once, within `CODE_SECONDS`."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
        await self._offer(
            keys=[f"people:offer:{account.digest}"],
            args=["people:code:", _code_digest(code), _to_json(account), CODE_SECONDS],
        )
        return f"{code[:5]}-{code[5:]}"

    async def link(self, account: Account, code: str) -> Account:
        """Link this account with the account that made the code, and return that. Raises `LinkRefused`."""
        maker: Any = await self._take(
            keys=[f"people:tries:{account.digest}", f"people:code:{_code_digest(code)}"],
            args=[MOST_TRIES, CODE_SECONDS, _to_json(account)],
        )
        if maker == -1:
            raise LinkRefused(texts.TOO_MANY_CODES)
        if maker is None:
            raise LinkRefused(texts.UNKNOWN_CODE)
        other = Account(**json.loads(maker))
        if other == account:
            raise LinkRefused(texts.OWN_CODE)
        await self._link(
            keys=[_links(account), _links(other)],
            args=[_LINKS, account.digest, _to_json(account), other.digest, _to_json(other)],
        )
        return other

    async def unlink(self, account: Account) -> int:
        """Remove all links of this account; return how many there were."""
        return int(await self._unlink(keys=[_links(account)], args=[_LINKS, account.digest]))

    async def forget(self, account: Account) -> None:
        """Remove all links and codes of an account."""
        await self.unlink(account)
        offer: Any = await self._redis.get(f"people:offer:{account.digest}")
        codes = [f"people:code:{offer.decode()}"] if offer else []
        await self._redis.delete(f"people:offer:{account.digest}", f"people:tries:{account.digest}", *codes)


_LINKS = "people:links:"


def _links(account: Account) -> str:
    return f"{_LINKS}{account.digest}"


def _to_json(account: Account) -> str:
    return json.dumps(asdict(account))


def _code_digest(code: str) -> str:
    # a digest, so that nobody who can read Redis finds valid codes; case and separators do not matter
    plain = "".join(each for each in code.upper() if each.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
