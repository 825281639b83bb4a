"""Long-term memory across threads: facts and conversations, found only where they could be read anyway."""

from bot.memory.accounts import AccountLinks, LinkRefused
from bot.memory.embeddings import Embeddings, OfflineEmbeddings
from bot.memory.index import ERRORS
from bot.memory.memory import LongTermMemory, SavedFact, SearchResult
from bot.memory.owners import AuthorNote, Owners, digests
from bot.memory.records import MemoryRecord
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
    "AccountLinks",
    "AuthorNote",
    "Embeddings",
    "LinkRefused",
    "LongTermMemory",
    "MemoryRecord",
    "NotHere",
    "OfflineEmbeddings",
    "Owners",
    "SavedFact",
    "Scope",
    "SearchResult",
    "account_of",
    "digests",
]
