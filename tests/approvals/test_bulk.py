"""Many requests, one answer: what stands together, what never does, and a job that goes on whatever happens to it."""

from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertRedirects
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Run, Team, User
from approvals import claiming, integrity, queue
from approvals.bulk import choosing, fitness, grouping, jobs
from approvals.bulk.choosing import Choice
from approvals.bulk.models import BulkDecision, BulkItem
from approvals.models import FIT, Approval, Decision
from approvals.queue import Filters
from tests import factories
from tests.approvals import questions

pytestmark = pytest.mark.django_db


def alike(number: int, **fields: Any) -> list[Approval]:
    """Refunds of one model step, each of another order."""
    run = questions.run(**fields)
    return [
        questions.held(run, seq=seq, arguments={"order": str(seq), "amount": "9.00"}) for seq in range(2, 2 + number)
    ]


def changed(approval: Approval, **fields: Any) -> Approval:
    Approval.objects.filter(pk=approval.pk).update(**fields)
    approval.refresh_from_db()
    return approval


def unfit_ones() -> list[Approval]:
    return [
        questions.doubted(questions.run()),
        questions.held(questions.run(), tier=4),
        changed(questions.held(questions.run()), zone="red"),
        changed(questions.held(questions.run()), level=2),
        changed(questions.held(questions.run()), votes_needed=2),
    ]


def begin(choice: Choice, by: User, **given: Any) -> BulkDecision:
    return jobs.start(choice, **{"answer": "approve", "reason": "All fine.", "by": by, "request_id": uuid7(), **given})


def of(approvals: list[Approval]) -> Choice:
    return Choice(ids=[one.pk for one in approvals])


# --- groups ----------------------------------------------------------------------------------------------------------
def test_alike_requests_are_one_row_and_what_deserves_a_look_of_its_own_is_not(rhea: User) -> None:
    group = alike(4)
    red = changed(questions.held(questions.run()), zone="red")
    elsewhere = questions.held(questions.run(factories.agent("dispatch")))
    rows = queue.page(rhea, Filters(), limit=9).rows
    assert [(row.pk, row.more) for row in rows] == [(group[0].pk, 3), (red.pk, 0), (elsewhere.pk, 0)]
    questions.settle(group[0], by=rhea)
    assert queue.page(rhea, Filters(), limit=9).rows[0].pk == group[1].pk
    assert {row.more for row in queue.page(rhea, Filters(state="all"), limit=9).rows} == {0}


def test_what_is_fit_is_said_in_the_same_way_by_query_and_by_sentence(rhea: User) -> None:
    fine = questions.held(questions.run())
    everything = [fine, *unfit_ones()]
    assert [one for one in everything if not fitness.unfit(one)] == list(Approval.objects.filter(FIT)) == [fine]
    for one in everything[1:]:
        with pytest.raises(errors.Conflict):
            fitness.require(one)


def test_the_table_of_a_group_shows_what_differs(rhea: User) -> None:
    table = grouping.table(alike(3))
    assert (table.shared, table.columns) == ([("amount", "9.00")], ["order"])
    assert [cells for _, cells in table.rows] == [[("order", "2")], [("order", "3")], [("order", "4")]]


def test_a_group_says_what_its_runs_are_for_once_or_for_each(desk: Client) -> None:
    group = alike(3)
    address = reverse("approvals:group", args=[group[0].pk])
    Run.objects.update(objective="Refund the beans that came late")
    assert desk.get(address).content.decode().count("Refund the beans that came late") == 1
    Approval.objects.filter(pk=group[1].pk).update(run=questions.run(objective="Refund what nobody ordered"))
    page = desk.get(address).content.decode()
    assert (page.count("Refund the beans that came late"), page.count("Refund what nobody ordered")) == (2, 1)


def test_one_that_another_gate_or_rule_asks_about_does_not_hide_among_the_others() -> None:
    act, tier = questions.action(questions.run()), {"gate": "tier", "reason": "It is assisted."}
    plain = integrity.alike(act, "act", 1, [tier])
    assert integrity.alike(act, "act", 1, [tier | {"reason": "Said in other words."}]) == plain
    unsure = integrity.alike(act, "act", 1, [tier, {"gate": "confidence", "reason": "0.31 is below 0.8."}])
    ruled = [integrity.alike(act, "act", 1, [{"gate": "policy", "rule": name}]) for name in ("big", "night")]
    assert len({plain, unsure, *ruled}) == 4


def test_a_group_that_is_closed_by_now_leads_to_the_request_that_was_named(desk: Client, rhea: User) -> None:
    group = alike(2)
    address = reverse("approvals:group", args=[group[0].pk])
    assert "What changes" in desk.get(address).content.decode()
    for one in group:
        questions.settle(one, by=rhea)
    assertRedirects(desk.get(address), reverse("approvals:approval", args=[group[0].pk]))
    assert "0 alike" not in desk.get(f"/approvals/?group={group[0].pk}").content.decode()


