"""Memory across threads: facts and conversations, each found only by those who could read it anyway."""

from bot.recall.belongings import Belongings
from bot.recall.embeddings import Embeddings, OfflineEmbeddings
from bot.recall.people import LinkRefused, People
from bot.recall.readers import SCOPES, Account, NotHere, Scope, account_of
from bot.recall.recall import Found, Recall, Saved
from bot.recall.records import Record
from bot.recall.store import ERRORS

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
]
