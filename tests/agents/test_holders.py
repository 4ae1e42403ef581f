"""Which holders of leases are provably dead: judged by the kernel, on this machine alone, and never guessed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import Run, User
from agents.runs import holders, lease, recovery
from tests import factories

pytestmark = pytest.mark.skipif(not holders.place(), reason="this kernel tells nobody which process is which")

NAME_OF_CHILD = "from agents.runs import holders; print(holders.name(), flush=True); input()"


@pytest.fixture
def child() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process, and the name it gives itself."""
    command = [sys.executable, "-c", NAME_OF_CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), process
        process.kill()


@pytest.fixture
def held(olga: User, transactional_db: None) -> Callable[[str], Run]:
    """A run that a process of this name has just begun to drive."""

    def held(holder: str) -> Run:
        run = factories.run(factories.agent(), by=olga)
        assert lease.take(run.pk)
        Run.objects.filter(pk=run.pk).update(lease_holder=holder)
        return run

    return held


def test_a_process_is_dead_when_it_has_been_killed_even_before_anybody_collects_it(child):
    name, process = child
    assert not holders.is_dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # now a zombie
    assert holders.is_dead(name)
    process.wait()
    assert holders.is_dead(name)


def test_a_pid_given_to_somebody_else_does_not_keep_its_former_owner_alive():
    host, pid, started, place = holders.name().rsplit(":", 3)
    assert holders.is_dead(f"{host}:{pid}:{int(started) - 1}:{place}")


@pytest.mark.parametrize(
    "holder",
    ["", "attic:7", "attic:7:1700000000", "attic:7:12:0123456789abcdef", "{host}:{pid}:1:0123456789abcdef", "a:b:c:d"],
)
def test_nobody_elsewhere_is_ever_judged(holder):
    """Another host, a container with our host's name and pids of its own, names of an earlier version."""
    host, pid, _, _ = holders.name().rsplit(":", 3)
    assert not holders.is_dead(holder.format(host=host, pid=pid))


def test_where_the_kernel_tells_nothing_nobody_is_judged(monkeypatch, tmp_path, child):
    name, process = child
    process.kill()
    process.wait()
    monkeypatch.setattr(holders, "PROC", tmp_path)
    assert not holders.is_dead(name)
    assert holders.name().count(":") == 2


def test_a_process_that_is_hidden_from_us_is_not_taken_for_dead(monkeypatch, tmp_path, child):
    name, _ = child
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(holders.PROC.joinpath("sys/kernel/random/boot_id").read_text())
    (tmp_path / "self").symlink_to("/proc/self")
    monkeypatch.setattr(holders, "PROC", tmp_path)
    assert holders.place() == name.rsplit(":", 1)[1]
    assert not holders.is_dead(name)


def test_the_runs_of_a_dead_process_are_free_at_once_and_those_of_the_living_stay(held, child):
    name, process = child
    process.kill()
    process.wait()
    dead, elsewhere, living = held(name), held("attic:7:12:0123456789abcdef"), held(holders.name())
    assert recovery.release_dead() == 1
    soon = timezone.now() + timedelta(seconds=1)
    assert list(Run.objects.filter(lease_until__lte=soon)) == [dead]
    claim = lease.take(dead.pk)
    assert claim
    assert (claim.token, claim.deaths) == (2, 1)
    assert (lease.take(elsewhere.pk), lease.take(living.pk)) == (None, None)
    assert recovery.release_dead() == 0
