"""Redis and Postgres as child processes, for whoever has set neither REDIS_URL nor DATABASE_URL.

Life cycle, the same for both servers, each in its own folder of DATA_DIR:

- The first process on a DATA_DIR starts a server, the others use it, the last one out stops it. Who uses it
  is known by a shared file lock per process, which the kernel releases with the process, also under kill -9.
- A small supervisor stands between (`supervisor.py`): it owns the server, in a session of its own, and stops
  it cleanly as soon as no user is left. So nothing is orphaned, even when all bots were killed and none comes
  back, and Ctrl-C in a terminal reaches the bot alone. Should the supervisor itself be killed, Linux tells
  the server to stop (PR_SET_PDEATHSIG).
- The supervisor and its server share one more lock: while it is held, a server may be writing there, so no
  second one is started. No pid file is trusted, hence no stale one harms.
- Every user watches that lock; when it is free the server has died, and the watcher starts it anew, with its
  data, at the same address.

The locks need a local file system. POSIX only.
"""

from bot.storage.embedded.postgres import embedded_postgres, for_writing
from bot.storage.embedded.redis import embedded_redis
from bot.storage.embedded.server import EmbeddedError

__all__ = ["EmbeddedError", "embedded_postgres", "embedded_redis", "for_writing"]