# --- jobs ------------------------------------------------------------------------------------------------------------
def test_a_group_is_decided_in_one_act_and_its_run_goes_on_once(rhea: User) -> None:
    group = alike(56)
    job = begin(Choice(groups=[group[7].pk], until=timezone.now()), rhea)
    assert (job.state, job.total, job.decided, job.left) == ("done", 56, 56, 0)
    assert job.summary == "Approved 56 of 56."
    assert Run.objects.get(pk=group[0].run_id).state == Run.State.QUEUED
    assert {one.reason for one in Decision.objects.all()} == {"All fine."}
    verbs = AuditEntry.objects.filter(subject_kind="bulkdecision").order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["approval.bulk_asked", "approval.bulk_ended"]


def test_what_may_not_be_decided_together_is_left_and_says_why(rhea: User, team: Team) -> None:
    teo = factories.person("teo", "reviewer", of=team)
    fine, own, theirs, late = alike(1)[0], *alike(1, started_by=rhea), *alike(1), *alike(1)
    claiming.claim(theirs, by=teo)
    questions.settle(late, by=teo)
    chosen = [fine, own, theirs, late, *unfit_ones()]
    job = begin(of(chosen), rhea)
    assert (job.decided, job.left) == (1, 8)
    why = dict(job.items.filter(state="left").values_list("approval_id", "why"))
    for one, words in zip(
        chosen[1:],
        ["You started", "teo holds", "Approved by teo", "one by one", "manual", "red zone", "L2", "2 people"],
        strict=True,
    ):
        assert words in why[one.pk]
    listed = queue.page(rhea, Filters(bulk=str(job.pk)), limit=20).rows
    assert {row.pk for row in listed} == {one.pk for one in chosen} - {fine.pk, late.pk}


def test_all_that_match_is_what_was_there_when_somebody_looked(rhea: User, stranger: User) -> None:
    shown, elsewhere = alike(2), questions.held(questions.run(factories.agent("dispatch")))
    at = timezone.now()
    later = alike(1)[0]
    job = begin(Choice(filters=Filters(agent="refunds"), until=at), rhea, answer="reject", code="not_needed")
    assert (job.total, job.decided, job.chosen) == (2, 2, "agent:refunds")
    assert set(Approval.objects.filter(state="open")) == {elsewhere, later}
    assert {one.code for one in Decision.objects.all()} == {"not_needed"}
    assert {one.state for one in Approval.objects.filter(pk__in=[one.pk for one in shown])} == {"rejected"}
    with pytest.raises(errors.Conflict, match="Nothing that you can see"):
        begin(Choice(filters=Filters(), until=timezone.now()), stranger)


def test_a_group_is_what_was_in_it_when_somebody_looked(rhea: User) -> None:
    shown, at = alike(2), timezone.now()
    (later,) = alike(1)
    job = begin(Choice(groups=[shown[0].pk], until=at), rhea)
    assert (job.total, job.decided) == (2, 2)
    assert set(Approval.objects.filter(state="open")) == {later}
    for unseen in (Choice(groups=[later.pk]), Choice(filters=Filters())):
        with pytest.raises(errors.Invalid, match="`until`"):
            begin(unseen, rhea)


def test_a_job_that_is_killed_goes_on_where_it_stood(rhea: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 2)
    group = alike(5)
    job = begin(of(group), rhea)  # more than a chunk: a worker's
    assert (job.state, Approval.objects.filter(state="open").count()) == ("queued", 5)
    token = jobs._claim(job.pk)
    assert token is not None
    assert jobs._chunk(job.pk, token)
    assert jobs._claim(job.pk) is None  # somebody drives it
    jobs.drive(job.pk)
    assert Approval.objects.filter(state="open").count() == 3
    BulkDecision.objects.update(lease_until=timezone.now() - timedelta(seconds=1))  # its driver is gone
    assert Run.objects.get().state == Run.State.WAITING
    jobs.drive(job.pk)
    assert not jobs._chunk(job.pk, token), "whoever was presumed dead changes nothing"
    job.refresh_from_db()
    assert (job.state, job.decided, job.left, job.summary) == ("done", 5, 0, "Approved 5 of 5.")
    assert (Decision.objects.count(), Run.objects.get().state) == (5, Run.State.QUEUED)


def test_a_job_that_kills_its_drivers_ends_and_says_how_far_it_came(
    rhea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)
    job = begin(of(alike(2)), rhea)
    for _ in range(jobs.MOST_DEATHS + 2):
        jobs._claim(job.pk)
        BulkDecision.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    job.refresh_from_db()
    assert (job.state, job.summary) == ("failed", "Approved 0 of 2, then stopped with 2 to go.")


