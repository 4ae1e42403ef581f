"""What the tick does to open questions, on a real database: escalate, reopen, expire, each once; clocks that stop."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Run, Team, User
from agents.runs import interventions
from approvals import signals
from approvals.escalation import expiring, firing, opening, pausing, publishing, targets, written
from approvals.escalation.clocks import Clock
from approvals.escalation.ladder import Ladder
from approvals.models import Approval, ApprovalClock, Decision, Escalation, EscalationPolicy
from tests import factories
from tests.approvals import questions
from tests.approvals.clockwork import LEVELS, MINUTE, let_pass, now, policy


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What was announced of escalations."""
    said: list[dict[str, Any]] = []

    def hear(sender: object, **given: Any) -> None:
        said.append(given)

    signals.approval_escalated.connect(hear)
    yield said
    signals.approval_escalated.disconnect(hear)


@pytest.fixture
def approval(team: Team, rhea: User, olga: User) -> Approval:
    """May the agent refund €184? By the policy above."""
    policy(team)
    return questions.held()


def test_a_question_opens_with_its_ladder_and_a_running_clock(approval: Approval) -> None:
    assert [rung["targets"] for rung in approval.ladder["rungs"]] == [["rhea"], ["role:admin"]]
    assert approval.ladder["policy"] == "service, version 1"
    assert approval.next_due_at == approval.requested_at + 10 * MINUTE
    assert approval.due_at == approval.requested_at + 15 * MINUTE
    assert list(approval.clock.values_list("started_at", "stopped_at")) == [(approval.requested_at, None)]


def test_nothing_happens_before_its_time(approval: Approval, heard: list[Any]) -> None:
    let_pass(approval, 9.9)
    assert firing.fire() == 0
    assert (now(approval).rung, heard, Escalation.objects.count()) == (0, [], 0)


def test_what_is_due_goes_to_the_next_level_and_those_people_are_named(approval: Approval, heard: list[Any]) -> None:
    let_pass(approval, 10.1)
    assert firing.fire() == 1
    (said,) = heard
    assert (said["approval"].pk, said["level"], list(map(str, said["targets"]))) == (approval.pk, 2, ["ada"])
    assert tuple(said["channels"]) == ("email", "slack")
    row, kept = now(approval), Escalation.objects.get()
    assert (row.state, row.rung, row.next_due_at) == ("open", 1, kept.at + 20 * MINUTE)
    assert (kept.what, kept.level, kept.told) == ("escalated", 2, ["ada"])
    entry = AuditEntry.objects.get(verb="approval.escalated")
    assert (entry.by_name, entry.detail["level"], entry.detail["told"]) == ("cockpit", 2, ["ada"])
    assert firing.fire() == 0, "once is once"


def test_what_was_published_later_changes_no_open_question(approval: Approval, team: Team) -> None:
    policy(team, levels=[{"level": "L1", "targets": ["ada"], "minutes": 1}])
    let_pass(approval, 5)
    assert firing.fire() == 0
    assert questions.held(seq=3).ladder["policy"] == "service, version 2"


@pytest.mark.parametrize(("after_last", "state"), [("hold", "open"), ("reject", "expired"), ("emergency", "open")])
def test_silence_never_approves_and_nothing_is_done(team: Team, rhea: User, after_last: str, state: str) -> None:
    policy(team, after_last=after_last, emergency=["ada"] if after_last == "emergency" else [])
    approval = questions.held()
    for _ in range(6):
        let_pass(approval, 60)
        firing.fire()
    row, step = now(approval), questions.step_of(approval)
    assert (row.state, row.executed, row.decided_at) == (state, "not_yet", None)
    assert not Decision.objects.exists()
    assert row.next_due_at is None or state == "expired"
    if state == "expired":
        assert step.answer["kind"] == "expired"
        assert "Nobody on the ladder answered" in row.closed_because
        assert Run.objects.get().state == "queued", "the agent is told"
        with pytest.raises(errors.Conflict, match="Nobody needs to answer"):
            questions.settle(approval, by=rhea)
        assert row.clock.get().why == "expired"
    else:
        assert step.answer is None
    what = list(Escalation.objects.order_by("rung").values_list("what", "told"))
    ends = {"hold": ("held", []), "reject": ("expired", []), "emergency": ("emergency", ["ada"])}
    assert what == [("escalated", ["ada"]), ends[after_last]]


