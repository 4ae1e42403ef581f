"""Letting the same act through for the rest of one run: what it covers, what it does not, and taking it back."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.contracts import Stance, Verdict
from agents.models import Agent, AuditEntry, Run, Step, User
from agents.runs import recovery
from agents.tools import ToolError, Touched
from approvals.models import Approval, Decision, RunGrant
from approvals.run_grants import bounds, grants
from tests import factories, toolbox
from tests.approvals import questions, scripted
from tests.approvals.scripted import asked, drive

committed = pytest.mark.django_db(transaction=True)


def refund(amount: str = "184.00", order: str = "4711") -> tuple[str, dict[str, Any]]:
    return "test.refund", {"order": order, "amount": amount}


@pytest.fixture(autouse=True)
def quiet() -> None:
    toolbox.effects.clear()


def grant_of(run: Run, by: User) -> RunGrant:
    """Let the open question of a run through for the rest of it."""
    questions.settle(asked(run), by=by, for_run=True)
    return RunGrant.objects.get(run=run)


@committed
def test_the_same_on_the_same_records_for_no_more_money_is_not_asked_again(
    agent: Agent, olga: User, rhea: User
) -> None:
    run = scripted.start(agent, olga, refund(), refund("92.00"), refund(), refund("184.01"), refund(order="4712"))
    grant = grant_of(run, rhea)
    assert grant.records == [
        {"kind": "order", "record": "4711", "customer": "Café Lindenhof", "amount": "184.00", "currency": "EUR"}
    ]
    assert drive(run).state == "waiting"
    assert [key for _, key in toolbox.effects] == [f"{run.pk}:{seq}" for seq in (1, 2, 3)]
    assert asked(run).arguments["amount"] == "184.01"
    questions.settle(asked(run), by=rhea)
    drive(run)
    assert asked(run).arguments["order"] == "4712"
    assert sorted(grant.uses.values_list("seq", flat=True)) == [2, 3]
    used = AuditEntry.objects.filter(verb="run_grant.used").order_by("pk")
    assert [(entry.by, entry.detail["seq"]) for entry in used] == [(None, 2), (None, 3)]


@committed
def test_a_try_that_failed_in_passing_is_made_again_under_the_same_grant(agent: Agent, olga: User, rhea: User) -> None:
    run = scripted.start(agent, olga, refund(), refund("92.00"))
    grant = grant_of(run, rhea)
    questions_before = Approval.objects.count()
    toolbox.troubles["test.refund of 92.00"] = ToolError("the bank is busy", kind="busy", permanent=False)
    while (run := drive(run)).state == "waiting":
        Step.objects.filter(run=run, due_at__isnull=False).update(due_at=timezone.now())
        Run.objects.filter(pk=run.pk, wake_at__isnull=False).update(wake_at=timezone.now())
        recovery.sweep()
    assert run.state == "completed"
    assert [key for _, key in toolbox.effects] == [f"{run.pk}:1", f"{run.pk}:2"]
    assert run.steps.get(seq=2).attempt == 2
    assert (list(grant.uses.values_list("seq", flat=True)), Approval.objects.count()) == ([2], questions_before)


@committed
def test_a_grant_of_another_run_counts_for_nothing(agent: Agent, olga: User, rhea: User) -> None:
    grant_of(scripted.start(agent, olga, refund()), rhea)
    other = scripted.start(agent, olga, refund())
    assert asked(other).arguments["amount"] == "184.00"


@committed
def test_what_is_revoked_is_asked_about_again(agent: Agent, olga: User, rhea: User) -> None:
    run = scripted.start(agent, olga, refund(), refund())
    grant = grant_of(run, rhea)
    maxim = factories.person("maxim", "viewer", of=agent.team)
    with pytest.raises(errors.Forbidden, match="takes the role reviewer or operator"):
        grants.revoke(grant, by=maxim, reason="")
    for _ in range(2):
        grants.revoke(grant, by=olga, reason="Enough.")
    assert drive(run).state == "waiting"
    assert len(toolbox.effects) == 1
    assert [entry.outcome for entry in AuditEntry.objects.filter(verb="run_grant.revoked").order_by("pk")] == [
        "denied",
        "done",
    ]


@committed
def test_what_is_revoked_between_the_look_and_the_act_lets_nothing_through(
    agent: Agent, olga: User, rhea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.runs import gates

    run = scripted.start(agent, olga, refund(), refund())
    grant = grant_of(run, rhea)
    found = grants.waives

    def found_and_then_revoked(action: Any, verdict: Verdict) -> bool:
        is_found = found(action, verdict)
        grants.revoke(grant, by=olga, reason="Too late for the look.")
        return is_found

    monkeypatch.setattr(gates, "waives", lambda: found_and_then_revoked)
    assert drive(run).state == "waiting"
    assert len(toolbox.effects) == 1
    assert (asked(run).seq, grant.uses.count()) == (2, 0)


@committed
def test_a_gate_that_had_not_asked_and_a_higher_demand_are_asked_about(agent: Agent, olga: User, rhea: User) -> None:
    run = scripted.start(agent, olga, refund())
    first = asked(run)
    grant_of(run, rhea)
    act = questions.action(run, seq=2, says=first.says)

    def let(gate: str, **detail: object) -> bool:
        return grants.waives(act, Verdict(Stance.HOLD, gate, "It asks.", detail))

    assert let("tier")
    assert not let("budget")
    assert not let("tier", level=2)
    assert not let("tier", votes=2)
    assert not let("tier", zone="red")
    assert not grants.waives(questions.action(run, seq=2, tier=4), Verdict(Stance.HOLD, "tier", "It asks."))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"level": 2}, "a higher level than L1"),
        ({"zone": "red"}, "the red zone"),
        ({"votes_needed": 2}, "more than one person"),
    ],
)
def test_what_takes_more_is_never_let_through_for_a_run(
    approval: Approval, rhea: User, fields: dict[str, Any], told: str
) -> None:
    Approval.objects.filter(pk=approval.pk).update(**fields)
    approval.refresh_from_db()
    with pytest.raises(errors.Conflict, match=told):
        bounds.of(approval, approval.arguments)


@pytest.mark.django_db
def test_only_what_lets_an_act_through_can_do_so_for_the_run(approval: Approval, rhea: User) -> None:
    with pytest.raises(errors.Invalid, match="approve and edit only"):
        questions.settle(approval, by=rhea, answer="reject", for_run=True)
    letter = questions.held(approval.run, seq=5, tier=4, name="test.letter", arguments={"text": "Sorry."})
    assert bounds.refusal(letter) == "What a person does cannot be let through ahead."
    assert not RunGrant.objects.exists()


def test_only_the_very_records_are_covered_and_no_amount_is_larger() -> None:
    one = Touched("order", "4711", "Nord", Decimal("10"), "EUR")
    allowed = [{"kind": "order", "record": "4711", "customer": "Nord", "amount": "10", "currency": "EUR"}]
    assert bounds.covers(allowed, [one])
    assert bounds.covers(allowed, [Touched("order", "4711", "Nord", Decimal("9.99"), "EUR")])
    for other in (
        Touched("order", "4711", "Nord", Decimal("10.01"), "EUR"),
        Touched("order", "4711", "Nord", Decimal("-1"), "EUR"),
        Touched("order", "4711", "Nord", Decimal("10"), "USD"),
        Touched("order", "4711", "Süd", Decimal("10"), "EUR"),
        Touched("order", "4712", "Nord", Decimal("10"), "EUR"),
        Touched("order", "4711", "Nord"),
    ):
        assert not bounds.covers(allowed, [one, other])
    assert not bounds.covers(allowed, [])


@committed
def test_the_page_of_the_run_shows_it_and_takes_it_back(agent: Agent, olga: User, rhea: User, stranger: User) -> None:
    run = scripted.start(agent, olga, refund(), refund())
    approval, client = asked(run), Client()
    client.force_login(rhea)
    assert 'name="for_run"' in client.get(reverse("approvals:approval", args=[approval.pk])).content.decode()
    given = {"answer": "approve", "request_id": str(uuid7()), "place": "page", "for_run": "true"}
    for _ in range(2):  # a double click is one grant
        assert client.post(reverse("approvals:decision", args=[approval.pk]), given).status_code == 302
    grant = RunGrant.objects.get()
    assert Decision.objects.get().run_grant == grant
    panel, revocation = reverse("approvals:run-grants", args=[run.pk]), f"/approvals/run/grants/{grant.pk}/revocation/"
    text = client.get(panel).content.decode()
    assert "order 4711 of Café Lindenhof, up to 184.00 EUR" in text
    assert "Not used yet" in text
    outside = Client()
    outside.force_login(stranger)
    assert outside.get(panel).status_code == outside.post(revocation).status_code == 404
    text = client.post(revocation, {"reason": "Enough."}, HTTP_HX_REQUEST="true").content.decode()
    assert "revoked" in text
    assert "Enough." in text
    assert client.get(reverse("agents:run", args=[run.pk])).content.decode().count(panel) == 1
