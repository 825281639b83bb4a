"""Long-term memory across threads: facts and conversations, found only where they could be read anyway."""

from bot.memory.accounts import Accounts, LinkRefused
from bot.memory.embeddings import Embeddings, OfflineEmbeddings
from bot.memory.index import ERRORS
from bot.memory.memory import Found, LongTermMemory, Saved
from bot.memory.owners import Owners, digests
from bot.memory.records import Record
from bot.memory.visibility import (
    SCOPES,
    Account,
    NotHere,
    Scope,
    account_of,
)

__all__ = [
    "ERRORS",
    "SCOPES",
    "Account",
    "Accounts",
    "Embeddings",
    "Found",
    "LinkRefused",
    "LongTermMemory",
    "NotHere",
    "OfflineEmbeddings",
    "Owners",
    "Record",
    "Saved",
    "Scope",
    "account_of",
    "digests",
]
