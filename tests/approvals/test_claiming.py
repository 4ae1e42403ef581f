"""Who is at work on a question: others leave it to them, for a while, or say why not."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Team, User
from agents.runs import holds
from approvals import claiming, queue
from approvals.models import Approval
from approvals.signals import approval_claimed
from tests import factories
from tests.approvals import questions


@pytest.fixture
def teo(team: Team) -> User:
    """Another reviewer."""
    return factories.person("teo", "reviewer", of=team)


@pytest.fixture
def told() -> Iterator[list[object]]:
    """What open pages hear of."""
    heard: list[object] = []

    def hear(sender: object, approval_id: object, **_: object) -> None:
        heard.append(approval_id)

    approval_claimed.connect(hear)
    yield heard
    approval_claimed.disconnect(hear)


def run_out(approval: Approval) -> None:
    Approval.objects.filter(pk=approval.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))


def test_others_cannot_decide_what_somebody_holds(approval: Approval, rhea: User, teo: User) -> None:
    held = claiming.claim(approval, by=rhea)
    assert (held.held_by, held.claimed_until > timezone.now()) == (rhea, True)
    with pytest.raises(errors.Conflict, match="rhea holds this until"):
        questions.settle(approval, by=teo)
    with pytest.raises(errors.Conflict, match="Say why you take it over"):
        claiming.claim(approval, by=teo)
    with pytest.raises(errors.Conflict, match="Only rhea can give it back"):
        claiming.release(approval, by=teo)
    assert questions.settle(approval, by=rhea).by == rhea


def test_a_claim_is_taken_over_with_a_reason(approval: Approval, rhea: User, teo: User, told: list[object]) -> None:
    claiming.claim(approval, by=rhea)
    assert claiming.claim(approval, by=teo, reason="Rhea is at lunch.").held_by == teo
    with pytest.raises(errors.Conflict, match="teo holds this"):
        questions.settle(approval, by=rhea)
    entry = AuditEntry.objects.get(verb="approval.taken_over")
    assert (entry.by, entry.reason, told) == (teo, "Rhea is at lunch.", [approval.pk, approval.pk])


def test_a_claim_that_ran_out_does_not_count_whether_anybody_tidied_up_or_not(
    approval: Approval, rhea: User, teo: User, told: list[object]
) -> None:
    claiming.claim(approval, by=rhea)
    assert claiming.expire() == 0
    run_out(approval)
    assert Approval.objects.get(pk=approval.pk).held_by is None
    assert claiming.claim(approval, by=teo).held_by == teo
    assert not AuditEntry.objects.filter(verb="approval.taken_over").exists()
    run_out(approval)
    assert (claiming.expire(), claiming.expire()) == (1, 0)
    assert Approval.objects.get(pk=approval.pk).claimed_by is None
    assert AuditEntry.objects.get(verb="approval.claim_ended").by is None
    assert len(told) == 3
    assert questions.settle(approval, by=rhea).by == rhea


def test_giving_back_twice_is_giving_back_once(approval: Approval, rhea: User) -> None:
    claiming.claim(approval, by=rhea)
    claiming.claim(approval, by=rhea)
    assert claiming.release(approval, by=rhea).held_by is None
    assert claiming.release(approval, by=rhea).held_by is None
    assert AuditEntry.objects.filter(verb="approval.released").count() == 1


def test_who_may_not_decide_cannot_keep_others_from_it(approval: Approval, rhea: User, olga: User) -> None:
    own = questions.held(questions.run(started_by=rhea))
    for by, what in ((olga, approval), (rhea, own)):
        with pytest.raises(errors.Forbidden):
            claiming.claim(what, by=by)
    assert AuditEntry.objects.filter(verb="approval.claimed", outcome="denied").count() == 2
    questions.settle(approval, by=rhea)
    with pytest.raises(errors.Conflict, match="it is approved"):
        claiming.claim(approval, by=rhea)


def test_the_queue_can_be_narrowed_to_what_is_mine_or_free(rhea: User, teo: User) -> None:
    mine, theirs, free = (questions.held(questions.run()) for _ in range(3))
    claiming.claim(mine, by=rhea)
    claiming.claim(theirs, by=teo)

    def listed(claim: str) -> set[Approval]:
        return set(queue.page(rhea, queue.Filters.of({"claim": claim}), limit=9).rows)

    assert listed("mine") == {mine}
    assert listed("free") == {mine, free}
    run_out(theirs)
    assert listed("free") == {mine, theirs, free}
    with pytest.raises(errors.Invalid, match="mine, free"):
        queue.Filters.of({"claim": "hers"})


def test_the_page_says_who_holds_it_and_offers_what_one_can_do(approval: Approval, rhea: User, teo: User) -> None:
    mine, theirs = Client(), Client()
    mine.force_login(rhea)
    theirs.force_login(teo)
    page = reverse("approvals:approval", args=[approval.pk])
    claim, release = (reverse(f"approvals:{name}", args=[approval.pk]) for name in ("claim", "release"))
    assert "Claim <kbd>" in mine.get(page).content.decode()
    assert mine.post(claim, {"place": "page"}).status_code == 302
    assert "You hold this until" in mine.get(page).content.decode()
    shown = theirs.get(page).content.decode()
    assert "rhea holds this until" in shown
    assert "Take over" in shown
    assert "<fieldset disabled>" in shown
    assert theirs.post(claim, {"place": "page"}).status_code == 409
    answer = {"answer": "approve", "request_id": str(uuid7())}
    assert theirs.post(reverse("approvals:decision", args=[approval.pk]), answer).status_code == 409
    assert theirs.post(claim, {"reason": "She is away."}).status_code == 302
    assert theirs.post(release, {}).status_code == 302
    assert Approval.objects.get().held_by is None


@pytest.mark.django_db(transaction=True)
def test_a_claim_keeps_nothing_from_who_decides_at_the_same_moment(rhea: User) -> None:
    approval = questions.held()

    def work() -> None:
        claiming.claim(approval, by=rhea)
        connection.close()

    claims = threading.Thread(target=work)
    with transaction.atomic():
        holds.lock({approval.run_id})  # as a decision begins
        claims.start()
        _await_somebody_waiting()
        Approval.objects.select_for_update(nowait=True).get(pk=approval.pk)  # and goes on; the claim waits for its turn
    claims.join()
    approval.refresh_from_db()
    assert approval.held_by == rhea


def _await_somebody_waiting() -> None:
    for _ in range(200):
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.02)
    pytest.fail("Nobody waits for a lock.")
