"""`manage.py replay` as it is typed: what it says, when it ends, and what it refuses."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents import errors
from agents.models import Run, Team, User
from agents.runs import runner
from agents.runs.keeper import keeper
from cockpit.management.commands import replay as command
from tests import factories
from tests.recordings import run, written
from tests.scenarios.shop import acting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A driver in a thread, in place of a worker process: it takes whatever is queued."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            for run_id in Run.objects.filter(state=Run.State.QUEUED).values_list("pk", flat=True):
                runner.drive(run_id)
        connection.close()

    thread = threading.Thread(target=work)
    monkeypatch.setattr(command, "LOOK_EVERY", 0.05)
    keeper()
    thread.start()
    yield
    stop.set()
    thread.join()


def replayed(*arguments: object, **options: Any) -> str:
    said = io.StringIO()
    call_command("replay", *map(str, arguments), stdout=said, stderr=said, **options)
    return said.getvalue()


def test_the_command_queues_approves_waits_and_sums_up(folder: Path, rhea: User, worker: None) -> None:
    file = written(folder, run(), acting({}, run_id="shop/2"), name="runs.jsonl.gz")
    told = replayed(file, approve_as="rhea", agent_prefix="rec-")
    assert "2 runs of 1 agent queued for Service; 2 new releases, 0 skipped, 0 remarks." in told
    assert "2 completed" in told
    assert "1 act approved" in told
    assert "of all 2 equal their recordings'" in told
    assert {run_.state for run_ in Run.objects.all()} == {"completed"}
    assert "0 new releases" in replayed(file, approve_as="RHEA", agent_prefix="rec-")
    assert Run.objects.count() == 4


def test_the_command_ends_when_only_people_could_go_on(folder: Path, team: Team, worker: None) -> None:
    told = replayed(written(folder, acting({})), team="service")
    assert "1 waiting" in told
    assert "1 run waits for people" in told


def test_the_command_reports_what_it_skipped_and_fails(folder: Path, team: Team, worker: None) -> None:
    file = written(folder, run(), "not json")
    said = io.StringIO()
    with pytest.raises(CommandError, match="1 skipped, 0 failed"):
        call_command("replay", str(file), stdout=said, stderr=said)
    assert f"{file}:2: skipped: this is not one line of JSON" in said.getvalue()
    assert Run.objects.get().state == "completed"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"approve_as": "nobody"}, "nobody called 'nobody'"),
        ({"approve_as": "olga"}, "takes the role reviewer"),
        ({"team": "moon"}, "no team 'moon'; there is: service"),
        ({"approve_as": "rhea", "team": "roastery"}, "takes the role reviewer in Roastery"),
    ],
)
def test_the_command_refuses_before_anything_is_queued(
    folder: Path, olga: User, rhea: User, options: dict[str, str], sentence: str
) -> None:
    if options.get("team") == "roastery":
        factories.team("roastery")
    with pytest.raises(errors.DomainError, match=sentence):
        replayed(written(folder, run()), **options)
    assert Run.objects.count() == 0


def test_without_workers_the_command_says_so_and_the_runs_stay(
    folder: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE", 0.1)
    monkeypatch.setattr(command, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(command, "somebody_works", lambda: False)
    with pytest.raises(CommandError, match="No worker is running; 1 run"):
        replayed(written(folder, run()))
    assert Run.objects.get().state == "queued"
