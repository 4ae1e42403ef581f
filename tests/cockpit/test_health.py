"""The two doors for load balancers: open to everyone, and honest about each part."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import AuditEntry, Worker
from cockpit.servers import free_port

pytestmark = pytest.mark.django_db


def seen(kind: Worker.Kind, *, seconds_ago: float) -> Worker:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Worker.objects.create(name=f"{kind}@somewhere", kind=kind, host="somewhere", pid=1, seen_at=at)


@pytest.fixture
def fleet() -> None:
    seen(Worker.Kind.WORKER, seconds_ago=1)
    seen(Worker.Kind.TICK, seconds_ago=1)


def test_with_everything_alive_it_is_ready(client, fleet):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"]
    assert 1 <= answer.json()["parts"]["workers"]["last_sign_of_life_s"] < 5


@pytest.mark.parametrize(("silent", "part"), [(Worker.Kind.WORKER, "workers"), (Worker.Kind.TICK, "tick")])
def test_a_silent_process_is_seen_by_the_age_of_its_last_sign(client, fleet, silent, part):
    Worker.objects.filter(kind=silent).update(seen_at=timezone.now() - timedelta(seconds=40))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    found = answer.json()["parts"]
    assert [name for name, state in found.items() if not state["ok"]] == [part]
    assert found[part]["alive"] == 0
    assert 40 <= found[part]["last_sign_of_life_s"] < 45


def test_nobody_at_work_is_not_ready_and_its_age_is_unknown(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["workers"] == {"ok": False, "alive": 0, "last_sign_of_life_s": None, "each": {}}


def test_a_courier_that_is_away_is_named_and_its_password_is_not(client, fleet, settings):
    settings.REDIS_URL = f"redis://:secret@127.0.0.1:{free_port()}/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert not answer.json()["parts"]["redis"]["ok"]
    assert answer.json()["parts"]["database"]["ok"]
    assert "secret" not in answer.content.decode()


def test_without_its_database_it_lives_but_is_not_ready(client, settings):
    settings.DATABASE_URL = f"postgresql://cockpit:secret@127.0.0.1:{free_port()}/cockpit"
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert not answer.json()["parts"]["database"]["ok"]
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_are_only_ever_read(client, path):
    assert client.post(path).status_code == 405
    assert "no-store" in client.get(path)["Cache-Control"]


def test_an_audit_log_that_nobody_seals_is_seen_by_the_age_of_its_oldest_entry(client, fleet, olga):
    AuditEntry.objects.create(by_name="cockpit", verb="run.failed", subject_kind="run", subject_id="1")
    part = client.get("/readyz").json()["parts"]["audit"]
    assert part["ok"]
    assert part["unsealed"] == AuditEntry.objects.count()
    late = timezone.now() - timedelta(seconds=61)
    AuditEntry.objects.create(at=late, by_name="cockpit", verb="run.failed", subject_kind="run", subject_id="1")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    found = answer.json()["parts"]
    assert [name for name, state in found.items() if not state["ok"]] == ["audit"]
    assert 61 <= found["audit"]["oldest_unsealed_s"] < 75
