"""Programs that attack what lies outside: every one runs, in every kind of sandbox, and reaches nothing."""

import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from r2vpo.sandbox import Sandbox
from tests.unit.sandbox.programs import CALLS, run

# Each is a body that raises, or evaluates to False, when it is refused. `PID` is a bystander's, FILE a file of the
# user, SOCKET and ABSTRACT names of sockets that listen, PARENT the sandbox's first process.
ATTACKS = {
    "kills a bystander": "os.kill(PID, 9)",
    "kills its parent": "os.kill(PARENT, 9)",
    "stops its parent": "os.kill(PARENT, signal.SIGSTOP)",
    "kills its group": "os.killpg(0, 9)",
    "kills a thread of a bystander": "call(234, 131, PID, PID, 9) == 0",
    "kills by a thread's number": "call(200, 130, PID, 9) == 0",
    "queues a signal": "call(129, 138, PID, 9, buffer()) == 0",
    "has a pipe kill a bystander": "owned(PID, lambda n: (fcntl(n, 8, PID), fcntl(n, 10, 9)))",
    "has a pipe kill its parent": "owned(PARENT, lambda n: (fcntl(n, 8, PARENT), fcntl(n, 10, 9)))",
    "has a pipe kill by F_SETOWN_EX": "owned(PID, lambda n: (fcntl(n, 15, struct.pack('ii', 1, PID)),))",
    "has a socket kill a bystander": "ioctl(PAIR[0], 0x8901, struct.pack('i', PID)) is not None",
    "has a socket kill its group": "ioctl(PAIR[0], 0x8902, struct.pack('i', PID)) is not None",
    "has a socket tell a bystander": "ioctl(PAIR[0], 0x5452, struct.pack('i', 1)) is not None",
    "takes a handle of a bystander": "call(434, 434, PID, 0) >= 0",
    "takes a file of a bystander": "call(438, 438, 0, 1, 0) >= 0",
    "reads a bystander's memory": "call(310, 270, PID, buffer(), 1, buffer(), 1, 0) >= 0",
    "writes a bystander's memory": "call(311, 271, PID, buffer(), 1, buffer(), 1, 0) >= 0",
    "opens a bystander's memory": "os.open(f'/proc/{PID}/mem', os.O_RDONLY) >= 0",
    "opens its own memory": "os.open('/proc/self/mem', os.O_RDWR) >= 0",
    "opens its parent's memory": "os.open(f'/proc/{PARENT}/mem', os.O_RDWR) >= 0",
    "traces a bystander": "call(101, 117, 16, PID, 0, 0) == 0",
    "traces its parent": "call(101, 117, 0x4206, PARENT, 0, 0) == 0",
    "compares with a bystander": "call(312, 272, PID, os.getpid(), 0, 0, 0) >= 0",
    "slows a bystander": "os.setpriority(os.PRIO_PROCESS, PID, 19) is None",
    "moves a bystander": "os.sched_setaffinity(PID, {0}) is None",
    "limits a bystander": "resource.prlimit(PID, resource.RLIMIT_CPU, (1, 1)) is not None",
    "lends its priority to a bystander": "locked(PID, 6)",
    "sees a bystander by a lock": "locked(PID, 8)",
    "lends its priority to its parent": "locked(PARENT, 13)",
    "wakes who waits elsewhere": "woken()",
    "asks for a bystander's clock": "time.clock_gettime((~PID << 3) | 2) >= 0",
    "asks for a bystander's session": "os.getsid(PID) >= 0",
    "makes a process": "os.fork() >= 0",
    "makes a process by hand": "call(56, 220, 17, 0, 0, 0, 0) >= 0",
    "makes a process by clone3": "call(435, 435, buffer(struct.pack('5Q', 0, 0, 0, 0, 17)), 88) >= 0",
    "becomes another program": "os.execv('/bin/true', ['true'])",
    "becomes a program in memory": "os.execve(os.memfd_create('x'), ['x'], {})",
    "makes a socket": "socket.socket(socket.AF_INET)",
    "makes a local socket": "socket.socket(socket.AF_UNIX)",
    "makes a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "sends to a path": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', SOCKET)",
    "sends to an abstract name": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', ABSTRACT)",
    "sends to a path from a stream": "PAIR[0].sendto(b'x', SOCKET)",
    "connects again": "PAIR[0].connect(ABSTRACT)",
    "sends a file": "socket.send_fds(PAIR[0], [b'x'], [0])",
    "sends out of band": "PAIR[0].send(b'x', socket.MSG_OOB)",
    "asks who its peer is": "PAIR[0].getsockopt(1, 77, 4)",
    "reads a file": "open(FILE).read() == 'mine'",
    "reads a file by openat2": "call(437, 437, -100, text(FILE), buffer(struct.pack('QQQ', 0, 0, 0)), 24) >= 0",
    "reads a file through a link": "os.symlink(FILE, '/tmp/link') is None and open('/tmp/link').read() == 'mine'",
    "takes a file by another name": "os.link(FILE, '/tmp/own') is None",
    "reads a file by its path alone": "os.open(FILE, os.O_PATH) >= 0",
    "reads a folder above": "os.listdir('/usr/lib/../../' + os.path.dirname(FILE)) != 0",
    "writes a file": "open(FILE, 'w')",
    "adds to a file": "open(FILE, 'a')",
    "cuts a file": "os.truncate(FILE, 0) is None",
    "removes a file": "os.remove(FILE) is None",
    "makes a file": "open(FILE + '2', 'x')",
    "makes a pipe with a name": "os.mkfifo(FILE + '3') is None",
    "changes a library": "open(os.__file__, 'a')",
    "locks a library": "fcntl_module.flock(open(os.__file__), fcntl_module.LOCK_EX | fcntl_module.LOCK_NB) is None",
    "locks a part of a library": "fcntl_module.lockf(open(os.__file__), fcntl_module.LOCK_SH) is None",
    "changes the mode of the machine's device": "os.fchmod(2, os.fstat(2).st_mode & 0o777) is None",
    "changes the mode of a device by its path": "os.chmod('/dev/null', os.stat('/dev/null').st_mode & 0o777) is None",
    "changes the mode of a library": "os.chmod(os.__file__, 0o644) is None",
    "changes the time of a library": "os.utime(os.__file__) is None",
    "takes a lease of a library": "fcntl(os.open(os.__file__, os.O_RDONLY), 1024, 0) == 0",
    "watches a folder": "fcntl(os.open('/usr/lib', os.O_RDONLY), 1026, 1) is not None",
    "watches by inotify": "call(294, 26, 0) >= 0",
    "sets up io_uring": "call(425, 425, 4, buffer()) >= 0",
    "takes page faults": "call(323, 282, 0) >= 0",
    "shares memory": "call(29, 194, 1234, 4096, 0o1600) >= 0",
    "makes a message queue": "call(68, 186, 1234, 0o1600) >= 0",
    "makes a semaphore": "call(64, 190, 1234, 1, 0o1600) >= 0",
    "shares memory by name": "__import__('_posixshmem').shm_open('/r2vpo', os.O_CREAT | os.O_RDWR, 0o600) >= 0",
    "keeps memory in a file": "os.memfd_create('x') >= 0",
    "looks at keys": "call(250, 219, 0, -3, 1) >= 0",
    "counts events": "call(298, 241, buffer(), 0, -1, -1, 0) >= 0",
    "loads a program into the kernel": "call(321, 280, 0, buffer(), 72) >= 0",
    "makes namespaces": "call(272, 97, 0x10000000) == 0",
    "changes its root": "os.chroot('/usr') is None",
    "outlives its parent": "libc.prctl(1, 0, 0, 0, 0) == 0",
    "can be looked into": "libc.prctl(4, 1, 0, 0, 0) == 0",
    "has a filter of its own": "call(317, 277, 0, 0, 0) == 0",
    "has a session of its own": "os.setsid() >= 0",
    "takes more memory": "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)) is None",
    "takes more files": "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)) is None",
    "takes more signals": "resource.setrlimit(resource.RLIMIT_SIGPENDING, (1000, 1000)) is None",
    "takes huge pages": "mmap.mmap(-1, 1 << 21, flags=0x40022) is not None",
    "enters by 32 bits": "old_entry() > 0",
}
# What the kernel alone cannot hide without namespaces; the probe says so then.
SIGHTS = {
    "sees a file": "os.stat(FILE)",
    "sees whether a file can be read": "os.access(FILE, os.F_OK)",
    "goes to a folder": "os.chdir(os.path.dirname(FILE)) is None",
    "tells a file by its error": "told(FILE) != told(FILE + '-not')",
}
PROGRAM = (
    CALLS
    + """
import fcntl as fcntl_module, mmap, resource, time
from fcntl import fcntl, ioctl
PID, PARENT, FILE, SOCKET, ABSTRACT = {pid}, os.getppid(), {file!r}, {socket!r}, {abstract!r}
PAIR = socket.socketpair()
def owned(pid, own):
    reader, writer = os.pipe()
    own(reader)
    fcntl(reader, 4, 0o20000 | 0o4000)
    os.write(writer, b"x")
    return True
def locked(thread, kind):
    call(202, 98, buffer(struct.pack('I', thread)), kind, 0, buffer(struct.pack('qq', 0, 0)))
    return ctypes.get_errno() != errno.EPERM
def woken():
    call(202, 98, buffer(), 1, 100)
    return ctypes.get_errno() != errno.EPERM
def told(path):
    try:
        open(path)
    except OSError as error:
        return error.errno
def old_entry():
    if ARM:
        raise OSError
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
try:
    reached = {attack}
except (OSError, ValueError, MemoryError, ImportError):
    reached = False
print("reached" if reached is not False else "refused")
"""
)