def test_the_database_refuses_a_ladder_that_ends_in_an_approval(approval: Approval) -> None:
    row = EscalationPolicy.objects.get()
    with pytest.raises(IntegrityError, match="escalation_never_approves"), transaction.atomic():
        EscalationPolicy.objects.filter(pk=row.pk).update(after_last="approve")
    with pytest.raises(IntegrityError, match="escalation_never_says_so"), transaction.atomic():
        EscalationPolicy.objects.filter(pk=row.pk).update(content={**row.content, "after_last": "approve"})
    with pytest.raises(IntegrityError, match="approval_never_by_silence"), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(ladder={**approval.ladder, "after_last": "approve"})


def test_a_doubt_is_never_rejected_by_silence(team: Team, rhea: User, olga: User) -> None:
    policy(team, after_last="reject")
    approval = questions.doubted()
    for _ in range(4):
        let_pass(approval, 60)
        firing.fire()
    assert (now(approval).state, questions.step_of(approval).answer) == ("open", None)


def test_what_may_only_be_done_until_a_moment_expires_then(approval: Approval) -> None:
    Approval.objects.update(expires_at=timezone.now() + MINUTE)
    assert firing.fire() == 0
    Approval.objects.update(expires_at=timezone.now())
    assert firing.fire() == 1
    assert (now(approval).state, questions.step_of(approval).answer["kind"]) == ("expired", "expired")


