"""Launcher that runs one parser in a sandbox: no files, no network, no other processes.

Run as `python -I confinement.py PROGRAM ARGUMENTS…`. It imports what PROGRAM needs, gives up each system call
that parsing in memory does not need (seccomp, Linux on x86-64 and Arm), and only then lets PROGRAM read its
input. Elsewhere the limits of `resource` remain. This module imports nothing of the bot.

Numbers: https://github.com/torvalds/linux/tree/master/arch (syscall_64.tbl; asm-generic/unistd.h).
"""

import ctypes
import os
import platform
import runpy
import struct
import sys

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 15
OPEN_FILES = 32
NICE = 5
"""Lower priority than the bot's: its event loop gets the processor first."""

_ALLOWED = {
    "x86_64": (
        0xC000003E,
        # read write close fstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
        *(0, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        # readv writev sched_yield mremap madvise getpid exit uname getrusage sysinfo sigaltstack gettid futex
        *(19, 20, 24, 25, 28, 39, 60, 63, 98, 99, 131, 186, 202),
        # getcwd times sched_getaffinity clock_gettime clock_getres exit_group getrandom rseq
        *(79, 100, 204, 228, 229, 231, 318, 334),
    ),
    "aarch64": (
        0xC00000B7,
        # getcwd close lseek read write readv writev ppoll fstat exit exit_group futex
        *(17, 57, 62, 63, 64, 65, 66, 73, 80, 93, 94, 98),
        # clock_gettime clock_getres sched_getaffinity sched_yield sigaltstack rt_sigaction
        *(113, 114, 123, 124, 132, 134),
        # rt_sigprocmask rt_sigreturn times uname getrusage getpid gettid sysinfo brk munmap mremap
        *(135, 139, 153, 160, 165, 172, 178, 179, 214, 215, 216),
        # mmap mprotect madvise getrandom rseq
        *(222, 226, 233, 278, 293),
    ),
}
"""Audit architecture and remaining system calls by machine.

tgkill, which abort() uses, is not allowed: it reaches every process of the user. Without it abort() falls
back to an instruction that ends the process, too.
"""

_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # of classic BPF
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVILEGES = 22, 2, 38  # of prctl(2)


class _Program(ctypes.Structure):
    """C structure `struct sock_fprog`: length and address of a BPF program."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def limit() -> None:
    """Bound memory, processor time and open files; allow no file to be written; lower the priority."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    try:
        import resource
    except ImportError:  # not on Windows; the caller's time limit remains
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))


def confine() -> bool:
    """Refuse all other system calls from now on. Return False if the system does not support that."""
    allowed = _ALLOWED.get(platform.machine()) if sys.platform == "linux" else None
    if allowed is None:
        return False
    architecture, *numbers = allowed
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER),
        *((_EQUALS, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    is_refusing = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    return is_refusing and bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def main() -> None:
    """Run the program named on the command line: `prepare(*arguments)`, then `run(*arguments)`."""
    program, *arguments = sys.argv[1:]
    limit()
    steps = runpy.run_path(program)
    steps["prepare"](*arguments)
    confine()
    steps["run"](*arguments)


if __name__ == "__main__":
    main()