def test_asking_twice_is_one_job(rhea: User, team: Team) -> None:
    group, key = alike(3), uuid7()
    first = begin(of(group), rhea, request_id=key)
    assert begin(of(group), rhea, request_id=key) == first
    assert (BulkDecision.objects.count(), Decision.objects.count()) == (1, 3)
    with pytest.raises(errors.Conflict):
        begin(of(group), factories.person("teo", "reviewer", of=team), request_id=key)
    others = alike(3)
    for choice, given in (
        (of(group), {"answer": "reject"}),
        (of(group[:2]), {}),
        (of(others), {}),
    ):
        with pytest.raises(errors.Conflict, match="used before, to approve 3 selected, which counts"):
            begin(choice, rhea, request_id=key, **given)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"answer": "edit"}, "approve or reject"),
        ({"reason": " "}, "Say why"),
        ({"code": "unclear"}, "comes with reject"),
        ({"answer": "reject", "code": "bad"}, "is one of"),
    ],
)
def test_what_is_asked_for_wrongly_changes_nothing(wrong: dict[str, Any], told: str, rhea: User) -> None:
    group = alike(2)
    with pytest.raises(errors.Invalid, match=told):
        begin(of(group), rhea, **wrong)
    for nothing in (Choice(), Choice(ids=[group[0].pk], filters=Filters())):
        with pytest.raises(errors.Invalid):
            begin(nothing, rhea)
    assert not BulkDecision.objects.exists()


def test_whoever_may_not_decide_is_refused_and_that_is_kept(olga: User) -> None:
    with pytest.raises(errors.Forbidden):
        begin(of(alike(2)), olga)
    assert AuditEntry.objects.get(verb="approval.bulk_asked").outcome == "denied"


# --- pages -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def desk(rhea: User) -> Client:
    """A browser without script, in which rhea is signed in."""
    client = Client()
    client.force_login(rhea)
    return client


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_the_pages_lead_from_the_queue_to_the_summary_without_script(desk: Client) -> None:
    group, red = alike(3), changed(questions.held(questions.run()), zone="red")
    inbox = text(desk.get("/approvals/"))
    assert "and 2 more alike" in inbox
    assert "Select every one of these" in inbox
    counted = desk.get(reverse("approvals:bulk-new"), {"group": group[0].pk, "id": red.pk})
    shown, until = text(counted), counted.context["at"].isoformat()
    assert f'name="until" value="{until}"' in shown
    alike(1)  # comes after the page was made: it is not decided with those that it showed
    assert "3 requests together" in shown
    assert "1 × It is in the red zone" in shown
    form = {"answer": "approve", "reason": "Fine.", "request_id": uuid7()}
    chosen = {**form, "group": group[0].pk, "id": red.pk}
    assert desk.post(reverse("approvals:bulk-create"), chosen).status_code == 422
    made = desk.post(reverse("approvals:bulk-create"), {**chosen, "until": until})
    job = BulkDecision.objects.get()
    assert made.url == f"/approvals/bulk/{job.pk}/"
    summary = text(desk.get(made.url))
    assert "Approved 3 of 4; 1 left as it was." in summary
    assert f"/approvals/{red.pk}/" in summary
    again = text(desk.get("/approvals/", {"bulk": job.pk}))
    assert 'name="id" value="' + str(red.pk) in again
    assert "checked" in again


def test_all_that_match_is_counted_when_one_looks(desk: Client) -> None:
    alike(2)
    shown = desk.get(reverse("approvals:bulk-new"), {"all": "1", "filter": "agent=refunds"})
    assert "2 requests together" in text(shown)
    assert "agent:refunds" in text(shown)
    until = shown.context["at"].isoformat()
    alike(1)
    form = {
        "all": "1",
        "filter": "agent=refunds",
        "until": until,
        "answer": "reject",
        "reason": "Old.",
        "request_id": uuid7(),
    }
    desk.post(reverse("approvals:bulk-create"), form)
    assert BulkDecision.objects.get().total == 2
    assert "Nothing is selected" in text(desk.get(reverse("approvals:bulk-new")))
    for wrong in ({"id": "7"}, {"all": "1", "until": "soon"}, {"all": "1", "filter": "bulk=x"}):
        assert desk.get(reverse("approvals:bulk-new"), wrong).status_code == 422


def test_a_job_of_another_team_does_not_exist(rhea: User, olga: User, stranger: User) -> None:
    job = begin(of(alike(2)), rhea)
    for person, status in ((olga, 200), (stranger, 404)):
        client = Client()
        client.force_login(person)
        assert client.get(reverse("approvals:bulk", args=[job.pk])).status_code == status


def test_items_are_the_job_s(rhea: User) -> None:
    job = begin(of(alike(2)), rhea)
    assert set(job.items.values_list("state", flat=True)) == {BulkItem.State.DECIDED}
    assert choosing.outlook(Choice(ids=[UUID(int=0)]), rhea).total == 0