@pytest.fixture
def outside(tmp_path):
    """A process, a file and sockets of the user."""
    (tmp_path / "victim").write_text("mine")
    with (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract,
    ):
        path, name = str(tmp_path / "socket"), f"\0r2vpo-{os.getpid()}"
        named.bind(path)
        abstract.bind(name)
        given = {"pid": process.pid, "file": str(tmp_path / "victim"), "socket": path, "abstract": name}
        yield SimpleNamespace(process=process, sockets=(named, abstract), given=given, folder=tmp_path)
        process.kill()


def test_no_attack_reaches_anything(settings, outside):
    sandbox = Sandbox(settings)
    try:
        found = {}
        for name, attack in ATTACKS.items():
            report, said = run(sandbox, PROGRAM.format(attack=attack, **outside.given))
            found[name] = said.strip() or f"status {report.status}"
        assert found == dict.fromkeys(ATTACKS, "refused")
        assert run(sandbox, "print(input())", b"still there")[1] == "still there\n"
    finally:
        sandbox.close()
    assert outside.process.poll() is None and psutil.Process(outside.process.pid).status() != psutil.STATUS_STOPPED
    assert psutil.Process(outside.process.pid).nice() == psutil.Process().nice()
    for listener in outside.sockets:
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1)
    assert sorted(path.name for path in outside.folder.iterdir()) == ["socket", "victim"]
    assert (outside.folder / "victim").read_text() == "mine"


