"""Doors for people: who comes in, how often they may try, and what they may set for themselves."""

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from agents.models import AuditEntry, User
from agents.people import tries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet():
    cache.clear()


def try_door(client: Client, name: str, password: str, **more: str):
    return client.post("/login/", {"username": name, "password": password, **more})


def test_a_wrong_password_is_refused_with_a_sentence_and_remembered_in_the_audit(client, olga):
    answer = try_door(client, "olga", "guess")
    assert (answer.status_code, "do not belong together" in answer.text) == (422, True)
    entry = AuditEntry.objects.get(verb="person.signed_in")
    assert (entry.outcome, entry.subject_id, entry.by) == ("denied", str(olga.pk), None)


def test_a_service_account_cannot_use_the_door_for_people(client, olga):
    User.objects.filter(pk=olga.pk).update(kind=User.Kind.SERVICE)
    assert "signs in with a token" in try_door(client, "olga", "olga-opens-doors").text


def test_too_many_tries_for_one_name_must_wait_and_hold_up_nobody_else(client, olga, rhea):
    for _ in range(tries.MOST):
        assert try_door(client, "olga", "guess").status_code == 422
    answer = try_door(client, "OLGA", "olga-opens-doors")
    assert (answer.status_code, "Wait 5 minutes" in answer.text) == (429, True)
    assert try_door(client, "rhea", "rhea-opens-doors").status_code == 302
    assert try_door(Client(REMOTE_ADDR="10.0.0.9"), "olga", "olga-opens-doors").status_code == 302


def test_the_right_password_ends_the_count(client, olga):
    for _ in range(tries.MOST - 1):
        try_door(client, "olga", "guess")
    assert try_door(client, "olga", "olga-opens-doors").status_code == 302
    client.post("/logout/")
    assert try_door(client, "olga", "guess").status_code == 422


def test_without_redis_people_still_come_in(client, olga, settings, caplog):
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}}
    assert try_door(client, "olga", "guess").status_code == 422
    assert try_door(client, "olga", "olga-opens-doors").status_code == 302
    assert any("Sign-ins are not limited" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [("/runs/?state=failed", "/runs/?state=failed"), ("https://elsewhere.example/", "/"), ("//elsewhere.example", "/")],
)
def test_signing_in_leads_on_but_never_to_another_site(client, olga, wanted, leads_to):
    assert try_door(client, "olga", "olga-opens-doors", next=wanted).url == leads_to


def test_signing_out_needs_a_press_and_ends_the_session(client, olga):
    client.force_login(olga)
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").url == "/login/"
    assert client.get("/me/").url == "/login/?next=/me/"


def test_the_zone_is_stored_and_a_wrong_one_is_named(client, olga):
    client.force_login(olga)
    assert client.post("/me/", {"zone": "Europe/Lisbon"}).url == "/me/"
    assert User.objects.get(pk=olga.pk).zone == "Europe/Lisbon"
    answer = client.post("/me/", {"zone": "Mars/Olympus"})
    assert (answer.status_code, "Mars/Olympus is no time zone" in answer.text) == (422, True)


@pytest.mark.parametrize(
    ("cookies", "stored", "zone"),
    [
        ({}, "", "UTC"),
        ({"zone": "Europe/Berlin"}, "", "Europe/Berlin"),
        ({"zone": "Europe/Berlin"}, "Asia/Tokyo", "Asia/Tokyo"),
        ({"zone": "Europe/Berlin", "clock": "utc"}, "Asia/Tokyo", "UTC"),
        ({"zone": "../../etc/passwd"}, "", "UTC"),
        ({"zone": "Europe/Atlantis"}, "Gone/Away", "UTC"),
    ],
)
def test_times_are_shown_as_the_clock_the_person_and_the_browser_say(client, olga, cookies, stored, zone):
    User.objects.filter(pk=olga.pk).update(zone=stored)
    client.force_login(olga)
    for name, value in cookies.items():
        client.cookies[name] = value
    assert f'data-zone="{zone}"' in client.get("/me/").text
    assert timezone.get_current_timezone_name() == "UTC"  # only for the length of the request


def test_a_theme_is_kept_with_the_person_and_one_there_is_not_is_named(client, olga):
    client.force_login(olga)
    answer = client.post("/me/theme/", {"theme": "dark", "next": "/me/"})
    assert (answer.url, answer.cookies["theme"].value) == ("/me/", "dark")
    assert 'data-theme="dark"' in client.get("/me/").text
    refused = client.post("/me/theme/", {"theme": "pink"})
    assert (refused.status_code, refused.text) == (422, "theme is light, dark or empty to follow the system.")
    assert client.post("/me/clock/", {"clock": "noon"}).status_code == 422


def test_a_new_password_ends_other_sessions_and_leaves_a_trace(client, olga):
    other = Client()
    for one in (client, other):
        one.force_login(olga)
    new = "a much longer sentence"
    fields = {"old_password": "olga-opens-doors", "new_password1": new, "new_password2": new}
    assert client.post("/me/password/", {**fields, "old_password": "no"}).status_code == 422
    assert client.post("/me/password/", fields).url == "/me/"
    assert (client.get("/me/").status_code, other.get("/me/").status_code) == (200, 302)
    assert AuditEntry.objects.filter(verb="person.password_changed", by=olga).count() == 1


def test_a_page_that_is_not_there_and_an_act_from_a_stale_page_say_so(client, olga):
    assert client.get("/nowhere/").status_code == 404
    client.force_login(olga)
    assert "nothing here that you can see" in client.get("/nowhere/").text
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    assert "open too long" in strict.post("/logout/").text
