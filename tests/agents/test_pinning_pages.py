"""A changed program and a newer release on the page of a run and in the API: shown, decided, and refused in words."""

import pytest
from uuid_utils.compat import uuid7

from agents.models import Control, Run, Team, User
from tests import factories
from tests.agents.test_run_pages import signed_in, text
from tests.api import stage

pytestmark = pytest.mark.django_db

QUESTION = {
    "kind": "program_changed",
    "was": "a",
    "is": "b",
    "difference": ["triage.py: 1 line added, 2 removed."],
    "lines": "-old <words>",
    "at": "2026-11-21T09:30:00+00:00",
}


@pytest.fixture
def asked(run: Run) -> Run:
    """A run that waits for a decision."""
    waiting = {"state": "waiting", "waits": "decision", "waiting_for": "a decision: its program changed"}
    Run.objects.filter(pk=run.pk).update(question=QUESTION, **waiting)
    run.refresh_from_db()
    return run


def test_the_page_shows_the_difference_and_takes_the_decision(asked: Run, olga: User, rhea: User) -> None:
    client, path = signed_in(olga), f"/runs/{asked.pk}/"
    page = text(client, path)
    assert "Waiting for a decision: its program changed" in page
    assert "triage.py: 1 line added, 2 removed." in page
    assert "-old &lt;words&gt;" in page
    assert f"Continue on release {asked.release.version}…" in page
    assert "Move to release" not in page
    assert f"Continue on release {asked.release.version}…" not in text(signed_in(rhea), path)
    assert "a decision: its program changed" in text(client, "/runs/?q=state:waiting")
    answer = client.post(f"{path}pin/", {"to": "old", "reason": "only words", "request_id": str(uuid7())})
    assert answer.status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.question, asked.program_digest) == ("queued", None, "")
    assert "let it go on with its release and the program as it is" in text(client, path)


def test_a_newer_release_is_offered_with_what_is_different(run: Run, olga: User) -> None:
    agent = run.agent
    agent.release = factories.release(agent, limits={"steps": 99})
    agent.save(update_fields=["release"])
    client = signed_in(olga)
    page = text(client, f"/runs/{run.pk}/")
    assert f"Move to release {agent.release.version}" in page
    assert "Different: limits.steps." in page
    client.post(f"/runs/{run.pk}/pin/", {"to": "new", "reason": "more steps"})
    run.refresh_from_db()
    assert run.release == agent.release
    assert "Move to release" not in text(client, f"/runs/{run.pk}/")
    assert client.post(f"/runs/{run.pk}/pin/", {"to": "newer", "reason": "x"}).status_code == 422


def test_the_api_tells_the_question_and_takes_the_decision(asked: Run, team: Team) -> None:
    caller = stage.token("night-watch", "operator", of=team)
    path = f"/runs/{asked.pk}"
    told = caller.get(path)
    assert told["waits"] == "decision"
    assert told["question"] == {key: QUESTION[key] for key in ("kind", "difference", "lines", "at")}
    caller.refused("POST", f"{path}/pin", {"to": "newest", "reason": "x"}, status=422, code="invalid")
    caller.refused("POST", f"{path}/pin", {"to": "new", "reason": "x"}, status=409, code="conflict")
    body = {"to": "old", "reason": "only words", "request_id": str(uuid7())}
    first = caller.post(f"{path}/pin", body)
    assert (first["verb"], first["state"], caller.post(f"{path}/pin", body)["id"]) == ("keep", "queued", first["id"])
    assert caller.get(path)["question"] is None
    assert Control.objects.count() == 1
