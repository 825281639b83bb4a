"""Redis and Postgres as child processes, for a bot without REDIS_URL or DATABASE_URL.

Life cycle of each server, in its own folder of DATA_DIR:

- The first process on a DATA_DIR starts the server, others use it, and the last one stops it. Each process
  holds a shared file lock, which the kernel releases with the process, also after kill -9.
- A small supervisor (`supervisor.py`) owns the server in a separate session and stops it cleanly once no
  process uses it. So nothing is orphaned, even if all bots were killed, and Ctrl-C in a terminal reaches only
  the bot. If the supervisor is killed, Linux stops the server (PR_SET_PDEATHSIG).
- The supervisor and its server share another lock: while it is held, a server may be writing, so no second
  one is started. Pid files are not trusted, so stale ones do no harm.
- Every process watches that lock; if it is free, the server has died, and the watcher starts it again with
  its data at the same address.

The locks need a local file system. POSIX only.
"""

from bot.storage.embedded.postgres import embedded_postgres, writer_dsn
from bot.storage.embedded.redis import embedded_redis
from bot.storage.embedded.server import EmbeddedError
from bot.storage.embedded.servers import Servers, open_servers

__all__ = ["EmbeddedError", "Servers", "embedded_postgres", "embedded_redis", "open_servers", "writer_dsn"]
