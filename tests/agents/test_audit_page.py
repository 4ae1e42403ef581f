"""How far the log is sealed, as its page and the API tell it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents.audit import log, sealing, signing
from agents.models import AuditEntry, AuditLeaf, AuditSeal, Role, User
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


@pytest.fixture
def ada(client: Client) -> User:
    """Reads everything; the client is hers."""
    ada = factories.person("ada", Role.ADMIN)
    client.force_login(ada)
    return ada


def shown(client: Client, part: str = "") -> str:
    headers = {"HX-Request": "true", "HX-Target": part} if part else {}
    return client.get("/audit/", headers=headers).content.decode().replace("\u00a0", " ")


def test_it_says_how_far_it_is_sealed_and_marks_what_is_not(client, ada):
    assert "Nothing is sealed yet." in shown(client)
    log.record("act", about=ada, by=ada)
    sealing.seal()
    seal = AuditSeal.objects.get()
    page = shown(client)
    assert "Sealed up to <time" in page
    assert f"{timezone.localtime(seal.sealed_at):%H:%M:%S}</time>, {seal.size} entries" in page
    assert "not sealed yet" not in page
    log.record("act", about=ada, by=ada)
    assert shown(client).count("not sealed yet") == 1
    sealing.seal()
    assert "not sealed yet" not in shown(client, "list")


def test_what_is_renewed_is_only_what_was_asked_for(client, ada):
    sealing.seal()
    part = shown(client, "sealing")
    assert part.strip().startswith('<div id="sealing"')
    assert "Sealed up to" in part
    assert "<table" not in part
    assert "Sealed up to" not in shown(client, "list")


def test_an_entry_that_waits_too_long_is_an_alarm(client, ada):
    sealing.seal()
    late = timezone.now() - timedelta(seconds=90)
    AuditEntry.objects.create(at=late, by_name="cockpit", verb="act", subject_kind="run", subject_id="1")
    part = shown(client, "sealing")
    assert 'role="alert"' in part
    assert "1 entry waits for 1 min" in part
    log.record("act", about=ada, by=ada)
    assert "2 entries wait, the oldest for 1 min" in shown(client, "sealing")
    sealing.seal()
    assert 'role="alert"' not in shown(client, "sealing")


def test_the_api_says_the_same(client, ada):
    assert client.get("/api/v1/audit/sealing").json()["seal"] is None
    assert client.get("/api/v1/audit").json()["items"][0]["place"] is None
    sealing.seal()
    log.record("act", about=ada, by=ada)
    answer = client.get("/api/v1/audit/sealing").json()
    assert (answer["sealed"], answer["unsealed"], answer["late"]) == (AuditLeaf.objects.count(), 1, False)
    assert 0 <= answer["oldest_unsealed_age_s"] < 15
    assert (answer["seal"]["number"], answer["seal"]["size"]) == (1, AuditLeaf.objects.count())
    assert answer["seal"]["key"] == signing.public().hex()
    assert answer["seal"]["root"] == bytes(AuditSeal.objects.get().root).hex()
    items = client.get("/api/v1/audit").json()["items"]
    places = {leaf.entry_id: leaf.seq for leaf in AuditLeaf.objects.all()}
    assert [item["place"] for item in items] == [places.get(item["id"]) for item in items]
    assert None in [item["place"] for item in items] != [None] * len(items)
