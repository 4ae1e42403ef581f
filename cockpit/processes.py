"""Processes: started so that they end with us, recognised later by pid *and* start time, ended with patience.

Apart from the servers and the supervisor because both need it, and because a pid alone proves nothing: it may
have been given to a stranger since it was written down. No Django here: this works before settings exist.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO

Patience = Sequence[tuple[signal.Signals, float]]
"""Signals to send, each with the seconds to wait for the end before the next one."""

PATIENT: Patience = ((signal.SIGTERM, 10), (signal.SIGKILL, 5))

# The right to walk through folders closed to an account, the smaller one first; bits as in capabilities(7).
_CAPABILITIES = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}


@dataclass(frozen=True)
class Account:
    """Whom a child runs as. `capability` is lent to it by the kernel where it could not reach its files otherwise."""

    uid: int
    gid: int
    capability: str = ""


@dataclass(frozen=True)
class Mark:
    """A process written down: it is the same one only while its start time is the same."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Mark | None":
        """The living process with this pid."""
        started = start_time(pid)
        return cls(pid, started) if started else None

    @classmethod
    def read(cls, path: Path) -> "Mark | None":
        """What was written down, if it can be read."""
        try:
            record = json.loads(path.read_text())
            return cls(int(record["pid"]), str(record["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Remember it for a later life of ours."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)))

    def is_running(self) -> bool:
        """Whether that very process still lives."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str | None:
    """When a living process started, as a token to compare; None when there is none (or only its zombie)."""
    if sys.platform != "linux":
        return _ps(pid, "lstart") or None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{_boot()}:{fields[19]}"


def command_line(pid: int) -> str:
    """The arguments of a living process joined with spaces, "" when there is none."""
    if sys.platform != "linux":
        return _ps(pid, "command")
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes] | int,
    stdin: int = subprocess.DEVNULL,
    account: Account | None = None,
    dies_by: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C in our terminal reaches us alone, and we end it in our own order.

    On Linux it gets `dies_by` when we die without a word. Call this from the main thread: the kernel means the
    thread that started it, not the process.
    """
    lent = account.capability if account else ""
    switch = account if account and not lent else None  # with a capability lent, setpriv itself does the switching
    return subprocess.Popen(
        [*_introduction(dies_by, account if lent else None), *map(str, command)],
        env=env,
        cwd=None if lent else cwd,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=switch.uid if switch else None,
        group=switch.gid if switch else None,
        extra_groups=[] if switch else None,
    )


def end(child: subprocess.Popen[bytes], patience: Patience = PATIENT) -> None:
    """End our own child and collect it."""
    for number, seconds in patience:
        if child.poll() is not None:
            return
        child.send_signal(number)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def end_stranger(mark: Mark, patience: Patience = PATIENT) -> bool:
    """End a process that an earlier life of ours left behind; True when it is gone."""
    for number, seconds in patience:
        if not mark.is_running():
            return True
        try:
            os.kill(mark.pid, number)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        wait_until(lambda: not mark.is_running(), seconds=seconds)
    return not mark.is_running()


def wait_until(is_true: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Poll until something holds, or time is up; answers whether it does."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def unprivileged(*, owner: int, must_reach: Iterable[Path]) -> Account | None:
    """The account for servers that refuse to run as root: the owner of their data if any, else `nobody`.

    None when we cannot give it what it must reach: no such account, or folders above are closed to it (a clone
    under /root) and the kernel won't lend it the right to walk through them.
    """
    person = _account_of(owner) if owner else _account_of("nobody") or _account_of("daemon")
    if person is None:
        return None
    account = Account(person.pw_uid, person.pw_gid)
    if all(_reaches(account, path) for path in must_reach):
        return account
    capability = _lendable()
    return replace(account, capability=capability) if capability else None


def _account_of(who: int | str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(who) if isinstance(who, int) else pwd.getpwnam(who)
    except KeyError:
        return None


def _reaches(account: Account, path: Path) -> bool:
    probe = ["test", "-x", str(path)]
    return subprocess.run(probe, user=account.uid, group=account.gid, extra_groups=[], cwd="/").returncode == 0


def _lendable() -> str | None:
    """The smallest capability of ours that lets an account pass folders closed to it; None where none can be lent."""
    if not _setpriv():
        return None
    status = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return next((name for name, bit in _CAPABILITIES.items() if held & bit), None)


def _introduction(dies_by: signal.Signals, account: Account | None) -> list[str]:
    """What stands before a command so that the kernel tells it of our death, and makes it somebody else."""
    if not (setpriv := _setpriv()):
        return []
    if account is None:
        return [setpriv, f"--pdeathsig={dies_by.name}"]
    return [
        setpriv,
        f"--pdeathsig={dies_by.name}",
        f"--reuid={account.uid}",
        f"--regid={account.gid}",
        "--clear-groups",
        "--no-new-privs",
        # access(2) forgets capabilities of ordinary users without this, and initdb asks access(2).
        "--securebits=+no_setuid_fixup",
        f"--inh-caps=+{account.capability}",
        f"--ambient-caps=+{account.capability}",
    ]


@cache
def _setpriv() -> str | None:
    """util-linux arranges things between fork and exec; Python's own hook is unsafe where threads run."""
    path = shutil.which("setpriv") if sys.platform == "linux" else None
    if path and "--pdeathsig" in subprocess.run([path, "--help"], capture_output=True, text=True).stdout:
        return path
    return None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def _ps(pid: int, column: str) -> str:
    answer = subprocess.run(["ps", "-p", str(pid), "-o", f"{column}="], capture_output=True, text=True)
    return answer.stdout.strip()
