"""SIGTERM: workers hand back what they drive and end in time, whatever is in flight. Nothing fails because of it."""

import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from agents.models import Run, User, Worker
from agents.runs import interventions, starting
from cockpit import environment, installation, processes
from cockpit.servers import LOOPBACK, free_port
from cockpit.supervisor import GRACE
from finops.models import LedgerEntry
from tests import fleet as fleets
from tests.fleet import Fleet, Member, until

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

LONG = 300.0
PATIENT = {"latency_ms": [50_000, 50_000], "plays": [{"steps": [{"say": "At last."}]}]}


def ended(members: Sequence[Member], *, within: float) -> None:
    """Ask them to end; each must have, by itself, in that many seconds."""
    started = time.monotonic()
    for member in members:
        member.signal(signal.SIGTERM)
    until(lambda: all(member.process.poll() is not None for member in members), "their end", seconds=within + 5)
    took = time.monotonic() - started
    assert took < within
    assert [member.process.returncode for member in members] == [0] * len(members)


def start(slug: str, *stages: tuple[str, dict[str, object]], by: User, queue: str = "model") -> Run:
    """A run of its own agent that works through these stages."""
    who, release = fleets.pipeline(slug, *stages)
    return starting.start(who, objective=slug, by=by, release=release, queue=queue)


def test_who_has_nothing_to_do_ends_at_once(fleet: Fleet) -> None:
    members = fleet.start("model1", "tool", "tick")
    until(lambda: Worker.objects.count() == 4, "signs of life, two of forked drivers")
    ended(members, within=8)


def test_a_web_server_does_not_wait_for_who_says_nothing(fleet: Fleet) -> None:
    port = free_port()
    with (fleet.folder / "web.log").open("wb") as output:
        process = processes.spawn(installation.web(port).command, env=fleet.env, cwd=environment.ROOT, output=output)
    web = fleet.add("web", process, fleet.folder / "web.log")
    until(lambda: installation.answers(port), "an answer")
    with socket.create_connection((LOOPBACK, port)) as silent:
        silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        ended([web], within=10)


def test_a_tick_does_not_wait_for_a_database_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        fleet = Fleet(tmp_path)
        fleet.env["DATABASE_URL"] = f"postgresql://cockpit@{LOOPBACK}:{silent.getsockname()[1]}/cockpit"
        try:
            tick = fleet.start("tick")[0]
            silent.settimeout(30)
            with silent.accept()[0]:
                ended([tick], within=12)
        finally:
            fleet.end()


def test_drivers_hand_their_runs_back_between_two_steps(fleet: Fleet, olga: User) -> None:
    stages = [("world.post", {"text": f"letter {number}", "seconds": 0.1}) for number in range(60)]
    runs = [start("clerk", *stages, by=olga) for _ in range(6)]
    worker = fleet.start("model1")[0]
    until(lambda: len(worker.holds()) == len(runs) and fleet.world.count() >= 12, "that all runs are driven")
    ended([worker], within=8)
    assert set(Run.objects.values_list("state", "lease_holder", "deaths")) == {("queued", "", 0)}
    assert sum(run.steps.filter(state="done").count() for run in runs) == fleet.world.count()
    fleet.start("model2")
    until(lambda: not Run.objects.live().exists(), "the end of all runs, in other hands")
    assert set(Run.objects.values_list("state", "failure")) == {("completed", "")}
    assert fleet.world.count() == len(runs) * len(stages), "no letter went out twice"


def test_what_is_in_flight_for_too_long_is_given_up_and_goes_on_elsewhere(fleet: Fleet, olga: User) -> None:
    writer = fleets.agent("writer", simulated=PATIENT, limits={})
    asking = fleets.start(writer, "a story", by=olga)
    hung = {"text": "for ever", "seconds": LONG}
    looking = start("reader", ("world.look", {"text": "far away", "seconds": 20.0}), by=olga)
    keyed = [start(f"mason-{queue}", ("world.carve", hung), by=olga, queue=queue) for queue in ("model", "tool")]
    unkeyed = [start(f"crier-{queue}", ("world.shout", hung), by=olga, queue=queue) for queue in ("model", "tool")]
    runs = [asking, looking, *keyed, *unkeyed]
    workers = fleet.start("model1", "tool")
    until(lambda: Run.objects.filter(state="running").count() == len(runs), "that all runs are driven")
    time.sleep(1.0)

    ended(workers, within=GRACE)
    assert set(Run.objects.values_list("state", "lease_holder", "deaths")) == {("queued", "", 0)}

    fleet.start("model2", "tool")
    until(lambda: Run.objects.filter(state="completed").count() == len(keyed), "that keyed acts are repeated")
    until(lambda: Run.objects.filter(state="waiting").count() == len(unkeyed), "that somebody is asked about others")
    until(lambda: asking.steps.filter(attempt=2).exists(), "that the model is asked again")
    assert {(act.what, act.key) for act in fleet.world.acts()} == {("carve", f"{run.pk}:1") for run in keyed}
    assert {run.steps.get().state for run in unkeyed} == {"in_doubt"}
    lost = LedgerEntry.objects.get(run=asking)
    assert (lost.seq, bool(lost.tokens_in), lost.tokens_out) == (1, True, 0), "what it was asked is booked as estimated"
    assert not Run.objects.filter(state__in=["failed", "cancelled"]).exists()


def test_asked_a_second_time_it_does_not_wait_for_anything(fleet: Fleet, olga: User) -> None:
    run = start("mason", ("world.carve", {"text": "for ever", "seconds": LONG}), by=olga)
    worker = fleet.start("model1")[0]
    until(lambda: run.steps.filter(state="intended").exists(), "that the mason is at work")
    worker.signal(signal.SIGTERM)
    time.sleep(1.0)
    ended([worker], within=8)
    run.refresh_from_db()
    assert (run.state, run.lease_holder, run.steps.get().state) == ("queued", "", "intended")


def test_a_person_who_cancelled_what_hears_nothing_is_obeyed_by_the_next_driver(fleet: Fleet, olga: User) -> None:
    run = start("mason", ("world.carve", {"text": "for ever", "seconds": LONG}), by=olga)
    worker = fleet.start("model1")[0]
    until(lambda: run.steps.filter(state="intended").exists(), "that the mason is at work")
    run.refresh_from_db()
    interventions.cancel(run, by=olga, reason="too slow", request_id=uuid7())
    for _ in range(2):
        worker.signal(signal.SIGTERM)
        time.sleep(0.5)
    until(lambda: worker.process.poll() is not None, "its end", seconds=10)
    fleet.start("model2")
    until(lambda: not Run.objects.live().exists(), "the end of the run")
    run.refresh_from_db()
    assert (run.state, run.steps.get().error_class) == ("cancelled", "in_doubt")
