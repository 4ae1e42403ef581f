"""The names under which processes hold leases, and which of them are provably dead.

A name carries the host, the pid, the kernel's start time of that pid, and the place where a pid means anything: this
boot of this kernel, this namespace of pids. Only a name of our own place is ever judged: two containers may share a
host's name, and a pid of one says nothing in the other. Where there is no /proc, nobody is judged, and the lease
decides.
"""

import os
import socket
import time
from hashlib import sha256
from pathlib import Path

PROC = Path("/proc")


def name() -> str:
    """This very process: `host:pid:start:place`; without a place where the kernel does not tell."""
    pid = os.getpid()
    host = socket.gethostname()[:64]
    if (here := place()) and (started := start_time(pid)):
        return f"{host}:{pid}:{started}:{here}"
    return f"{host}:{pid}:{int(time.time())}"


def place() -> str:
    """Where our pids and start times hold: this boot, and our namespaces of pids and of time. "" when unknown."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        pids = (PROC / "self/ns/pid").readlink()
        return sha256(f"{boot} {pids} {_time_namespace()}".encode()).hexdigest()[:16]
    except OSError:
        return ""


def _time_namespace() -> str:
    """Start times are told on the reader's clock; kernels older than 5.6 have one for all."""
    path = PROC / "self/ns/time"
    return str(path.readlink()) if path.exists() else ""


def start_time(pid: int) -> str | None:
    """When the process with this pid started, in ticks since the boot; None when there is none, or only its zombie."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_dead(holder: str) -> bool:
    """Whether the process of this name has certainly ended. False when it lives, or when nobody here can know."""
    told = holder.rsplit(":", 3)
    if len(told) < 4 or told[0] != socket.gethostname()[:64] or told[3] != place() or not told[1].isdigit():
        return False
    pid, started = int(told[1]), told[2]
    return start_time(pid) != started and not _is_hidden(pid)


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process and we are not shown what it is, as a /proc mounted with hidepid does it."""
    if (PROC / str(pid) / "stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
