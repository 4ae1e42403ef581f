"""Acts that are announced: they happen when their moment has come, and never after somebody stopped them."""

import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, AuditEntry, Release, Run, Step, Team, User
from agents.runs import interventions, overriding, recovery, runner, starting, windows
from approvals.models import Approval
from tests import toolbox

pytestmark = pytest.mark.django_db(transaction=True)

MAIL = {"tool": "test.mail", "arguments": {"to": "Café Lindenhof"}}
ECHO = {"tool": "test.echo", "arguments": {"text": "done"}}


@pytest.fixture(autouse=True)
def nothing_sent() -> Iterator[None]:
    toolbox.effects.clear()
    yield
    toolbox.effects.clear()


def begun(team: Team, by: User, *stages: dict[str, Any], **bundle: Any) -> Run:
    """A run of a scripted pipeline that was driven until it waits."""
    agent, _ = Agent.objects.get_or_create(slug="writer", defaults={"name": "Writer", "team": team})
    content = {"program": "pipeline", "tools": ["test.mail", "test.echo"], "pipeline": stages or [MAIL, ECHO], **bundle}
    version = uuid4().hex[:8]
    release = Release.objects.create(agent=agent, version=version, digest=version, program="pipeline", bundle=content)
    return driven(starting.start(agent, objective="Write.", by=by, release=release))


