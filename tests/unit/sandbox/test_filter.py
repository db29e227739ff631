"""The filter of system calls, for both machines: numbers and arguments were fixed by hand from Linux's headers."""

import struct

import pytest

from r2vpo.sandbox.inside.seccomp import filled, filter_lines, template
from tests.unit.sandbox.filters import PID, answer

PLACE = 0x7F0012345678  # an address
HIGH = 1 << 32
# Name, number on x86-64, number on arm64, arguments.
ALLOWED = [
    ("read", 0, 63, ()),
    ("F_GETFD", 72, 25, (5, 1)),
    ("F_SETFL O_NONBLOCK", 72, 25, (5, 4, 0o4000)),
    ("F_GETFL, with rubbish for what it does not take", 72, 25, (5, 3, 0o20000)),
    ("FIONBIO", 16, 29, (5, 0x5421, PLACE)),
    ("a socket pair", 53, 199, (1, 1 | 0o2000000, 0, PLACE)),
    ("sendto without an address", 44, 206, (5, PLACE, 9, 0x4000, 0, 0)),
    ("a signal to itself", 62, 129, (PID, 10)),
    ("a signal to a thread of its own", 234, 131, (PID, 77, 10)),
    ("a thread", 56, 220, (0x3D0F00,)),
    ("its own clock", 228, 113, (2, PLACE)),
    ("its own limits", 302, 261, (0, 7, 0, PLACE)),
    ("opening to read", 257, 56, (-100, PLACE, 0o2000000)),
    ("waiting for the end of a thread", 202, 98, (PLACE, 9 | 256, 77, PLACE, 0, 0xFFFFFFFF)),
    ("waiting for a thread", 202, 98, (PLACE, 128, 2, 0)),
    ("waking a thread", 202, 98, (PLACE, 129, 1)),
    ("waking a thread by bits", 202, 98, (PLACE, 138, 1, 0, 0, 1)),
    ("moving threads", 202, 98, (PLACE, 132, 1, 7, PLACE, 2)),
    ("waking by two words", 202, 98, (PLACE, 133, 1, 1, PLACE, 0)),
    ("private pages", 9, 222, (0, 4096, 3, 0x22, -1, 0)),
    ("pages given back", 28, 233, (PLACE, 4096, 4)),
]
REFUSED = [
    ("F_SETOWN", 72, 25, (5, 8, 1)),
    ("F_SETOWN, with upper bits that the kernel ignores", 72, 25, (5, HIGH | 8, 1)),
    ("F_SETOWN_EX", 72, 25, (5, 15, PLACE)),
    ("F_SETSIG", 72, 25, (5, 10, 9)),
    ("O_ASYNC", 72, 25, (5, 4, 0o24000)),
    ("F_SETLEASE", 72, 25, (5, 1024, 0)),
    ("F_NOTIFY", 72, 25, (5, 1026, 1)),
    *[(f"a lock of a file, {kind}", 72, 25, (5, kind, PLACE)) for kind in (5, 6, 7, 36, 37, 38)],
    *[
        (f"a futex that lends priority, {kind} with {flags}", 202, 98, (PLACE, kind | flags, 0, 0))
        for kind in (6, 7, 8, 11, 12, 13)
        for flags in (0, 128, 256, 384)
    ],
    *[(f"waking of others, {kind}", 202, 98, (PLACE, kind, 1)) for kind in (1, 3, 4, 5, 10, 257)],
    ("FUTEX_FD", 202, 98, (PLACE, 2 | 128, 0)),
    ("a futex with another flag", 202, 98, (PLACE, 0x200, 0)),
    ("FIOSETOWN", 16, 29, (5, 0x8901, PLACE)),
    ("SIOCSPGRP", 16, 29, (5, 0x8902, PLACE)),
    ("FIOASYNC", 16, 29, (5, 0x5452, PLACE)),
    ("TIOCSTI", 16, 29, (0, 0x5412, PLACE)),
    ("a pair of datagram sockets", 53, 199, (1, 2, 0, PLACE)),
    ("a pair of TIPC", 53, 199, (30, 1, 0, PLACE)),
    ("sendto with an address", 44, 206, (5, PLACE, 9, 0, PLACE, 16)),
    ("sendto with an address whose lower half is zero", 44, 206, (5, PLACE, 9, 0, 7 * HIGH, 16)),
    ("MSG_OOB", 44, 206, (5, PLACE, 1, 1, 0, 0)),
    ("SO_PEERPIDFD", 55, 209, (5, 1, 77, PLACE, PLACE)),
    ("a signal to another", 62, 129, (PID + 1, 9)),
    ("a signal to everybody", 62, 129, (-1, 9)),
    ("a signal to its group", 62, 129, (0, 9)),
    ("a signal to a thread by its number alone", 200, 130, (PID, 9)),
    ("a signal to a thread of another", 234, 131, (PID + 1, PID + 1, 9)),
    ("a process", 56, 220, (17,)),
    ("a process with its memory", 56, 220, (0x4000 | 0x100 | 17,)),
    ("a thread with namespaces", 56, 220, (0x3D0F00 | 0x20000,)),
    ("another's clock", 228, 113, ((~1 << 3) | 2, PLACE)),
    ("another's limits", 302, 261, (PID + 1, 7, PLACE, 0)),
    ("opening to write", 257, 56, (-100, PLACE, 0o101)),
    ("opening a path alone", 257, 56, (-100, PLACE, 0o10000000)),
    ("huge pages", 9, 222, (0, 1 << 21, 3, 0x40022, -1, 0)),
    ("MADV_HWPOISON", 28, 233, (PLACE, 4096, 100)),
    *[
        (name, x86, arm, (PLACE,) * 6)
        for name, x86, arm in [
            ("ptrace", 101, 117), ("prctl", 157, 167), ("kcmp", 312, 272), ("process_vm_readv", 310, 270),
            ("process_vm_writev", 311, 271), ("pidfd_open", 434, 434), ("pidfd_getfd", 438, 438),
            ("pidfd_send_signal", 424, 424), ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426),
            ("userfaultfd", 323, 282), ("memfd_create", 319, 279), ("execve", 59, 221), ("execveat", 322, 281),
            ("shmget", 29, 194), ("semget", 64, 190), ("msgget", 68, 186), ("keyctl", 250, 219), ("add_key", 248, 217),
            ("perf_event_open", 298, 241), ("bpf", 321, 280), ("setpriority", 141, 140),
            ("sched_setaffinity", 203, 122),
            ("unshare", 272, 97), ("setns", 308, 268), ("mount", 165, 40), ("chroot", 161, 51), ("socket", 41, 198),
            ("connect", 42, 203), ("bind", 49, 200), ("sendmsg", 46, 211), ("recvmsg", 47, 212), ("openat2", 437, 437),
            ("open_by_handle_at", 304, 265), ("landlock_create_ruleset", 444, 444),
            ("landlock_restrict_self", 446, 446),
            ("seccomp", 317, 277), ("mknodat", 259, 33), ("inotify_init1", 294, 26), ("setsockopt", 54, 208),
            ("rt_sigqueueinfo", 129, 138), ("tkill", 200, 130), ("mincore", 27, 232), ("unlinkat", 263, 35),
            ("setrlimit", 160, 164), ("reboot", 169, 142), ("no such call", 1000, 1000),
        ]
    ],
]  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_allowed_and_what_is_refused(machine):
    column = 1 if machine == "x86_64" else 2
    for cases, wanted in ((ALLOWED, "allowed"), (REFUSED, "refused")):
        found = {case[0]: answer(machine, case[column], *case[3]) for case in cases}
        assert found == dict.fromkeys(found, wanted)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_files_of_its_own_can_be_changed_and_what_is_the_machines_cannot(machine):
    x86 = machine == "x86_64"
    cases = [(257 if x86 else 56, -100, PLACE, 0o101), (263 if x86 else 35, -100, PLACE)]
    assert [answer(machine, *case, writable=True) for case in cases] == ["allowed"] * 2
    assert [answer(machine, *case) for case in cases] == ["refused"] * 2
    fcntl = 72 if x86 else 25
    # chmod, fchmod, fchmodat, fchmodat2, fchown, fchownat, utimensat, fsetxattr, flock
    metadata = [90, 91, 268, 452, 93, 260, 280, 190, 73] if x86 else [52, 53, 452, 55, 54, 88, 7, 32]
    found = [answer(machine, number, 2, 0, writable=True) for number in metadata]
    found += [answer(machine, fcntl, 5, kind, PLACE, writable=True) for kind in (5, 6, 7, 8, 36, 37, 38, 1024)]
    assert found == ["refused"] * len(found)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_template_is_the_filter_of_any_process(machine):
    for writable in (False, True):
        lines = filter_lines(machine, pid=PID, writable=writable)
        expected = b"".join(struct.pack("HBBI", *line) for line in lines)
        assert filled(template(machine, writable=writable), PID) == expected


def test_other_entry_points_are_refused():
    read = {"x86_64": 0, "aarch64": 63}
    for machine, number in read.items():
        for other in (0x40000003, 0xC00000B7 if machine == "x86_64" else 0xC000003E, 0x40000028):  # i386, arm64, arm
            assert answer(machine, number, architecture=other) == "refused"
    assert answer("x86_64", 0x40000000) == "refused"  # x32's read
    assert answer("x86_64", 435) == answer("aarch64", 435) == "unknown"
    with pytest.raises(OSError, match="no table of system calls for riscv64"):
        answer("riscv64", 0, architecture=1)
