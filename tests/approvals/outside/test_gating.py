"""The gate for agents elsewhere: what is let through, held and denied, and that an approval is good for one call."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, AuditEntry, Run, Step, Team, User
from agents.people import accounts
from agents.runs import elsewhere as runs
from agents.runs import interventions, overriding
from approvals import editing
from approvals.escalation import expiring
from approvals.models import Approval, Decision
from approvals.outside import unused
from approvals.outside.models import OutsideCall
from approvals.policies import requests
from tests import factories
from tests.approvals import questions
from tests.approvals.outside import elsewhere

SAID = {"reason": "It is noisy."}


def steer(verb: Any, subject: Any, by: User) -> None:
    """Freeze, pause or cancel, with a reason."""
    verb(subject, by=by, request_id=uuid7(), **SAID)


# --- a first call -----------------------------------------------------------------------------------------------------
def test_what_it_may_do_alone_goes_ahead_and_is_kept(key: User) -> None:
    ruling = elsewhere.ask(key, "lookup", {"order": "4711"}, objective="Ticket 882")
    assert (ruling.verdict, ruling.approval) == ("allow", None)
    run, step = Run.objects.get(), Step.objects.get()
    assert (run.objective, run.state, run.waits, run.started_by, run.steps_done) == (
        "Ticket 882", "waiting", "outside", key, 1,
    )  # fmt: skip
    assert (step.name, step.state, step.says) == ("triage.lookup", "done", "Lookup: order 4711")
    assert OutsideCall.objects.get().verdict == "allow"
    assert AuditEntry.objects.get(verb="gate.allowed").subject_name == "triage"


def test_a_tool_of_tier_three_is_held_and_a_person_is_asked_in_its_owners_words(key: User) -> None:
    ruling = elsewhere.ask(key, confidence=0.4)
    approval = Approval.objects.get()
    assert (ruling.verdict, ruling.approval) == ("hold", approval)
    assert (str(approval), approval.zone, approval.confidence) == ("Refund 184 of order 4711", "red", 0.4)
    assert approval.expires_at == approval.requested_at + timedelta(days=1)
    assert Run.objects.get().waits == "approval"


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("refnd", {}, "refnd is not among the tools of triage 1 (label, letter, lookup, refund)"),
        ("refund", {"order": "4711"}, "triage.refund: amount is missing; it takes a number."),
        ("refund", {"order": "4711", "amount": -1}, "amount is -1; it must be more than 0."),
    ],
)
def test_what_cannot_be_judged_is_denied(tool: str, arguments: Any, told: str, key: User) -> None:
    ruling = elsewhere.ask(key, tool, arguments)
    assert ruling.verdict == "deny"
    assert told in ruling.reason
    assert Step.objects.get().state == "refused"
    assert AuditEntry.objects.get(verb="gate.denied").outcome == "denied"


def test_a_frozen_agent_is_denied_with_the_reason(triage: Agent, key: User, olga: User) -> None:
    steer(interventions.freeze, triage, olga)
    ruling = elsewhere.ask(key, "lookup", {})
    assert (ruling.verdict, ruling.reason) == ("deny", "triage is frozen by olga: It is noisy.")
    assert not Run.objects.exists()


def test_a_tier_that_people_raised_for_a_time_holds_here_too(triage: Agent, key: User, olga: User) -> None:
    raised = {"parameter": "tiers.triage.lookup", "value": "3", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(triage, by=olga, reason="Look at these.", request_id=uuid7(), **raised)
    assert elsewhere.ask(key, "lookup", {}).verdict == "hold"


def test_each_of_its_tools_may_have_to_be_surer_than_the_others(team: Team, key: User, olga: User) -> None:
    tools = elsewhere.TOOLS | {"note": {"tier": 1}, "tag": {"tier": 2}}
    triage = elsewhere.published(team, version="2", outside=tools, thresholds={"confidence": 0.6, "note": 0.9})
    assert triage.release
    assert triage.release.bundle["thresholds"] == {"confidence": 0.6, "triage.note": 0.9}
    unsure = elsewhere.ask(key, "note", {}, confidence=0.8)
    assert (unsure.verdict, unsure.gate) == ("hold", "confidence")
    assert unsure.reason == (
        "Its confidence is 0.80; below 0.9 a person looks before triage.note happens, by the tool's own threshold."
    )
    assert elsewhere.ask(key, "note", {}, confidence=0.9).verdict == "allow"
    assert elsewhere.ask(key, "tag", {}, confidence=0.8).verdict == "allow", "that is held to what all are held to"
    assert elsewhere.ask(key, "lookup", {}, confidence=0.1).verdict == "allow", "it only reads"
    raised = {"parameter": "thresholds.triage.tag", "value": "0.85", "expires_at": timezone.now() + timedelta(hours=1)}
    overriding.override(triage, by=olga, reason="Look at these.", request_id=uuid7(), **raised)
    assert elsewhere.ask(key, "tag", {}, confidence=0.8).verdict == "hold"
    raised |= {"parameter": "thresholds.confidence", "value": "0.95"}
    overriding.override(triage, by=olga, reason="Look at everything.", request_id=uuid7(), **raised)
    unsure = elsewhere.ask(key, "note", {}, confidence=0.92)
    assert unsure.verdict == "hold"
    assert "below 0.95" in unsure.reason
    assert "stricter than the tool's own, 0.9." in unsure.reason


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"lable": 0.5}, "[thresholds] lable: there is no [outside.lable]. Did you mean label?"),
        ({"burn": 0.5}, "there is no [outside.burn]. There are refund, lookup, label, letter."),
        ({"other.label": 0.5}, "there is no [outside.other.label]."),
        ({"label": 2}, "[thresholds] label is 2; it should be less than or equal to 1."),
        ({"label": 0.5, "triage.label": 0.6}, "[thresholds] names label twice: also as triage.label."),
        (
            {"triage": {"label": 0.5}},
            '[thresholds] triage is a table: write the name of a tool in quotes, "triage.label".',
        ),
        (
            {"lookup": 0.5},
            "[thresholds] lookup: [outside.lookup] only reads, and only what writes waits for being unsure.",
        ),
    ],
)
def test_a_threshold_that_would_hold_nothing_is_refused(team: Team, table: Any, told: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        elsewhere.published(team, thresholds=table)
    assert told in refused.value.message


# --- asking again with the approval -----------------------------------------------------------------------------------
def test_an_approved_call_goes_ahead_exactly_once(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    assert elsewhere.ask(key, approval=approval.pk).verdict == "hold"
    questions.settle(approval, by=rhea)
    assert Run.objects.get().waits == "outside"
    once = elsewhere.ask(key, approval=approval.pk)
    assert (once.verdict, once.reason) == ("allow", "Approved by rhea: The photo shows it.")
    again = elsewhere.ask(key, approval=approval.pk)
    assert (again.verdict, again.reason) == ("deny", "One approval is for one act, and it was used.")
    approval.refresh_from_db()
    assert (approval.executed, Step.objects.get().state, Run.objects.get().steps_done) == ("executed", "done", 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arguments": {"order": "4711", "amount": 185}}, "amount was 184, is 185"),
        ({"tool": "letter", "arguments": elsewhere.REFUND}, "tool was triage.refund, is triage.letter"),
    ],
)
def test_an_approval_is_for_exactly_what_was_asked(change: Any, told: str, key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea)
    ruling = elsewhere.ask(key, approval=approval.pk, **change)
    assert ruling.verdict == "deny"
    assert told in ruling.reason
    assert elsewhere.ask(key, approval=approval.pk).verdict == "allow", "it was not used up by that"


def test_a_release_that_moved_needs_another_approval(key: User, rhea: User, team: Team) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea)
    elsewhere.published(team, version="2", prompts={"note": "another one"})
    ruling = elsewhere.ask(key, approval=approval.pk)
    assert ruling.verdict == "deny"
    assert "release was" in ruling.reason
    assert elsewhere.held(key).run_id != approval.run_id


def test_an_edit_is_judged_with_what_the_agent_told_around_its_call(key: User) -> None:
    approval = elsewhere.held(key, context={"customer_segment": "gold"})
    tool = editing.tool_of(approval)
    assert tool
    judged = editing.action(approval, {"order": "4711", "amount": 92}, spec=tool)
    assert requests.facts(judged)["customer_segment"] == "gold"


def test_an_edit_is_what_goes_ahead_and_nothing_else(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    with pytest.raises(errors.Invalid, match="amount"):
        questions.settle(approval, by=rhea, answer="edit", arguments={"order": "4711"})
    edited = {"order": "4711", "amount": 92}
    questions.settle(approval, by=rhea, answer="edit", arguments=edited)
    assert elsewhere.ask(key, approval=approval.pk).verdict == "deny"
    ruling = elsewhere.ask(key, arguments=edited, approval=approval.pk)
    assert (ruling.verdict, ruling.arguments) == ("allow", edited)
    assert Step.objects.get().run.payloads.get().input == {"arguments": edited}


def test_a_rejected_call_is_denied_with_the_persons_words(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea, answer="reject", reason="Paid back already.")
    ruling = elsewhere.ask(key, approval=approval.pk)
    assert (ruling.verdict, ruling.reason) == ("deny", "Rejected by rhea: Paid back already.")
    assert Step.objects.get().state == "refused"


def test_a_question_back_is_for_the_agent_to_read(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea, answer="ask", reason="Which machine?")
    ruling = elsewhere.ask(key, approval=approval.pk)
    told = "Asked back by rhea: Which machine? Nothing was done; answer, and ask for it anew."
    assert (ruling.verdict, ruling.reason) == ("deny", told)


def test_what_a_person_did_by_hand_is_handed_over_as_its_outcome(key: User, rhea: User) -> None:
    approval = elsewhere.held(key, "letter", {"to": "Café Lindenhof"})
    questions.settle(approval, by=rhea, answer="outcome", outcome={"posted": "box 12"})
    ruling = elsewhere.ask(key, "letter", {"to": "Café Lindenhof"}, approval=approval.pk)
    assert (ruling.verdict, ruling.outcome) == ("deny", {"posted": "box 12"})
    assert Step.objects.get().state == "done"


@pytest.mark.django_db(transaction=True)
def test_of_two_that_come_for_one_approval_at_once_one_gets_it(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea)
    told: list[str] = []

    def come(session: str) -> None:
        told.append(elsewhere.ask(key, approval=approval.pk, session=session).verdict)
        connection.close()

    threads = [threading.Thread(target=come, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["allow", "deny", "deny"]


# --- steering ---------------------------------------------------------------------------------------------------------
def test_people_stop_what_was_approved_by_freezing_or_pausing(triage: Agent, key: User, rhea: User, olga: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea)
    steer(interventions.freeze, triage, olga)
    assert elsewhere.ask(key, approval=approval.pk).reason == "triage is frozen by olga: It is noisy."
    steer(interventions.thaw, triage, olga)
    steer(interventions.pause, approval.run, olga)
    assert elsewhere.ask(key, approval=approval.pk).reason == "This session was paused by olga: It is noisy."
    steer(interventions.resume, approval.run, olga)
    assert Run.objects.get().state == "waiting", "no worker is rung for it"
    assert elsewhere.ask(key, approval=approval.pk).verdict == "allow"


def test_a_cancelled_session_asks_nobody_any_more(key: User, rhea: User, olga: User) -> None:
    approval = elsewhere.held(key, session="ticket-882")
    steer(interventions.cancel, approval.run, olga)
    approval.refresh_from_db()
    assert approval.state == "superseded"
    for call in ({"approval": approval.pk}, {}):
        ruling = elsewhere.ask(key, session="ticket-882", **call)
        assert (ruling.verdict, "cancelled" in ruling.reason) == ("deny", True)
    assert elsewhere.ask(key, session="ticket-883").verdict == "hold"


def test_a_session_ends_by_itself_when_nothing_of_it_is_held(key: User, rhea: User) -> None:
    elsewhere.ask(key, "lookup", {})
    approval = elsewhere.held(key)
    long_ago = timezone.now() - timedelta(hours=2)
    Run.objects.update(changed_at=long_ago)
    assert runs.end_idle() == 0, "a person is asked"
    questions.settle(approval, by=rhea)
    Run.objects.update(changed_at=long_ago)
    assert runs.end_idle() == 0, "its agent may come back for what it was allowed"
    elsewhere.ask(key, approval=approval.pk)
    Run.objects.update(changed_at=long_ago)
    assert runs.end_idle() == 1
    assert (Run.objects.get().state, Run.objects.get().result) == ("completed", {"calls": 2})
    elsewhere.ask(key, "lookup", {})
    assert Run.objects.count() == 2


# --- silence ----------------------------------------------------------------------------------------------------------
def test_silence_is_no(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    Approval.objects.update(expires_at=timezone.now())
    ruling = elsewhere.ask(key, approval=approval.pk)
    assert (ruling.verdict, ruling.reason) == ("deny", "Nobody answered in time, and silence is not consent.")
    with pytest.raises(errors.Conflict, match="Nobody needs to answer"):
        questions.settle(approval, by=rhea)
    assert Step.objects.get().state == "refused"


def test_a_tool_whose_owner_chose_open_goes_on_once_and_nobody_has_approved_it(key: User) -> None:
    approval = elsewhere.held(key, "label", {"text": "late"})
    Approval.objects.update(expires_at=timezone.now())
    assert expiring.expire_overdue() == 1
    assert elsewhere.ask(key, "label", {"text": "other"}, approval=approval.pk).verdict == "deny"
    ruling = elsewhere.ask(key, "label", {"text": "late"}, approval=approval.pk)
    assert (ruling.verdict, ruling.gate) == ("allow", "fail_open")
    assert elsewhere.ask(key, "label", {"text": "late"}, approval=approval.pk).verdict == "deny"
    approval.refresh_from_db()
    assert (approval.state, approval.executed) == ("expired", "executed")
    assert not Decision.objects.exists()


def test_what_was_allowed_and_never_fetched_is_not_good_for_ever(key: User, rhea: User) -> None:
    approval = elsewhere.held(key)
    questions.settle(approval, by=rhea)
    Approval.objects.update(expires_at=timezone.now())
    assert elsewhere.ask(key, approval=approval.pk).verdict == "deny"
    assert (unused.withdraw(), unused.withdraw()) == (1, 0)
    approval.refresh_from_db()
    assert (approval.state, approval.executed) == ("approved", "failed")
    assert Step.objects.get().state == "refused"


# --- once -------------------------------------------------------------------------------------------------------------
def test_the_same_request_is_one_call(key: User, rhea: User) -> None:
    first, second = uuid7(), uuid7()
    approval = elsewhere.held(key, request_id=first)
    assert elsewhere.held(key, request_id=first) == approval
    with pytest.raises(errors.Conflict, match="used for another call"):
        elsewhere.ask(key, "lookup", {}, request_id=first)
    assert elsewhere.ask(key, approval=approval.pk, request_id=second).verdict == "hold"
    questions.settle(approval, by=rhea)
    told = [elsewhere.ask(key, approval=approval.pk, request_id=second) for _ in range(2)]
    assert [one.verdict for one in told] == ["allow", "allow"], "an answer that got lost is given again"
    assert AuditEntry.objects.filter(verb="gate.allowed").count() == 1


# --- who may ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("also", ["", "reviewer", "admin"])
def test_an_agents_token_never_decides_whatever_else_it_may(also: str, key: User, team: Team) -> None:
    other, _ = elsewhere.key(team, "other-key")
    if also:
        other.memberships.create(role=also, team=None)
    approval = elsewhere.held(key)
    with pytest.raises(errors.Forbidden, match="people decide"):
        questions.settle(approval, by=User.objects.get(pk=other.pk))
    assert Approval.objects.get().is_open


def test_whoever_stands_behind_the_token_has_started_it_and_decides_nothing(team: Team, triage: Agent) -> None:
    rita = factories.person("rita", "reviewer", of=team)
    key, _ = elsewhere.key(team, "ritas-key", owner=rita)
    with pytest.raises(errors.Forbidden, match="started this run"):
        questions.settle(elsewhere.held(key), by=rita)


def test_asking_takes_the_role_and_the_agent_has_to_run_elsewhere(triage: Agent, key: User, rhea: User) -> None:
    with pytest.raises(errors.Forbidden, match="a token of the role agent"):
        elsewhere.ask(rhea)
    approval = elsewhere.held(key)
    other, _ = elsewhere.key(triage.team, "other-key")
    with pytest.raises(errors.Missing):
        elsewhere.ask(other, approval=approval.pk)
    with pytest.raises(errors.Invalid, match="a person cannot hold it"):
        accounts.create_user("pia", role="agent", by=None)
    Agent.objects.update(release=factories.release(triage))
    with pytest.raises(errors.Conflict, match="gated already"):
        elsewhere.ask(key)