def test_what_expires_together_ends_in_one_tick_and_holds_up_nobody(
    approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [questions.held(approval.run, seq=seq) for seq in range(3, 8)]
    let_pass(others[0], 11)
    Approval.objects.exclude(pk=others[0].pk).update(expires_at=timezone.now())
    monkeypatch.setattr(expiring, "MOST", 2)
    assert firing.fire() == 6
    assert (now(others[0]).state, now(others[0]).rung) == ("open", 1)
    assert Approval.objects.filter(state="expired").count() == 5


def test_what_nobody_answers_ends_batch_by_batch_in_one_tick(
    team: Team, rhea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy(team, after_last="reject", levels=LEVELS[:1])
    run = questions.run()
    for seq in range(2, 7):
        let_pass(questions.held(run, seq=seq), 11)
    monkeypatch.setattr(expiring, "MOST", 2)
    assert (firing.fire(), Approval.objects.filter(state="expired").count()) == (5, 5)


# --- the end of a question ------------------------------------------------------------------------------------------
def with_hours(team: Team) -> None:
    """A calendar in which the next three days are closed, whichever day it is."""
    today = timezone.now().date()
    holidays = {str(today + timedelta(days=days)): "closed" for days in range(-1, 4)}
    publishing.publish_calendar({"team": team.slug, "holidays": holidays}, by=None)


LONG = [{"level": "L1", "targets": ["rhea"], "minutes": 6000}]


def test_a_question_does_not_end_while_its_team_is_not_at_work(team: Team, rhea: User) -> None:
    with_hours(team)
    policy(team, after_last="reject", levels=LONG)
    asked, wall = questions.held(), timedelta(hours=24)
    opens = Ladder.of(asked.ladder).calendar.opens(asked.requested_at)
    assert opens - asked.requested_at > 2 * wall
    assert asked.expires_at == opens + wall, "a day of its clock"
    policy(team, after_last="reject", levels=LONG, clock="wall")
    asked = questions.held(seq=3)
    assert asked.expires_at == asked.requested_at + wall


def test_a_pause_longer_than_a_day_ends_nothing_and_what_was_left_is_left(team: Team, rhea: User, olga: User) -> None:
    policy(team, after_last="reject", levels=LONG)
    asked = questions.held()
    let_pass(asked, 60)
    interventions.pause(asked.run, by=olga, reason="Let me look.", request_id=uuid7())
    assert now(asked).expires_at is None
    let_pass(asked, 26 * 60)
    assert (firing.fire(), now(asked).state) == (0, "open")
    interventions.resume(Run.objects.get(), by=olga, request_id=uuid7())
    row = now(asked)
    ladder = Ladder.of(row.ladder)
    assert row.expires_at == Clock.of(pausing.intervals_of([row])[row.pk]).reaches(ladder.lasts)
    assert abs(row.expires_at - timezone.now() - timedelta(hours=23)) < timedelta(seconds=30)
    let_pass(asked, 23 * 60 + 1)
    assert (firing.fire(), now(asked).state) == (1, "expired")
    assert not Decision.objects.exists()


@pytest.mark.parametrize("end", [{"after_last": "hold"}, {"after_last": "emergency", "emergency": ["rhea"]}])
def test_what_is_held_is_held_for_days_and_can_still_be_decided(team: Team, rhea: User, olga: User, end: Any) -> None:
    policy(team, **end)
    asked = questions.held()
    for _ in range(4):
        let_pass(asked, 24 * 60)
        firing.fire()
    assert (now(asked).state, now(asked).expires_at) == ("open", None)
    questions.settle(asked, by=rhea)
    assert now(asked).state == "approved"


# --- clocks -----------------------------------------------------------------------------------------------------------
def test_a_paused_run_stops_the_clock_and_what_was_left_is_left(approval: Approval, olga: User) -> None:
    let_pass(approval, 4)
    interventions.pause(approval.run, by=olga, reason="Let me look.", request_id=uuid7())
    stopped = now(approval)
    assert stopped.stopped_at is not None
    assert approval.clock.get().why == "run paused"
    let_pass(approval, 600)
    assert firing.fire() == 0, "however long it takes"
    interventions.resume(Run.objects.get(), by=olga, request_id=uuid7())
    row = now(approval)
    ladder = Ladder.of(row.ladder)
    clock = Clock.of(pausing.intervals_of([row])[row.pk], ladder.calendar)
    assert (row.stopped_at, len(clock.intervals)) == (None, 2)
    assert row.due_at == clock.reaches(15 * MINUTE), "it can be computed again from the intervals"
    assert abs(row.next_due_at - timezone.now() - 6 * MINUTE) < timedelta(seconds=30)


def test_a_policy_may_let_the_clock_run_on_while_the_run_is_paused(team: Team, rhea: User, olga: User) -> None:
    policy(team, when_paused="run")
    approval = questions.held()
    interventions.pause(approval.run, by=olga, reason="Let me look.", request_id=uuid7())
    let_pass(approval, 11)
    assert (now(approval).stopped_at, firing.fire()) == (None, 1)


@pytest.mark.parametrize("how", ["decided", "superseded"])
def test_a_question_that_closes_has_no_clock_any_more_however_it_closes(
    approval: Approval, rhea: User, how: str
) -> None:
    if how == "decided":
        decided = questions.settle(approval, by=rhea)
        assert approval.clock.get().stopped_at == decided.at
    else:
        Approval.objects.filter(pk=approval.pk).update(state="superseded")
    assert approval.clock.get().stopped_at is not None
    let_pass(approval, 600)
    assert firing.fire() == 0


def test_questions_from_before_there_were_clocks_get_one_and_their_time_begins_then(team: Team, rhea: User) -> None:
    approval = questions.held()
    ApprovalClock.objects.all().delete()
    past = timezone.now() - 600 * MINUTE
    Approval.objects.update(ladder=None, next_due_at=None, rung_at=None, requested_at=past, due_at=past + 15 * MINUTE)
    assert (opening.adopt(), opening.adopt()) == (1, 0)
    row = now(approval)
    assert row.next_due_at > timezone.now(), "nobody is called for time gone by"
    assert (row.due_at, row.clock.get().started_at) == (past + 15 * MINUTE, past)


# --- whom it concerns -------------------------------------------------------------------------------------------------
def test_targets_are_who_has_the_role_there_now_and_only_people(team: Team, rhea: User, olga: User) -> None:
    factories.person("ruth", "reviewer")
    factories.person("roy", "reviewer", of=factories.team("roastery"))
    factories.person("bot", "reviewer", of=team)
    User.objects.filter(username="bot").update(kind="service")
    factories.person("gone", "reviewer", of=team)
    User.objects.filter(username="gone").update(is_active=False)
    found = targets.people(team.pk, ["RHEA", "role:reviewer", "gone", "nobody"])
    assert [user.username for user in found] == ["rhea", "ruth"]


# --- publishing -------------------------------------------------------------------------------------------------------
def test_a_team_has_its_own_policy_before_the_one_for_all(team: Team, rhea: User) -> None:
    assert publishing.policy_of(team.pk)[0] == "built in"
    publishing.publish_policy({"levels": LEVELS[1:]}, by=None)
    assert publishing.policy_of(team.pk)[0] == "every team, version 1"
    policy(team)
    assert publishing.policy_of(team.pk)[0] == "service, version 1"
    assert policy(team).version == 1, "the same again is the same"
    assert policy(team, after_last="reject").version == 2
    assert EscalationPolicy.objects.in_force().count() == 2


def test_only_who_governs_a_team_publishes_for_it_and_the_attempt_is_kept(
    team: Team, rhea: User, governor: User
) -> None:
    with pytest.raises(errors.Forbidden, match="governance or admin in Service"):
        publishing.publish_policy({"team": "service", "levels": LEVELS}, by=rhea)
    with pytest.raises(errors.Forbidden, match="in every team"):
        publishing.publish_policy({"levels": LEVELS}, by=governor)
    assert AuditEntry.objects.filter(verb="escalation.published", outcome="denied").count() == 2
    made = publishing.publish_policy({"team": "service", "levels": LEVELS}, by=governor)
    assert made.published_by == governor
    assert AuditEntry.objects.get(verb="escalation.published", outcome="done").team_id == team.pk


def test_a_policy_that_asks_somebody_unknown_is_refused(team: Team) -> None:
    with pytest.raises(errors.Invalid, match="no active account called 'rhea'"):
        policy(team)


@pytest.mark.parametrize(
    ("asks", "team_slug", "said"),
    [
        ("olga", "service", "olga cannot decide requests of Service: that takes the role reviewer or admin there"),
        ("stella", "service", "stella cannot decide requests of Service"),
        ("rhea", "", "rhea cannot decide requests of every team"),
        ("bot", "service", "bot is no person"),
        ("role:governance", "service", "cannot decide requests; role:admin and role:reviewer can"),
    ],
)
def test_a_policy_asks_nobody_who_cannot_decide(
    team: Team, rhea: User, olga: User, stranger: User, asks: str, team_slug: str, said: str
) -> None:
    User.objects.filter(pk=factories.person("bot", "reviewer", of=team).pk).update(kind="service")
    level = {"level": "L1", "targets": [asks]}
    with pytest.raises(errors.Invalid, match=said) as refused:
        publishing.publish_policy({"team": team_slug, "levels": [level]}, by=None)
    assert refused.value.field == "targets"
    last = {"after_last": "emergency", "emergency": [asks], "levels": [{**level, "targets": ["role:admin"]}]}
    with pytest.raises(errors.Invalid, match=said) as refused:
        publishing.publish_policy({"team": team_slug, **last}, by=None)
    assert refused.value.field == "emergency"
    assert not EscalationPolicy.objects.exists()


def test_what_is_built_in_asks_only_people_who_decide(team: Team) -> None:
    assert publishing.publish_policy(written.DEFAULT, by=None).content["levels"] == written.DEFAULT["levels"]


# --- many ticks -------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_two_ticks_escalate_each_exactly_once(team: Team, rhea: User, olga: User, heard: list[Any]) -> None:
    policy(team)
    first = questions.held()
    run, level = first.run, first
    rows = [_copy(level, run, seq) for seq in range(10, 70)]
    with transaction.atomic():
        Approval.objects.bulk_create(rows)
        opening.start(rows)
    begin, moved = threading.Barrier(2), Counter[int]()

    def work(which: int) -> None:
        begin.wait()
        while done := firing.fire():
            moved[which] += done
        connection.close()

    ticks = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for one in ticks:
        one.start()
    for one in ticks:
        one.join()
    assert sum(moved.values()) == len(rows) == len(heard)
    assert Escalation.objects.count() == len(rows)
    assert set(Approval.objects.exclude(pk=first.pk).values_list("rung", flat=True)) == {1}


def _copy(of: Approval, run: Run, seq: int) -> Approval:
    """Another question of the same run, ten minutes old."""
    ago = timezone.now() - 11 * MINUTE
    same = ("agent_id", "release_id", "team_id", "kind", "tier", "tool", "says", "digest", "level", "ladder")
    return Approval(
        run=run,
        seq=seq,
        requested_at=ago,
        rung_at=ago,
        next_due_at=ago + 10 * MINUTE,
        due_at=ago + 15 * MINUTE,
        **{name: getattr(of, name) for name in same},
    )


def test_the_clock_of_a_session_elsewhere_goes_on_when_it_is_let_on(team: Team, rhea: User, olga: User) -> None:
    policy(team)
    asked = questions.held(questions.run(queue=Run.Queue.OUTSIDE))
    interventions.pause(asked.run, by=olga, reason="Wait.", request_id=uuid7())
    assert now(asked).stopped_at is not None
    interventions.resume(asked.run, by=olga, reason="Go on.", request_id=uuid7())
    assert (now(asked).stopped_at, asked.clock.filter(stopped_at=None).count()) == (None, 1)
