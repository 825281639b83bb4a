"""Users who can stop the answers of others."""

from collections.abc import Set
from dataclasses import dataclass

from bot.access.approvals.request_store import RequestStore


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
        waiting = await self.requests.undecided()
        return any(str(each.thread) == thread and author in each.approval.approvers for each in waiting)