def test_what_can_be_seen_is_what_the_probe_says(settings, outside):
    sandbox = Sandbox(settings)
    try:
        found = {
            name: run(sandbox, PROGRAM.format(attack=attack, **outside.given))[1].strip()
            for name, attack in SIGHTS.items()
        }
    finally:
        sandbox.close()
    apart = settings.isolation == "bubblewrap" or settings.own_root
    assert found == dict.fromkeys(SIGHTS, "refused" if apart else "reached")


def test_flags_of_its_standard_files_are_gone_with_a_program(settings):
    look = "import fcntl\nprint([fcntl.fcntl(number, 3) for number in (0, 1, 2)])"
    mark = "import fcntl\nfor number in (0, 1, 2): fcntl.fcntl(number, 4, 0o6000)"
    sandbox = Sandbox(settings)
    try:
        before, _, after = (run(sandbox, text)[1] for text in (look, mark, look))
    finally:
        sandbox.close()
    assert before == after != ""


def test_signals_that_wait_take_little_of_what_the_user_has(settings):
    send = "import os, signal\nsignal.pthread_sigmask(0, [40])\nfor _ in range(5000): os.kill(os.getpid(), 40)"
    sandbox, waiting = Sandbox(settings), []
    done = threading.Event()

    def count():
        while not done.wait(0.001):
            waiting.append(int(re.search(r"SigQ:\s*(\d+)/", Path("/proc/self/status").read_text())[1]))

    counting = threading.Thread(target=count)
    counting.start()
    try:
        assert run(sandbox, send + "\nimport time\ntime.sleep(0.2)\nprint('sent')")[1] == "sent\n"
    finally:
        done.set()
        counting.join()
        sandbox.close()
    assert max(waiting) < 1000


