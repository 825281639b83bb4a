"""Owns one server: starts it, and stops it when its last user is gone. Run as a script, never imported.

    supervisor.py STOP_SIGNAL [STALE_FILE ...] -- COMMAND ...      in the server's directory

It ends at once, with 0, when another supervisor or a server is at work there. Else it goes to the background
holding `server.lock`, which the server inherits: the lock is free when both are gone, and not before. It ends
with its server, however that ends; starting it anew is the users' business (`server.py`).

It imports little, and nothing of the bot, so that it starts in an instant and stays small.
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
    if os.fork():  # whoever waits for this process knows: the lock is taken
        return 0
    for path in stale:  # the lock proves that no server runs here, whatever a pid file says
        if os.path.lexists(path):
            os.unlink(path)
    return supervise(sys.argv[separator + 1 :], signal.Signals(int(stop_signal)), lock)


def claim(lock: int) -> bool:
    """Take the lock, unless a supervisor or a server holds it; users who only look at it do not count."""
    while True:
        for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try:
                fcntl.flock(lock, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if mode == fcntl.LOCK_EX:
                return True
            break  # somebody looks at it at this moment
        else:
            return False


def supervise(command: list[str], stop_signal: signal.Signals, lock: int) -> int:
    """Run the server until it ends, its last user goes, or somebody terminates this process."""
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
    # kept open to the end: nobody becomes a user of a server that is being stopped
    users = os.open("users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)


def stop(server: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Stop cleanly; kill what does not listen (both servers recover from that without losing data)."""
    server.send_signal(stop_signal)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
