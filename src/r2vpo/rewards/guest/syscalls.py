"""Which system calls a program may make, and their numbers: name, number on x86-64, number on arm64 (- for none).

The numbers are those of Linux's `asm/unistd_64.h` and `asm-generic/unistd.h`. Whatever is not named is refused:
processes, sockets with an address, signals to others, tracing, mounting, namespaces, keys, io_uring, shared memory,
memory files.
"""

from __future__ import annotations

ALLOWED = """
    read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
    pwritev 296 70, lseek 8 62, close 3 57, fstat 5 80, stat 4 -, lstat 6 -, newfstatat 262 79, statx 332 291,
    fstatfs 138 44, statfs 137 43, access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -,
    readlinkat 267 78, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, ioctl 16 29, fcntl 72 25,
    dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, flock 73 32, fsync 74 82, fdatasync 75 83,
    mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, brk 12 214, mincore 27 232,
    membarrier 324 283, futex 202 98, set_robust_list 273 99, rseq 334 293, set_tid_address 218 96,
    arch_prctl 158 -, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20,
    epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19, socketpair 53 199, sendto 44 206,
    recvfrom 45 207, shutdown 48 210, getsockopt 55 209, setsockopt 54 208, getsockname 51 204,
    getpeername 52 205, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132,
    rt_sigpending 127 136, restart_syscall 219 128, pause 34 -, alarm 37 -, setitimer 38 103, getitimer 36 102,
    nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169,
    time 201 -, times 100 153, getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175,
    getgid 104 176, getegid 108 177, getpgrp 111 -, getpgid 121 155, getsid 124 156, getgroups 115 158,
    getresuid 118 148, getresgid 120 150, sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168,
    getrlimit 97 163, getrusage 98 165, uname 63 160, sysinfo 99 179, getrandom 318 278, umask 95 166,
    exit 60 93, exit_group 231 94
"""

WRITING = """
    truncate 76 45, ftruncate 77 46, fallocate 285 47, unlink 87 -, unlinkat 263 35, rmdir 84 -, mkdir 83 -,
    mkdirat 258 34, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -,
    symlinkat 266 36, utimensat 280 88, chmod 90 -, fchmod 91 52, fchmodat 268 53, sendfile 40 71,
    copy_file_range 326 285
"""
"""What changes files; allowed where the files are the sandbox's own."""

CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
OPEN = {"x86_64": 2}
OPENAT = {"x86_64": 257, "aarch64": 56}


def numbers(table: str, machine: str) -> list[int]:
    """Return the numbers of a table's calls on a machine.

    Args:
        table: one of the tables above.
        machine: `x86_64` or `aarch64`.
    """
    column = {"x86_64": 1, "aarch64": 2}[machine]
    found = [entry.split()[column] for entry in table.split(",")]
    return [int(number) for number in found if number != "-"]