def test_files_without_content_are_bounded_too(settings):
    if settings.isolation != "bubblewrap":
        pytest.skip("it has no files at all")
    flood = "import os\nfor n in range(200_000):\n    open(f'/tmp/{n}', 'w').close()\n    os.pwrite(1, b'%d' % n, 0)"
    sandbox = Sandbox(settings)
    try:
        report, said = run(sandbox, flood, seconds=20.0)
        assert report.status == -9 and not report.late and report.used and 5000 < int(said) < 100_000
    finally:
        sandbox.close()


def test_time_of_what_went_before_counts(settings):
    sandbox, rest = Sandbox(settings), "import time\ntime.sleep(0.3)\nprint('fine')"
    try:
        first, said = run(sandbox, rest, seconds=1.0)
        assert said == "fine\n" and not first.late and 0.1 < first.elapsed < 5 and 0 < first.spent < 0.3
        later, said = run(sandbox, rest, seconds=1.0, spent=first.spent, elapsed=first.elapsed + 0.1)
        assert said == "fine\n" and later.spent > first.spent and later.elapsed > first.elapsed + 0.2
        # Nearly nothing of a core, for longer than it has.
        asleep, said = run(sandbox, rest, seconds=1.0, spent=0.001, elapsed=0.98)
        assert (asleep.late, said) == (True, "")
        assert run(sandbox, "while True: pass", seconds=30.0, spent=29.8)[0].late
        assert run(sandbox, rest, seconds=1.0, spent=0.7, elapsed=10.1)[0].late
    finally:
        sandbox.close()


def test_waiting_for_a_core_is_not_sleep(settings):
    """A machine that runs neither the program nor the sandbox for a while: that time does not count."""
    sandbox, found = Sandbox(settings), []
    program = "import time\ntime.sleep(0.5)\nprint('fine')"
    try:
        run(sandbox, "print('ready')")
        work = threading.Thread(target=lambda: found.append(run(sandbox, program, seconds=1.0)))
        work.start()
        time.sleep(0.2)
        stopped = psutil.Process().children(recursive=True)
        for process in stopped:
            process.suspend()
        time.sleep(2.5)
        for process in reversed(stopped):
            process.resume()
        work.join(30)
        (report, said), *_ = found
        assert (report.late, said) == (False, "fine\n") and report.elapsed < 1.0
    finally:
        sandbox.close()


