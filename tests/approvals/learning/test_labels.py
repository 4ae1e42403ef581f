"""Every decision is a label: read back, exported, and shown to those who may see it."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import AuditEntry, Run, Step, User
from approvals.learning import labels, looks
from approvals.learning.models import Look
from approvals.models import Approval
from tests import factories
from tests.approvals import questions
from tests.approvals.learning import decided


def latest(user: User) -> labels.Label:
    return next(labels.every(labels.decisions(user)))


def test_an_edit_teaches_what_a_person_wanted_instead(approval: Approval, rhea: User) -> None:
    wanted = {"order": "4711", "amount": "92.00"}
    questions.settle(approval, by=rhea, answer="edit", arguments=wanted, reason="Half of it was fine.")
    label = latest(rhea)
    assert label.correction == {
        "kind": "edit",
        "arguments": wanted,
        "edits": [{"argument": "amount", "before": "184.00", "after": "92.00"}],
    }
    assert (label.answer, label.rationale, label.reviewer, label.right) == (
        "edit",
        "Half of it was fine.",
        "rhea",
        False,
    )
    assert label.context["arguments"] == questions.REFUND
    assert label.context["confidence"] == {"value": 0.62, "source": "self_reported"}
    assert label.context["digest"] == approval.digest
    assert label.seconds >= 0


def test_right_is_what_was_let_through_and_not_taken_back_by_people(rhea: User, approval: Approval) -> None:
    questions.settle(approval, by=rhea)
    assert (latest(rhea).right, latest(rhea).outcome) == (True, "approved")
    factories.step(approval.run, seq=9, compensates=approval.seq, state=Step.State.DONE)
    assert latest(rhea).right is True, "its run failed, for whatever reason"
    Run.objects.filter(pk=approval.run_id).update(ending={"state": "cancelled"})
    assert (latest(rhea).right, latest(rhea).outcome) == (False, "corrected")


def test_a_doubt_and_what_a_person_does_alone_say_nothing_of_the_agent(rhea: User, team: object) -> None:
    questions.settle(questions.doubted(), by=rhea, answer="outcome", outcome="It was paid.")
    assert latest(rhea).right is None
    questions.settle(questions.held(tier=4), by=rhea, answer="outcome", outcome="Posted by hand.")
    assert latest(rhea).right is None
    assert latest(rhea).correction is None


def test_what_the_reviewer_saw_is_on_the_label(approval: Approval, rhea: User, client: Client) -> None:
    client.force_login(rhea)
    client.get(f"/approvals/{approval.pk}/")
    seen = Look.objects.get(approval=approval)
    Look.objects.update(at=timezone.now() - timedelta(seconds=40))
    client.get(f"/approvals/{approval.pk}/")  # again: still the first look
    questions.settle(approval, by=rhea)
    label = latest(rhea)
    assert label.context["shown"] == seen.digest
    assert label.looked_s == pytest.approx(40, abs=5)
    assert Look.objects.count() == 1


def test_a_step_that_changes_is_another_thing_to_see(approval: Approval, rhea: User) -> None:
    step = factories.step(approval.run, seq=1, says="Read the ticket.")
    before = looks.digest(approval, [step])
    step.says = "Read another ticket."
    assert looks.digest(approval, [step]) != before


def test_who_may_not_answer_has_not_looked(approval: Approval, olga: User, client: Client) -> None:
    client.force_login(olga)
    assert client.get(f"/approvals/{approval.pk}/").status_code == 200
    assert not Look.objects.exists()


def test_labels_are_exported_as_lines(approval: Approval, rhea: User, tmp_path: Path) -> None:
    questions.settle(approval, by=rhea)
    out = tmp_path / "labels.jsonl"
    call_command(
        "labels", "export", "--agent", "refunds", "--since", "2020-01-01", "--out", str(out), stderr=StringIO()
    )
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["agent"], line["answer"], line["correction"]) == ("refunds", "approve", None)
    assert line["context"]["arguments"] == questions.REFUND
    assert AuditEntry.objects.filter(verb="labels.exported", detail={"count": 1}).exists()
    with pytest.raises(CommandError, match="exists already"):
        call_command("labels", "export", "--out", str(out))
    printed = StringIO()
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    call_command("labels", "export", "--since", tomorrow, stdout=printed, stderr=StringIO())
    assert printed.getvalue() == ""
    with pytest.raises(CommandError, match="no such agent"):
        call_command("labels", "export", "--agent", "nobody")


async def parts(response: Any, most: int = 100) -> list[str]:
    """So many parts of a file, as a server sends them."""
    said = []
    async for part in response.streaming_content:
        said.append(part.decode())
        if len(said) == most:
            break
    return said


def test_a_large_file_is_read_as_it_is_sent(rhea: User, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "AT_A_TIME", 3)
    decided.judged(factories.agent("many"), [(0.9, "approved")] * 8, by=rhea)
    client.force_login(rhea)
    response = client.get("/approvals/labels.jsonl")
    with CaptureQueriesContext(connection) as asked:
        (first,) = async_to_sync(parts)(response, 1)
    assert next(one["sql"] for one in asked if "approvals_decision" in one["sql"]).endswith("LIMIT 4")
    assert (len(first.splitlines()), len(asked)) == (3, 2), "one page, and what reviewers had seen of it"
    assert [len(part.splitlines()) for part in async_to_sync(parts)(client.get("/approvals/labels.jsonl"))] == [3, 3, 2]


def test_the_file_of_the_page_holds_only_ones_own_teams(
    approval: Approval, rhea: User, stranger: User, client: Client
) -> None:
    questions.settle(approval, by=rhea)

    def lines(user: User) -> list[dict[str, Any]]:
        client.force_login(user)
        response = client.get("/approvals/labels.jsonl")
        return [json.loads(line) for line in "".join(async_to_sync(parts)(response)).splitlines()]

    assert [one["reviewer"] for one in lines(rhea)] == ["rhea"]
    assert lines(stranger) == []
    assert "Refund €184.00" not in client.get("/approvals/labels/").content.decode()
    client.force_login(rhea)
    assert "Refund €184.00" in client.get("/approvals/labels/").content.decode()
    assert set(AuditEntry.objects.filter(verb="labels.exported").values_list("by_name", flat=True)) == {
        "rhea",
        "stella",
    }


def test_the_api_pages_through_labels(team: object, rhea: User, client: Client) -> None:
    run = questions.run()
    for seq in (2, 3, 4):
        questions.settle(questions.held(run, seq=seq), by=rhea)
    client.force_login(rhea)
    first = client.get("/api/v1/labels?limit=2&agent=refunds").json()
    rest = client.get("/api/v1/labels", {"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["seq"] for one in first["items"] + rest["items"]] == [4, 3, 2]
    assert rest["next_cursor"] is None
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    assert client.get("/api/v1/labels", {"since": later}).json()["items"] == []
