"""Long-term memory across threads: facts and conversations, found only where they could be read anyway."""

from bot.memory.accounts import LinkRefused, People
from bot.memory.embeddings import Embeddings, OfflineEmbeddings
from bot.memory.index import ERRORS
from bot.memory.memory import Found, Recall, Saved
from bot.memory.owners import Belongings, digests
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
    "Belongings",
    "Embeddings",
    "Found",
    "LinkRefused",
    "NotHere",
    "OfflineEmbeddings",
    "People",
    "Recall",
    "Record",
    "Saved",
    "Scope",
    "account_of",
    "digests",
]
