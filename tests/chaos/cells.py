"""What happens to a fleet: one function for each cell of the table. It returns when the world is whole again."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import redis

from cockpit import installation, processes, supervisor
from cockpit.servers import free_port
from tests.chaos import new_version
from tests.chaos.ground import Ground, calmly

if TYPE_CHECKING:  # the table needs the names of the cells, and no settings
    from tests.fleet import Fleet

AWAY_S = 30.0
STOPPED_S = 15.0  # a lease lasts nine
FULL_S = 10.0
SPARED = 4 << 20  # what others may take meanwhile
HOURS_OFF = 3 * 3600


@dataclass(frozen=True)
class Scene:
    """A fleet at work and what it stands on."""

    ground: Ground
    fleet: "Fleet"


@dataclass(frozen=True)
class Cell:
    """Something that happens, what it needs before there is work, and whether a disk is to fill or clocks are off."""

    name: str
    happen: Callable[[Scene], None]
    before: Callable[[Scene], None] = lambda scene: None
    small_disk: bool = False
    clocks: tuple[int, int] = (0, 0)


def worker_killed(scene: Scene) -> None:
    """The busier worker, while it drives about half of the runs; the supervisor starts it again."""
    victim = max(scene.fleet.workers(), key=lambda member: len(calmly(member.holds)))
    victim.kill()
    time.sleep(supervisor.FIRST_PAUSE)
    scene.fleet.start(victim.name)


def all_killed(scene: Scene) -> None:
    """Both workers and the tick at once: as if the machine's memory had run out."""
    members = scene.fleet.living()
    for member in members:
        member.kill()
    time.sleep(supervisor.FIRST_PAUSE)
    scene.fleet.start(*(member.name for member in members))


def tick_killed(scene: Scene) -> None:
    """Nobody wakes timers or rings again until it is back."""
    next(member for member in scene.fleet.living() if member.name == "tick").kill()
    time.sleep(supervisor.FIRST_PAUSE)
    scene.fleet.start("tick")


def web_killed(scene: Scene) -> None:
    """Pages are away, and work does not notice."""
    port = free_port()
    first = _web(scene, port)
    os.killpg(first, signal.SIGKILL)
    _web(scene, port)


def redis_killed(scene: Scene) -> None:
    """With what it had not yet written; started again as the supervisor does."""
    scene.ground.kill(scene.ground.redis)
    time.sleep(supervisor.FIRST_PAUSE)
    scene.ground.revive(scene.ground.redis)


def redis_flushed(scene: Scene) -> None:
    """Every message is lost while Redis lives."""
    with redis.Redis.from_url(scene.ground.redis.url) as box:
        box.flushall()


def redis_away(scene: Scene) -> None:
    """For half a minute."""
    scene.ground.kill(scene.ground.redis)
    time.sleep(AWAY_S)
    scene.ground.revive(scene.ground.redis)


def postgres_killed(scene: Scene) -> None:
    """In the middle of its transactions; started again as the supervisor does."""
    scene.ground.kill(scene.ground.postgres)
    time.sleep(supervisor.FIRST_PAUSE)
    scene.ground.revive(scene.ground.postgres)


def postgres_away(scene: Scene) -> None:
    """For half a minute: nothing can be stored, so nothing is done that must be."""
    scene.ground.kill(scene.ground.postgres)
    time.sleep(AWAY_S)
    scene.ground.revive(scene.ground.postgres)


def disk_full(scene: Scene) -> None:
    """Not a byte is free where PostgreSQL and Redis write; then somebody makes room. Workers end when Redis takes
    nothing from them any more, and are started again as the supervisor does it by then: after a while."""
    ballast = scene.ground.folder / "ballast"
    _fill(ballast)
    assert _is_full(scene.ground)
    time.sleep(FULL_S)
    ballast.unlink()
    for server in (scene.ground.postgres, scene.ground.redis):
        scene.ground.revive(server)
    time.sleep(supervisor.FIRST_PAUSE * 4)
    living = {member.name for member in scene.fleet.living()}
    scene.fleet.start(*({"model1", "model2", "tick"} - living))


def worker_stopped(scene: Scene) -> None:
    """It stands still for longer than its lease; others take its runs, and it wakes fenced."""
    victim = max(scene.fleet.workers(), key=lambda member: len(calmly(member.holds)))
    victim.signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    victim.signal(signal.SIGCONT)
    time.sleep(2.0)  # what its tools were doing they now do; only then can anybody say what happened


def new_version_beside(scene: Scene) -> None:
    """A worker of a newer version on the same database: more columns on runs and steps, another answer of a tool."""
    root = scene.fleet.folder / "new"
    new_version.make(root, env=scene.fleet.env)
    old, scene.fleet.env["COCKPIT_WORKSPACE"] = scene.fleet.env["COCKPIT_WORKSPACE"], str(root / "tests" / "workspace")
    scene.fleet.start("model3", root=root)
    scene.fleet.env["COCKPIT_WORKSPACE"] = old


def upgraded(scene: Scene) -> None:
    """Both versions are at work; a worker of the old one is asked to end."""
    at_work = {act.pid for act in scene.fleet.world.acts()}
    workers = scene.fleet.workers()
    assert {worker.name for worker in workers if worker.pid in at_work} == {"model1", "model2", "model3"}
    workers[0].signal(signal.SIGTERM)
    assert workers[0].process.wait(supervisor.GRACE) == 0


CELLS = (
    Cell("worker killed", worker_killed),
    Cell("workers and tick killed", all_killed),
    Cell("tick killed", tick_killed),
    Cell("web killed", web_killed),
    Cell("redis killed", redis_killed),
    Cell("redis flushed", redis_flushed),
    Cell("redis away 30 s", redis_away),
    Cell("postgres killed", postgres_killed),
    Cell("postgres away 30 s", postgres_away),
    Cell("clocks 3 h off, worker killed", worker_killed, clocks=(HOURS_OFF, -HOURS_OFF)),
    Cell("worker stopped 15 s", worker_stopped),
    Cell("new version beside the old", upgraded, before=new_version_beside),
    Cell("disk full 10 s", disk_full, small_disk=True),
)


def _web(scene: Scene, port: int) -> int:
    """Start a web server and wait until it lives; its process group."""
    with (scene.fleet.folder / "web.log").open("ab") as output:
        job = installation.web(port)
        process = processes.spawn(job.command, env=scene.fleet.env, cwd=Path.cwd(), output=output)
    scene.fleet.add(job.name, process, scene.fleet.folder / "web.log")
    assert processes.wait_until(lambda: installation.answers(port), seconds=60), "the web server does not answer"
    return process.pid


def _fill(path: Path) -> None:
    """Take what is free at once, then the crumbs that others leave meanwhile."""
    with path.open("wb", buffering=0) as file:
        free = os.statvfs(path.parent)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - SPARED)
        with suppress(OSError):
            while True:
                file.seek(0, os.SEEK_END)
                file.write(b"\0" * 4096)


def _is_full(ground: Ground) -> bool:
    """Whether PostgreSQL can store nothing any more."""
    try:
        with psycopg.connect(ground.postgres.url, connect_timeout=5) as link:
            link.execute("CREATE TABLE more AS SELECT generate_series(1, 100000)")
    except psycopg.OperationalError:  # it says that the disk is full, or is gone for that
        return True
    return False
