"""The system calls that a program may make, with their permitted arguments; all others are refused.

The tables hold names, their numbers on x86-64 and their numbers on arm64 (- for none), from Linux's `asm/unistd_64.h`
and `asm-generic/unistd.h`. `ARGUED` holds the calls whose effect depends on their arguments; `conditions` says which
arguments are permitted.
"""

from __future__ import annotations

from typing import NamedTuple

ALWAYS = """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
    pwritev 296 70, lseek 8 62, close 3 57, fstat 5 80, stat 4 -, lstat 6 -, newfstatat 262 79, statx 332 291,
    access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61,
    getcwd 79 17, chdir 80 49, fchdir 81 50, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, munmap 11 215,
    mprotect 10 226, mremap 25 216, brk 12 214, set_robust_list 273 99, rseq 334 293,
    set_tid_address 218 96, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20,
    epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19, shutdown 48 210, getsockname 51 204,
    getpeername 52 205, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132,
    rt_sigpending 127 136, restart_syscall 219 128, pause 34 -, alarm 37 -, setitimer 38 103, getitimer 36 102,
    nanosleep 35 101, gettimeofday 96 169, time 201 -, times 100 153, getpid 39 172, gettid 186 178,
    getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getpgrp 111 -,
    getgroups 115 158, getresuid 118 148, getresgid 120 150, sched_yield 24 124, getcpu 309 168,
    getrlimit 97 163, getrusage 98 165, uname 63 160, sysinfo 99 179, getrandom 318 278, umask 95 166,
    exit 60 93, exit_group 231 94
"""

WRITING = """
    truncate 76 45, ftruncate 77 46, fallocate 285 47, unlink 87 -, unlinkat 263 35, rmdir 84 -, mkdir 83 -,
    mkdirat 258 34, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -,
    symlinkat 266 36, sendfile 40 71, copy_file_range 326 285, fsync 74 82, fdatasync 75 83
"""
"""Calls that change or flush files; allowed if the sandbox has its own files.

`chmod`, `utimensat` and `flock` are not included: they change or lock files that are open only for reading, and
devices. The libraries and /dev/null belong to the machine.
"""

ARGUED = """
    futex 202 98, open 2 -, openat 257 56, fcntl 72 25, ioctl 16 29, mmap 9 222, madvise 28 233, pipe2 293 59,
    socketpair 53 199, sendto 44 206, recvfrom 45 207, getsockopt 55 209, kill 62 129, tgkill 234 131, clone 56 220,
    clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, prlimit64 302 261, getpgid 121 155,
    getsid 124 156, sched_getaffinity 204 123
"""

CLONE3 = 435
"""Its flags are in memory, where no filter sees them. It is answered with ENOSYS, after which the C library calls
`clone`."""


class Check(NamedTuple):
    """Check that a masked argument is one of several values.

    Attributes:
        argument: index of the argument, from 0.
        values: the permitted values.
        mask: which of the lower 32 bits count.
        pointer: whether the upper 32 bits must also be zero; the kernel ignores those of an `int`.
    """

    argument: int
    values: tuple[int, ...] = (0,)
    mask: int = 0xFFFFFFFF
    pointer: bool = False


def _without(argument: int, bits: int) -> Check:
    return Check(argument, mask=bits)


def _only(argument: int, bits: int) -> Check:
    return Check(argument, mask=0xFFFFFFFF & ~bits)


_CLOEXEC, _NONBLOCK, _DIRECT, _ASYNC = 0o2000000, 0o4000, 0o40000, 0o20000
_PATH_ONLY = 0o10000000
_CHANGES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND
_THREAD = 0x10000
# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID and DETACHED: the flags of a
# thread.
_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | _THREAD | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000
_FUTEX_PRIVATE, _FUTEX_REAL_TIME = 128, 256
_FUTEX_WAITS = (0, 9)  # WAIT and WAIT_BITSET
_FUTEX_WAKES = (1, 3, 4, 5, 10)  # WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAKE_BITSET


def conditions(pid: int, writable: bool) -> dict[str, list[list[Check]]]:
    """Return the permitted arguments of each call of `ARGUED`, for a program with this process id.

    Returns:
        A list of alternatives for each call; a call is allowed if all checks of one alternative hold.
    """
    kept = _ASYNC | _PATH_ONLY | (0 if writable else _CHANGES)
    own = (0, pid)
    futexes = (*_FUTEX_WAITS, *(kind | _FUTEX_PRIVATE for kind in (*_FUTEX_WAITS, *_FUTEX_WAKES)))
    return {
        # The operations that lend priority (LOCK_PI and related ones) are not allowed: they reach any process by its
        # number. Only private futexes, except for waiting: the C library waits for the end of a thread on a shared one.
        "futex": [[Check(1, futexes, mask=0xFFFFFFFF & ~_FUTEX_REAL_TIME)]],
        "open": [[_without(1, kept)]],
        "openat": [[_without(2, kept)]],
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; F_SETFL without O_ASYNC. No owner of signals
        # (F_SETOWN, F_SETOWN_EX, F_SETSIG), no lock, no lease, no notice of others' files, no seals, no larger pipes.
        "fcntl": [[Check(1, (0, 1, 2, 3, 1030))], [Check(1, (4,)), _without(2, _ASYNC)]],
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. No owner of signals (FIOSETOWN, SIOCSPGRP), no
        # FIOASYNC, no network interfaces, no input for a terminal (TIOCSTI).
        "ioctl": [[Check(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451))]],
        "mmap": [[_without(3, 0x40000)]],  # not MAP_HUGETLB: the machine's own pages
        # NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTDUMP, DODUMP, GUARD_INSTALL
        # and GUARD_REMOVE: those that concern only the program's own pages.
        "madvise": [[Check(2, (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 102, 103))]],
        "pipe2": [[_only(1, _CLOEXEC | _NONBLOCK | _DIRECT)]],
        # AF_UNIX and SOCK_STREAM: a pair that stays connected. A datagram socket could send to any address.
        "socketpair": [[Check(0, (1,)), Check(1, (1,), mask=0xFFFFFFFF & ~(_CLOEXEC | _NONBLOCK))]],
        "sendto": [[Check(4, pointer=True), _without(3, 1)]],  # without an address, without MSG_OOB
        "recvfrom": [[_without(3, 1)]],
        # SOL_SOCKET: SO_TYPE, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_PROTOCOL, SO_DOMAIN. Not the identity of the peer.
        "getsockopt": [[Check(1, (1,)), Check(2, (3, 4, 7, 8, 38, 39))]],
        "kill": [[Check(0, (pid,))]],
        "tgkill": [[Check(0, (pid,))]],
        "clone": [[Check(0, (_THREAD,), mask=_THREAD), _only(0, _THREAD_FLAGS)]],
        # The clocks of the system and of the caller; negative numbers are CPU clocks of other processes.
        "clock_gettime": [[_only(0, 15)]],
        "clock_getres": [[_only(0, 15)]],
        "clock_nanosleep": [[_only(0, 15)]],
        # Its own limits: without capabilities, none can be raised above what `confine` sets.
        "prlimit64": [[Check(0, own)]],
        "getpgid": [[Check(0, own)]],
        "getsid": [[Check(0, own)]],
        "sched_getaffinity": [[Check(0, own)]],
    }


def numbers(table: str, machine: str) -> dict[str, int]:
    """Return the calls of a table that exist on a machine, with their numbers."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    entries = [entry.split() for entry in table.split(",")]
    return {entry[0]: int(entry[column]) for entry in entries if entry[column] != "-"}
