"""A run and the program it began with: processes whose programs differ, what people are asked, and where they send it.

The programs are a company's own, in files of their own; each driver is a process that finds one of them.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, AuditEntry, Control, Run, Team, User
from agents.registry import programs
from agents.runs import fleet, interventions, pinning, recovery, runner, starting
from cockpit import environment
from tests import factories
from tests.agents.test_overriding import change, drive_while

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = """
from datetime import UTC, datetime, timedelta
from agents.contracts import Finish, Wait

class Triage:
    def next(self, assignment, history):
        if not history:
            return [Wait(datetime.now(UTC) + timedelta(seconds=0.3), "a moment")]
        return [Finish(result="{result}")]
"""
DRIVE = """
import sys, uuid, django
django.setup()
from agents.runs import hotpath, keeper, runner
runner.drive(uuid.UUID(sys.argv[1]))
keeper.close()
hotpath.close()
"""


class Sites:
    """Machines with one version of the program each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = f"triage_{uuid7().hex}"
        for result in ("one", "two"):
            site = folder / result
            site.mkdir()
            (site / f"{self.module}.py").write_text(PROGRAM.format(result=result))

    def drive(self, run: Run, version: str) -> Run:
        """Drive the run in a process that has this version."""
        url = urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}"))
        paths = [str(self.folder / version), str(environment.ROOT)]
        made = {"DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(
            [sys.executable, "-c", DRIVE, str(run.pk)],
            env={**os.environ, **made},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        run.refresh_from_db()
        return run


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """Two machines; this process has the first version, as the web server that starts the run."""
    made = Sites(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    return made


@pytest.fixture
def begun(sites: Sites, team: Team, olga: User) -> Run:
    """A run of the first version, which has waited for its timer."""
    agent = factories.agent("triage", of=team)
    agent.release = factories.release(agent, program=f"{sites.module}:Triage", models=[])
    agent.save(update_fields=["release"])
    run = sites.drive(factories.run(agent, by=olga), "one")
    assert (run.state, run.waits) == ("waiting", "timer")
    time.sleep(0.4)
    recovery.sweep()
    run.refresh_from_db()
    return run


def decide(run: Run, to: str, by: User, **more: Any) -> Control:
    """Say with what it goes on."""
    control = pinning.pin(run, to=to, by=by, **{"reason": "only words", "request_id": uuid7(), **more})
    run.refresh_from_db()
    return control


def test_a_worker_with_the_program_it_began_with_just_goes_on(sites: Sites, begun: Run) -> None:
    assert (sites.drive(begun, "one").result, begun.question) == ("one", None)


def test_a_worker_with_another_program_asks_and_shows_what_is_different(sites: Sites, begun: Run, olga: User) -> None:
    sites.drive(begun, "two")
    assert (begun.state, begun.waits, begun.waiting_for) == ("waiting", "decision", "a decision: its program changed")
    question = begun.question
    assert question["difference"] == [f"{sites.module}.py: 1 line added, 1 removed."]
    assert '-        return [Finish(result="one")]' in question["lines"]
    assert '+        return [Finish(result="two")]' in question["lines"]
    entry = AuditEntry.objects.get(verb="run.program_changed")
    assert (entry.by, entry.detail["pins"]["was"]) == (None, question["was"])
    assert {begun.waits} <= fleet.PEOPLE
    recovery.sweep(patience=0)
    begun.refresh_from_db()
    assert begun.state == "waiting", "no worker is held, and nothing wakes it but a person"


def test_continuing_on_the_old_one_pins_it_to_the_program_as_it_is(sites: Sites, begun: Run, olga: User) -> None:
    sites.drive(begun, "two")
    decide(begun, "old", olga)
    assert (begun.state, begun.question, begun.waits) == ("queued", None, "")
    assert sites.drive(begun, "two").result == "two"
    entry = AuditEntry.objects.get(verb="run.keep")
    assert (entry.by, entry.reason) == (olga, "only words")


def test_asking_again_about_the_same_is_the_same_question(sites: Sites, begun: Run, olga: User) -> None:
    sites.drive(begun, "two")
    interventions.pause(begun, by=olga, reason="later", request_id=uuid7())
    interventions.resume(begun, by=olga, request_id=uuid7())
    before = begun.question
    assert sites.drive(begun, "two").question == before
    assert begun.state == "waiting"
    assert AuditEntry.objects.filter(verb="run.program_changed").count() == 1


def test_moving_to_the_new_one_goes_on_with_the_live_release(sites: Sites, begun: Run, olga: User) -> None:
    sites.drive(begun, "two")
    agent = Agent.objects.get(pk=begun.agent_id)
    with pytest.raises(errors.Conflict, match="no other live release"):
        decide(begun, "new", olga)
    agent.release = factories.release(agent, program=f"{sites.module}:Triage", models=[], limits={"steps": 7})
    agent.save(update_fields=["release"])
    decide(begun, "new", olga)
    assert begun.release == agent.release
    assert sites.drive(begun, "two").result == "two"
    assert "limits.steps" in AuditEntry.objects.get(verb="run.move").detail["change"]


def test_a_run_without_history_belongs_to_whoever_drives_it_first(sites: Sites, team: Team, olga: User) -> None:
    agent = factories.agent("fresh", of=team)
    release = factories.release(agent, program=f"{sites.module}:Triage", models=[])
    run = starting.start(agent, objective="Sort it.", by=olga, release=release)
    pinned = run.program_digest
    sites.drive(run, "two")
    assert (run.waits, run.program_digest != pinned) == ("timer", True)


def test_a_program_that_is_gone_is_a_question_and_no_crash(sites: Sites, begun: Run) -> None:
    for file in (sites.folder / "two").iterdir():
        file.unlink()
    sites.drive(begun, "two")
    assert (begun.waits, begun.deaths) == ("decision", 0)
    assert "no module" in begun.question["difference"][0]


def test_what_is_decided_twice_is_one_act_and_not_everybodys(sites: Sites, begun: Run, olga: User, rhea: User) -> None:
    sites.drive(begun, "two")
    with pytest.raises(errors.Forbidden, match="takes the role operator"):
        decide(begun, "old", rhea)
    request_id = uuid7()
    assert decide(begun, "old", olga, request_id=request_id) == decide(begun, "old", olga, request_id=request_id)
    with pytest.raises(errors.Conflict, match="used for something else"):
        decide(begun, "new", olga, request_id=request_id)
    with pytest.raises(errors.Conflict, match="nothing about it is asked"):
        decide(begun, "old", olga)
    for wrong in ({"to": "other"}, {"to": "old", "reason": " "}):
        with pytest.raises(errors.Invalid):
            decide(begun, **{"by": olga, **wrong})


def test_ours_count_by_what_they_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = programs.program_digest(run.release)
    assert before == programs.pinned("llm", programs.BEHAVIOUR["llm"], run.release.digest)
    monkeypatch.setitem(programs.BEHAVIOUR, "llm", programs.BEHAVIOUR["llm"] + 1)
    told, _ = pinning.difference(before, "llm", run.release.digest)
    assert told == ["The program llm behaves as in 2; this run began with 1."]


# --- moving a live run -----------------------------------------------------------------------------------------------
@pytest.fixture
def clerk(team: Team) -> Agent:
    """Rests, then echoes; the next release echoes something else."""
    return factories.agent("clerk", of=team)


def scripted(agent: Agent, *words: str, rests: float = 0.8, first: str = "test.slow") -> Any:
    stages = [{"tool": first, "arguments": {"seconds": rests} if first == "test.slow" else {"text": "a"}}]
    stages += [{"tool": "test.echo", "arguments": {"text": word}} for word in words]
    tools = ["test.slow", "test.echo", "test.letter"]
    return factories.release(agent, program="pipeline", pipeline=stages, tools=tools, models=[])


def test_a_run_at_work_moves_at_its_next_step(clerk: Agent, olga: User) -> None:
    run = starting.start(clerk, objective="Echo.", by=olga, release=scripted(clerk, "old"))
    clerk.release = scripted(clerk, "new")
    clerk.save(update_fields=["release"])
    drive_while(run, lambda: decide(Run.objects.get(pk=run.pk), "new", olga))
    assert (run.state, run.release) == ("queued", clerk.release)
    runner.drive(run.pk)
    run.refresh_from_db()
    assert (run.state, run.result, run.steps_done) == ("completed", {"text": "new"}, 2)


def test_nothing_moves_while_an_act_is_half_done(clerk: Agent, olga: User) -> None:
    run = starting.start(clerk, objective="Write.", by=olga, release=scripted(clerk, first="test.letter"))
    clerk.release = scripted(clerk, "new")
    clerk.save(update_fields=["release"])
    runner.drive(run.pk)
    with pytest.raises(errors.Conflict, match=r"Step 1, test.letter, is held"):
        decide(run, "new", olga)


def test_an_overridden_run_keeps_its_overrides_when_it_moves(clerk: Agent, olga: User) -> None:
    run = starting.start(clerk, objective="Echo.", by=olga, release=scripted(clerk, "old", rests=0.02))
    clerk.release = scripted(clerk, "new", rests=0.02)
    clerk.save(update_fields=["release"])
    change(run, "limits.steps", 1, by=olga)
    decide(run, "new", olga)
    runner.drive(run.pk)
    run.refresh_from_db()
    assert run.failure == "An override allows 1 steps."
