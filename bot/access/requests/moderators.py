"""Users who can stop the answers of others."""

from collections.abc import Set
from dataclasses import dataclass

from bot.access.requests.request_store import RequestStore
from bot.chat import Approval


@dataclass(frozen=True, slots=True)
class Moderators:
    """Administrators, and approvers where a request waits for them; a `bot.chat.StopPolicy`."""

    admins: Set[str]
    approvers: Set[str]
    requests: RequestStore

    async def can_stop(self, author: str, thread: str) -> bool:
        """Return whether an author is an administrator, or can approve what waits in a thread."""
        if author in self.admins:
            return True
        if author not in self.approvers:
            return False
        waiting = [each for each in await self.requests.undecided() if str(each.thread) == thread]
        approvals = [each.request for each in waiting if isinstance(each.request, Approval)]
        return any(author in each.approvers for each in approvals)
