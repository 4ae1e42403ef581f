"""Editing an act: fields made from the tool's schema, and an edit that is judged like an act of the agent's own."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.contracts import ALLOW, Action, Stance, Verdict
from agents.models import AuditEntry, Team, User
from agents.runs import gates, overriding
from agents.tools import catalogue
from agents.tools.catalogue import ToolSpec, tool
from approvals import fields
from approvals import gates as gate
from approvals.models import Approval, Decision
from tests import factories
from tests.approvals import questions


@tool("test.label_parcel", tier=3, timeout=None)
def ship(
    to: str,
    amount: Decimal,
    parcels: int,
    on: date,
    how: Literal["van", "bike"],
    fragile: bool,
    note: Annotated[str | None, "printed on the label"] = None,
    lines: list[dict[str, int]] | None = None,
) -> None:
    """Ship something: one parameter of every kind."""


@pytest.fixture
def spec() -> ToolSpec:
    """The tool above."""
    return catalogue.get("test.label_parcel")


GIVEN: dict[str, Any] = {
    "to": "Bar Nord", "amount": "12.50", "parcels": 3, "on": "2026-03-31", "how": "van", "fragile": True,
    "lines": [{"sku": 7}],
}  # fmt: skip


def posted(spec: ToolSpec, **changes: str) -> dict[str, str]:
    """What a browser sends of an untouched form, with changes."""
    whole = {field.key: field.value for field in fields.of(spec, GIVEN)}
    return whole | {f"argument.{name}": text for name, text in changes.items()}


def test_each_argument_is_a_field_of_its_own_kind_beside_what_it_was(spec: ToolSpec) -> None:
    made = {field.name: field for field in fields.of(spec, GIVEN)}
    assert {name: field.kind for name, field in made.items()} == {
        "to": "text", "amount": "money", "parcels": "whole", "on": "date", "how": "choice", "fragile": "switch",
        "note": "text", "lines": "json",
    }  # fmt: skip
    assert made["how"].options == (("van", "van"), ("bike", "bike"))
    assert (made["fragile"].value, made["fragile"].options) == ("true", (("true", "yes"), ("false", "no")))
    assert (made["note"].was, made["note"].hint) == ("not given", "printed on the label")
    assert made["amount"].was == "12.50"


def test_a_form_that_nobody_touched_says_what_the_agent_said(spec: ToolSpec) -> None:
    assert fields.read(spec, posted(spec), GIVEN) == GIVEN


def test_what_is_changed_keeps_its_type(spec: ToolSpec) -> None:
    changed = posted(spec, amount="9.90", parcels="2", fragile="false", how="bike", lines='[{"sku": 8}]', note="Ring")
    assert fields.read(spec, changed, GIVEN) == GIVEN | {
        "amount": "9.90", "parcels": 2, "fragile": False, "how": "bike", "lines": [{"sku": 8}], "note": "Ring",
    }  # fmt: skip


def test_every_wrong_field_is_told_in_a_sentence_of_its_own(spec: ToolSpec) -> None:
    with pytest.raises(errors.Invalid) as refused:
        fields.read(spec, posted(spec, parcels="three", on="tomorrow", how="cart", lines="[", amount="9,90"), GIVEN)
    told = refused.value.message
    assert refused.value.field.startswith("argument.")
    for sentence in (
        'Parcels is "three"; it takes a whole number.',
        'On is "tomorrow"; it takes a date such as 2026-03-31.',
        'How is "cart"; it takes "van" or "bike".',
        "Lines is not JSON:",
        'Amount is "9,90"; it takes an amount such as 92.00.',
    ):
        assert sentence in told


class Judge:
    """A gate that says of a refund above €200 what the test wants, and holds every other."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def ask(self, action: Action) -> Verdict:
        return self.verdict if Decimal(action.arguments["amount"]) > 200 else ALLOW

    def admit(self, action: Action) -> None:
        """It verifies nothing."""


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict(Stance.DENY, "policy", "No refund above €200."), "policy does not allow it: No refund above €200"),
        (Verdict(Stance.HOLD, "policy", "It is a lot.", {"level": 2}), "level L2 instead of L1, because .*It is a lot"),
        (Verdict(Stance.HOLD, "policy", "It is a lot.", {"votes": 2, "zone": "red"}), "2 votes .* and the red zone"),
    ],
)
def test_an_edit_is_judged_as_the_act_that_it_makes(
    approval: Approval, rhea: User, verdict: Verdict, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (*gates.gates(), Judge(verdict))
    monkeypatch.setattr(gates, "gates", lambda: whole)
    with pytest.raises(errors.Conflict, match=told):
        questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711", "amount": "900.00"})
    assert Approval.objects.get(pk=approval.pk).is_open
    assert AuditEntry.objects.get(verb="approval.decided").outcome == AuditEntry.Outcome.FAILED
    questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711", "amount": "90.00"})
    assert Decision.objects.get().answer == "edit"


class Witness(Judge):
    """A gate that remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__(ALLOW)
        self.seen: list[Action] = []

    def ask(self, action: Action) -> Verdict:
        self.seen.append(action)
        return ALLOW


def test_an_edit_is_judged_by_what_holds_now_and_not_by_what_its_release_says(
    team: Team, rhea: User, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refunds = factories.agent("refunds", of=team)
    content = {"tools": ["test.refund"], "thresholds": {"test.refund": 0.5}, "data_class": "internal"}
    refunds.release = factories.release(refunds, **content)
    approval = questions.held(questions.run(refunds))
    witness = Witness()
    whole = (*gates.gates(), witness)
    monkeypatch.setattr(gates, "gates", lambda: whole)
    lasts: dict[str, Any] = {"by": olga, "reason": "A bad day.", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(refunds, parameter="thresholds.confidence", value=0.8, request_id=uuid7(), **lasts)
    overriding.override(approval.run, parameter="thresholds.confidence", value=0.9, request_id=uuid7(), **lasts)
    questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711", "amount": "90.00"})
    (edited,) = witness.seen
    assert (edited.facts["confidence_threshold"], edited.facts["data_class"]) == (0.9, "internal")
    assert gate.is_unsure(edited)


def test_an_edit_that_comes_again_is_the_same_edit_though_a_gate_would_refuse_it_by_now(
    approval: Approval, rhea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    Approval.objects.filter(pk=approval.pk).update(votes_needed=2)
    approval.refresh_from_db()
    teo = factories.person("teo", "reviewer", of=approval.team)
    given = {"by": rhea, "answer": "edit", "arguments": {"order": "4711", "amount": "900.00"}, "request_id": uuid7()}
    made = questions.settle(approval, **given)
    questions.settle(approval, by=teo, answer="edit", arguments={"order": "4711", "amount": "90.00"})
    whole = (*gates.gates(), Judge(Verdict(Stance.DENY, "policy", "No refund above €200.")))
    monkeypatch.setattr(gates, "gates", lambda: whole)
    assert questions.settle(approval, **given) == made


def test_whoever_may_not_decide_makes_no_gate_and_no_tool_answer(
    approval: Approval, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "gates", lambda: pytest.fail("a gate was asked"))
    with pytest.raises(errors.Forbidden):
        questions.settle(approval, by=olga, answer="edit", arguments={"order": "4711", "amount": "90.00"})
