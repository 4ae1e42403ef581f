"""A whole cockpit on one machine: what runs, in which order, and how others find it.

Apart from the supervisor, which keeps things running without knowing what they are, and from `manage.py up`, which
reads the command line. Whatever needs Django's models is done by children: the database they need does not exist yet
when the settings of `up` itself are read.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGKILL
from typing import TypedDict

from cockpit import environment, servers
from cockpit.servers import LOOPBACK, ServerError
from cockpit.supervisor import Job, Journal, Stopping, Supervisor

PATIENCE_FOR_WEB = 60.0
PATIENCE_FOR_PORT = 2.0


class Person(TypedDict):
    """Who can sign in to the demo, as `manage.py prepare` writes it to `keys/people.json`."""

    username: str
    password: str
    about: str


class Installation:
    """One cockpit: a data folder, a port, and everything that serves them."""

    def __init__(self, folder: Path, *, port: int, demo: bool, workers: int) -> None:
        self.folder, self.port, self.demo, self.workers = folder, port, demo, workers
        self.url = f"http://{LOOPBACK}:{port}"
        self.about = folder / "run" / "cockpit.json"
        self.journal = Journal()
        self.stopping = Stopping()
        self.supervisor = Supervisor(folder, journal=self.journal, stopping=self.stopping)
        self.began = time.monotonic()

    def run(self) -> None:
        """Start in the order of need and watch until somebody says stop; whatever happens, leave nothing running."""
        with only_one(self.folder), self.stopping.on_signals():
            self.supervisor.end_orphans()
            if not _comes_free(self.port):
                raise ServerError(f"Port {self.port} is taken by another program; choose another one with --port.")
            try:
                self._start()
                self.supervisor.watch()
            finally:
                self.supervisor.stop()
                self.about.unlink(missing_ok=True)

    def _start(self) -> None:
        self.supervisor.env["COCKPIT_DATA_DIR"] = str(self.folder)
        self.supervisor.env["COCKPIT_DEMO"] = "yes" if self.demo else "no"
        for step in (self._start_servers, self._write_about, self._prepare, self._start_web, self._start_workers):
            if self.stopping:
                return
            step()

    def _start_servers(self) -> None:
        for kind in (servers.Postgres, servers.Redis):
            if not environment.setting(kind.variable):
                self.supervisor.serve(server := kind(self.folder))
                self._note(f"{server.name} answers on port {server.port}")

    def _write_about(self) -> None:
        """What other commands need to find this cockpit, for its owner's eyes only."""
        about = {
            "database_url": environment.setting("DATABASE_URL") or self.supervisor.env["DATABASE_URL"],
            "redis_url": environment.setting("REDIS_URL") or self.supervisor.env["REDIS_URL"],
            "url": self.url,
            "port": self.port,
            "pid": os.getpid(),
            "demo": self.demo,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        environment.write_privately(self.about, json.dumps(about))

    def _prepare(self) -> None:
        if self.supervisor.once(Job("prepare", _manage("prepare", *(["--demo"] if self.demo else [])))):
            if not self.stopping:
                raise ServerError("The database could not be prepared; the lines above say why.")
        else:
            self._note("The database is prepared")

    def _start_web(self) -> None:
        self.supervisor.add(web(self.port))
        deadline = time.monotonic() + PATIENCE_FOR_WEB
        while not self.stopping:
            if answers(self.port):
                self._welcome()
                return
            if time.monotonic() > deadline:
                raise ServerError("The web server did not answer; the lines above say why.")
            self.supervisor.look()
            time.sleep(0.05)

    def _start_workers(self) -> None:
        # After the first page: starting everything at once would only make everything late.
        for job in workers(self.workers, demo=self.demo):
            self.supervisor.add(job)

    def _welcome(self) -> None:
        self._note(f"The cockpit is ready: {self.url}")
        for person in people(self.folder) if self.demo else []:
            line = f"sign in as {person['username']:<8} {person['password']:<20} {person['about']}"
            self.journal.say("cockpit", line)
        self.journal.say("cockpit", f"Ctrl-C ends it; everything is kept in {self.folder}.")

    def _note(self, sentence: str) -> None:
        self.journal.say("cockpit", f"{sentence} ({time.monotonic() - self.began:.1f} s)")


def web(port: int) -> Job:
    """Who answers browsers and programs."""
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--host", LOOPBACK, "--port", str(port)]
    # A live stream never ends by itself: it is cut after this long, so that Ctrl-C stays quick.
    return Job("web", [*command, "--workers-kill-timeout", "3", "--log-level", "warning", "cockpit.asgi:application"])


def workers(number: int, *, demo: bool) -> list[Job]:
    """Who drives runs, and the clock. All may be killed at any moment without loss: leases see to that."""
    models = ["--pool", "threads", "--concurrency", "16", "--queues", "control,model"]
    tools = ["--pool", "prefork", "--concurrency", "2", "--queues", "tool,bulk"]
    return [
        *(Job(name, _celery(name, *models), SIGKILL) for name in (f"model{n}" for n in range(1, number + 1))),
        Job("tool", _celery("tool", *tools), SIGKILL),
        Job("tick", _manage("tick", *(["--demo"] if demo else [])), SIGKILL),
    ]


def _comes_free(port: int) -> bool:
    """Whether a port is free, or becomes so at once: a server just ended may take a moment to let go of it."""
    deadline = time.monotonic() + PATIENCE_FOR_PORT
    while not servers.is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the data folder; a second cockpit on it is told who has it. The kernel lets go when we die."""
    path = folder / "run" / "up.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise ServerError(
            f"{path} cannot be written ({error.strerror}); choose a folder of your own with --data-dir."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = environment.running()
            raise ServerError(
                f"A cockpit already runs on {folder} (process {other.get('pid', 'unknown')}, "
                f"{other.get('url', 'still starting')}); end it first, or choose another folder with --data-dir."
            ) from error
        yield


def people(folder: Path) -> list[Person]:
    """Who can sign in to the demo; nobody where it was never prepared."""
    try:
        found: list[Person] = json.loads((folder / "keys" / "people.json").read_text())
    except (OSError, ValueError):
        return []
    return found


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, str(environment.ROOT / "manage.py"), *arguments]


def _celery(name: str, *arguments: str) -> list[str]:
    # Whoever starts all of this as root has been heard; each worker need not say it again.
    python = [sys.executable, "-W", "ignore:You're running the worker with superuser privileges"]
    command = [*python, "-m", "celery", "--quiet", "--app", "cockpit.celery", "worker", "--hostname", f"{name}@%h"]
    # Workers need to learn nothing from each other: PostgreSQL knows who drives what.
    silent = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    return [*command, *silent, *arguments]


def answers(port: int) -> bool:
    """Whether the web server on this port of loopback lives."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