def driven(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def come(run: Run) -> Run:
    """Its moment, without waiting for it."""
    past = timezone.now() - timedelta(seconds=1)
    Step.objects.filter(run=run, state=Step.State.HELD).update(due_at=past)
    Run.objects.filter(pk=run.pk, wake_at__isnull=False).update(wake_at=past)
    recovery.sweep()
    return driven(run)


def step_of(run: Run, seq: int = 1) -> Step:
    found: Step = Step.objects.get(run=run, seq=seq)
    return found


def test_an_announced_act_waits_as_a_row_and_asks_nobody(team: Team, olga: User) -> None:
    run = begun(team, olga)
    step = step_of(run)
    assert (run.state, run.waits, run.waiting_for) == ("waiting", "window", "the moment it was announced for")
    assert step.is_announced
    assert run.wake_at == step.due_at
    assert step.due_at
    assert abs(step.due_at - timezone.now() - timedelta(seconds=45)) < timedelta(seconds=10)
    assert "45 s unless somebody stops it" in step.gate_reason
    assert not Approval.objects.exists()
    assert toolbox.effects == []


def test_when_its_moment_has_come_it_happens_once_and_the_run_goes_on(team: Team, olga: User) -> None:
    run = come(begun(team, olga))
    assert run.state == "completed"
    assert [kind for kind, _ in toolbox.effects] == ["mail"]
    assert (step_of(run).state, step_of(run).due_at) == ("done", None)


def test_driven_again_before_its_moment_it_still_waits(team: Team, olga: User) -> None:
    run = begun(team, olga)
    interventions.pause(run, by=olga, reason="a look", request_id=uuid7())
    interventions.resume(run, by=olga, request_id=uuid7())
    run = driven(run)
    assert (run.state, run.waits, toolbox.effects) == ("waiting", "window", [])


def test_what_somebody_stops_never_happens_and_the_agent_goes_on(team: Team, olga: User) -> None:
    run, request_id = begun(team, olga), uuid7()
    first = windows.stop(run, 1, by=olga, reason="The customer called.", request_id=request_id)
    assert windows.stop(run, 1, by=olga, reason="The customer called.", request_id=request_id) == first
    assert run.state == "queued"
    run = come(run)
    step = step_of(run)
    assert (step.state, toolbox.effects) == ("refused", [])
    assert "The customer called." in step.error
    assert AuditEntry.objects.get(verb="run.stop").reason == "The customer called."


def test_what_is_stopped_in_its_last_moment_while_a_driver_waits_for_it_never_happens(team: Team, olga: User) -> None:
    run = begun(team, olga)
    interventions.pause(run, by=olga, reason="a look", request_id=uuid7())
    interventions.resume(run, by=olga, request_id=uuid7())
    Step.objects.filter(run=run).update(due_at=timezone.now() + timedelta(seconds=0.9))
    driver = Thread(target=runner.drive, args=(run.pk,))
    driver.start()
    while Run.objects.get(pk=run.pk).state != "running":
        time.sleep(0.01)
    windows.stop(run, 1, by=olga, reason="Not this one.", request_id=uuid7())
    driver.join(10)
    run.refresh_from_db()
    assert (run.state, step_of(run).state, toolbox.effects) == ("failed", "refused", [])


def test_what_is_stopped_after_its_driver_has_looked_never_happens(team: Team, olga: User) -> None:
    def stop() -> None:
        if not AuditEntry.objects.filter(verb="run.stop").exists():
            windows.stop(run, 1, by=olga, reason="Not this one.", request_id=uuid7())

    run = begun(team, olga, MAIL, tools=["test.mail"])
    toolbox.before_mail.append(stop)
    try:
        run = come(run)
    finally:
        toolbox.before_mail.clear()
    assert (run.state, step_of(run).state, toolbox.effects) == ("failed", "refused", [])
    assert "Not this one." in step_of(run).error


def test_a_late_stop_changes_nothing_and_says_so(team: Team, olga: User) -> None:
    run = come(begun(team, olga))
    with pytest.raises(errors.Conflict, match=r"Too late: test\.mail is done"):
        windows.stop(run, 1, by=olga, reason="Wait!", request_id=uuid7())
    assert [kind for kind, _ in toolbox.effects] == ["mail"]


def test_who_may_neither_steer_nor_decide_stops_nothing(team: Team, olga: User, max_: User, rhea: User) -> None:
    run = begun(team, olga)
    with pytest.raises(errors.Forbidden, match="operator or reviewer"):
        windows.stop(run, 1, by=max_, reason="Why not?", request_id=uuid7())
    assert AuditEntry.objects.filter(verb="run.stop", outcome="denied").exists()
    with pytest.raises(errors.Invalid, match="Say why"):
        windows.stop(run, 1, by=rhea, reason=" ", request_id=uuid7())
    windows.stop(run, 1, by=rhea, reason="Not this customer.", request_id=uuid7())


def test_what_happens_soon_is_named_where_people_look_who_would_stop_it(
    team: Team, olga: User, rhea: User, stranger: User
) -> None:
    page = Client()
    page.force_login(rhea)
    assert "About to happen" not in page.get("/runs/announced/").content.decode()
    first, second = begun(team, olga), begun(team, olga)
    named = page.get("/runs/announced/").content.decode()
    assert named.count("Write to Café Lindenhof") == 2 * 2  # the words, and the link's name
    assert named.index(str(first.pk)) < named.index(str(second.pk))
    come(first)
    assert str(first.pk) not in page.get("/runs/announced/").content.decode()
    for room in ("/", "/approvals/"):
        assert 'hx-get="/runs/announced/"' in page.get(room).content.decode()
    page.force_login(stranger)
    assert "About to happen" not in page.get("/runs/announced/").content.decode()


def test_the_gates_are_asked_again_when_the_moment_comes(team: Team, olga: User) -> None:
    run = begun(team, olga)
    expires = timezone.now() + timedelta(hours=1)
    overriding.override(
        run, parameter="tiers.test.mail", value=3, by=olga, reason="look at it", request_id=uuid7(), expires_at=expires
    )
    run = come(run)
    assert (run.state, run.waits, toolbox.effects) == ("waiting", "approval", [])
    assert Approval.objects.get().tier == 3


def test_at_another_tier_nothing_is_announced(team: Team, olga: User) -> None:
    assert begun(team, olga, tiers={"test.mail": 1}).state == "completed"
    asked = begun(team, olga, tiers={"test.mail": 3})
    assert asked.waits == "approval"


def test_the_page_shows_when_it_happens_and_stops_it(team: Team, olga: User, client: Client) -> None:
    run = begun(team, olga)
    client.force_login(olga)
    shown = client.get(f"/runs/{run.pk}/?step=1").content.decode()
    assert "unless somebody stops it" in shown
    posted = {"reason": "Wrong address.", "request_id": str(uuid7())}
    answer = client.post(f"/runs/{run.pk}/steps/1/stop/", posted, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert UUID(str(step_of(run).answer["by_id"])) == olga.pk
    driven(run)
    assert (step_of(run).state, toolbox.effects) == ("refused", [])
