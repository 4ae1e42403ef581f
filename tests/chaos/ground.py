"""What a cell stands on: servers of its own with fsync on, in a data folder that may be a small disk."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cockpit.servers import Postgres, Redis, Server

T = TypeVar("T")
SMALL_DISK = "size=1g"


@dataclass
class Ground:
    """Two servers and the folder they keep their data in."""

    folder: Path
    postgres: Postgres
    redis: Redis

    def kill(self, server: Server) -> None:
        """`kill -9`, nobody warned."""
        assert server.process
        server.process.kill()
        server.process.wait()
        server.process = None

    def revive(self, server: Server, *, patience: float = 60.0) -> None:
        """Start it again as the supervisor would, until it stays."""
        deadline = time.monotonic() + patience
        while server.process is None or server.process.poll() is not None:
            try:
                server.start()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


@contextmanager
def ground(*, small_disk: bool) -> Iterator[Ground]:
    """Servers that run, named in the environment; migrated, with Django set up on them."""
    folder = Path(tempfile.mkdtemp(prefix="cockpit-chaos-"))
    if small_disk:
        subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL_DISK, "chaos", folder], check=True)
    made = Ground(folder, Postgres(folder), Redis(folder))
    try:
        folder.chmod(0o755)
        for server in (made.postgres, made.redis):
            os.environ[server.variable] = server.start().url
        os.environ["COCKPIT_DATA_DIR"] = str(folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "cockpit.settings"
        _prepare()
        yield made
    finally:
        made.redis.stop()
        made.postgres.stop()
        if small_disk:
            subprocess.run(["umount", "--lazy", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def can_mount() -> bool:
    """Whether we may make a small disk to fill up."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "chaos", folder], capture_output=True)
        return tried.returncode == 0 and subprocess.run(["umount", folder]).returncode == 0


def _prepare() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def calmly(ask: Callable[[], T], *, patience: float = 90.0) -> T:
    """What the database answers, though it may be away: asked again until it does."""
    import psycopg
    from django.db import Error, connection

    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except (Error, psycopg.Error):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
