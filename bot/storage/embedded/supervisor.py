"""Supervisor of one server: starts it, and stops it after its last user. Run as a script, never imported.

    supervisor.py STOP_SIGNAL [STALE_FILE ...] -- COMMAND ...      in the server's directory

It exits at once with 0 if another supervisor or a server is running there. Else it goes to the background
holding `server.lock`, which the server inherits: the lock is free only after both have ended. It ends with
its server; the users restart it (`server.py`).

It imports little, and nothing of the bot, so that it starts quickly and stays small.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1  # prctl(2)
WAKERS = {signal.SIGCHLD, signal.SIGTERM}


def main() -> int:
    separator = sys.argv.index("--")
    stop_signal, *stale = sys.argv[1:separator]
    lock = os.open("server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not claim(lock):
        return 0
    if os.fork():  # the end of this process tells its parent that the lock is taken
        return 0
    for path in stale:  # the lock proves that no server runs here, even if there is a pid file
        if os.path.lexists(path):
            os.unlink(path)
    return supervise(sys.argv[separator + 1 :], signal.Signals(int(stop_signal)), lock)


def claim(lock: int) -> bool:
    """Take the lock; return False if a supervisor or a server holds it (users hold it only briefly)."""
    while True:
        for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(lock, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if mode == fcntl.LOCK_EX:
                return True
            break  # a user checks it at this moment
        else:
            return False


def supervise(command: list[str], stop_signal: signal.Signals, lock: int) -> int:
    """Run the server until it ends, its last user leaves, or this process is terminated."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKERS)

    def prepare_server() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKERS)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(stop_signal))

    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[lock], preexec_fn=prepare_server)
    threading.Thread(target=terminate_after_last_user, daemon=True).start()
    while server.poll() is None:
        if signal.sigwait(WAKERS) == signal.SIGTERM:
            stop(server, stop_signal)
    return server.returncode


def terminate_after_last_user() -> None:
    # held to the end: nobody can become a user of a stopping server
    users = os.open("users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)


def stop(server: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Stop the server cleanly, or kill it after a timeout (both servers recover without data loss)."""
    server.send_signal(stop_signal)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