def test_it_outlives_the_cpu_limit_of_who_starts_it(settings):
    code = (
        "import resource, sys, psutil\n"
        "from r2vpo.sandbox import Sandbox, Settings\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (600, resource.getrlimit(resource.RLIMIT_CPU)[1]))\n"
        f"sandbox = Sandbox({settings!r})\n"
        "first = [*psutil.Process().children(recursive=True)][-1]\n"
        "print(first.rlimit(resource.RLIMIT_CPU))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    assert (ended.stdout.strip(), ended.stderr) == (f"({hard}, {hard})", "")


def test_files_of_its_own_are_what_tempfile_needs(settings):
    program = """
import os, shutil, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
    file.write(b"fine")
    file.flush()
    os.fsync(file.fileno())
    other = shutil.copyfile(file.name, folder + "/other")
    os.makedirs(folder + "/a/b")
    shutil.move(other, folder + "/a/b")
    text = open(folder + "/a/b/other").read()
    shutil.rmtree(folder + "/a")
    print(text, os.listdir(folder) == [os.path.basename(file.name)])
"""
    if settings.isolation != "bubblewrap":
        pytest.skip("it has no files at all")
    sandbox = Sandbox(settings)
    try:
        assert run(sandbox, program)[1] == "fine True\n"
        assert run(sandbox, "import shutil\nshutil.copy('/dev/null', '/tmp/x')")[0].status == 1
    finally:
        sandbox.close()


HONEST = {
    "a signal to itself": "import os, signal\nsignal.signal(10, lambda *_: print('fine'))\nos.kill(os.getpid(), 10)",
    "raising a signal": "import signal\nsignal.signal(10, lambda *_: print('fine'))\nsignal.raise_signal(10)",
    "an alarm": "import signal\nsignal.signal(14, lambda *_: print('fine'))\nsignal.setitimer(0, 0.01)\nsignal.pause()",
    "more stack": "import resource as r\nr.setrlimit(r.RLIMIT_STACK, (1 << 28, 1 << 28))\nprint('fine')",
    "threads": "from concurrent.futures import ThreadPoolExecutor as P\nprint(*P(4).map(str, ['fine']))",
    "threads that hand over": "import queue, threading as t\nq, r = queue.Queue(1), queue.Queue(1)\n"
    "w = [t.Thread(target=lambda: [r.put(q.get()) for _ in range(500)]) for _ in range(2)]\n[x.start() for x in w]\n"
    "for n in range(1000):\n    q.put(n); r.get(timeout=5)\n[x.join() for x in w]\nprint('fine')",
    "locks of threads": "import threading as t\nc, b = t.Condition(), t.Barrier(3)\n"
    "w = [t.Thread(target=b.wait) for _ in range(2)]\n[x.start() for x in w]\nb.wait(5)\n[x.join(5) for x in w]\n"
    "with c: c.wait(0.01)\ns = t.Semaphore(0); t.Timer(0.01, s.release).start(); s.acquire(timeout=5)\nprint('fine')",
    "asyncio": "import asyncio\nasync def f(): await asyncio.sleep(0.01); print('fine')\nasyncio.run(f())",
    "a socket pair": "import socket\na, b = socket.socketpair()\na.sendall(b'fine')\nprint(b.recv(9).decode())",
    "a pipe": "import os, fcntl\nr, w = os.pipe()\nos.set_blocking(r, False)\n"
    "os.write(w, b'fine')\nprint(os.read(r, 9).decode())",
    "memory": "import mmap\nm = mmap.mmap(-1, 4096)\nm.write(b'fine')\nprint(m[:4].decode())",
    "clocks": "import time\ntime.sleep(0.001); time.process_time(); time.thread_time(); print('fine')",
    "modules": "import sqlite3, zoneinfo, decimal, ctypes, csv, logging, unittest, statistics\nprint('fine')",
    "processors": "import os\nprint('fine' if os.cpu_count() and os.sched_getaffinity(0) else '')",
}  # fmt: skip


def test_honest_programs_do_what_they_do_elsewhere(settings):
    sandbox = Sandbox(settings)
    try:
        assert {name: run(sandbox, text)[1] for name, text in HONEST.items()} == dict.fromkeys(HONEST, "fine\n")
    finally:
        sandbox.close()


def test_a_program_that_stops_itself_or_floods_costs_no_more_than_its_time(settings):
    sandbox, started = Sandbox(settings), time.monotonic()
    try:
        report, _ = run(sandbox, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", seconds=1.0)
        assert report.late
        report, said = run(sandbox, "while True: print('x' * 10**6)", seconds=1.0)
        assert report.status != 0 and len(said) == 1 << 16
        assert run(sandbox, "print('fine')")[1] == "fine\n"
    finally:
        sandbox.close()
    assert time.monotonic() - started < 20
