"""Second factors: who sets them up, what signing in asks then, and codes that open one door only."""

import json

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from agents.models import AuditEntry, User
from agents.people import factors, tries
from tests import showing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet():
    cache.clear()


@pytest.fixture
def inside(client: Client, olga: User) -> Client:
    client.force_login(olga)
    return client


def sign_in(client: Client, **more: str):
    return client.post("/login/", {"username": "olga", "password": "olga-opens-doors", **more})


def last(verb: str) -> AuditEntry:
    return AuditEntry.objects.filter(verb=verb).latest("pk")


def set_up(client: Client, **fields: str):
    client.get("/me/security/app/")
    secret = client.session["authenticator_app"]
    given = {"app_code": showing.code(0, secret), "password": "olga-opens-doors", **fields}
    return secret, client.post("/me/security/app/", given)


def test_an_app_is_set_up_with_the_password_and_a_code_and_brings_recovery_codes(inside, olga):
    assert "Without one you decide L1 only" in inside.get("/me/security/").text
    secret, refused = set_up(inside, password="guess")
    assert (refused.status_code, "not your password" in refused.text) == (422, True)
    _, refused = set_up(inside, app_code="000000x")
    assert "This code is not right" in refused.text
    secret, added = set_up(inside)
    assert added.url == "/me/security/codes/"
    shown = inside.get(added.url).text
    assert all(f"{code[:4]} {code[4:]}" in shown for code in factors.codes(olga))
    assert len(factors.codes(olga)) == 10
    assert last("person.factor_added").by == olga
    kept = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in kept, "a copy of the database must not give the secret away"


def test_signing_in_asks_for_the_second_factor_and_is_fresh_afterwards(client, olga):
    showing.app_of(olga)
    asked = sign_in(client, next="/runs/")
    assert asked.url == "/login/second/"
    assert client.get("/runs/").url == "/login/?next=/runs/", "the password alone opens nothing"
    wrong = client.post("/login/second/", {"factor_code": "000000x"})
    assert (wrong.status_code, "This code is not right" in wrong.text) == (422, True)
    assert last("person.factor_shown").outcome == "denied"
    assert client.post("/login/second/", {"factor_code": showing.code()}).url == "/runs/"
    assert last("person.signed_in").detail["factor"] == "totp"
    assert client.get("/me/security/codes/").text.count("<li><code>") == 10, "no second question so soon"


def test_a_code_opens_one_door_only(client, olga):
    showing.app_of(olga)
    code = showing.code()
    sign_in(client)
    assert client.post("/login/second/", {"factor_code": code}).status_code == 302
    other = Client()
    sign_in(other)
    cache.clear()  # nothing about it is only in Redis
    assert "each opens one door only" in other.post("/login/second/", {"factor_code": code}).text
    recovery = factors.codes(olga)[0]
    assert other.post("/login/second/", {"factor_code": f" {recovery[:4]} {recovery[4:]} "}).status_code == 302
    assert recovery not in factors.codes(olga)


def test_wrong_codes_are_counted_and_then_one_has_to_wait(client, olga):
    showing.app_of(olga)
    sign_in(client)
    for _ in range(tries.MOST):
        assert client.post("/login/second/", {"factor_code": "000000x"}).status_code == 422
    assert "Too many wrong codes. Wait 5 minutes" in client.post("/login/second/", {"factor_code": showing.code()}).text
    cache.clear()
    assert client.post("/login/second/", {"factor_code": showing.code()}).status_code == 302


def test_the_second_step_is_for_who_took_the_first_and_not_for_ever(client, olga, monkeypatch):
    assert client.get("/login/second/").url == "/login/?next="
    assert client.post("/login/challenge/").status_code == 403
    showing.app_of(olga)
    sign_in(client)
    User.objects.filter(pk=olga.pk).update(is_active=False)
    assert client.post("/login/second/", {"factor_code": showing.code()}).status_code == 302
    assert "_auth_user_id" not in client.session


def test_what_protects_an_account_is_changed_by_who_shows_it(inside, olga):
    held = showing.app_of(olga)
    for path in ("app", "passkey", "codes"):
        asked = inside.get(f"/me/security/{path}/").text
        assert "Show a second factor you have" in asked
        assert "<li><code>" not in asked
    refused = inside.post(f"/me/security/{held}/removal/")
    assert (refused.status_code, "takes your second factor" in refused.text) == (403, True)
    assert inside.post("/me/security/codes/", {"factor_code": showing.code()}).url == "/me/security/codes/"
    before = factors.codes(olga)
    inside.post("/me/security/codes/")
    assert set(before).isdisjoint(factors.codes(olga))
    assert inside.post(f"/me/security/{held}/removal/").url == "/me/security/"
    assert not Authenticator.objects.exists(), "the recovery codes go with the last factor"


def test_nonsense_from_a_browser_is_no_passkey(inside, olga):
    inside.post("/me/security/passkey/options/")
    for made in ("", "nonsense", "[]", '{"id": 7}', '{"id": "a", "response": {}}'):
        given = {"name": "Laptop", "made": made, "password": "olga-opens-doors"}
        answer = inside.post("/me/security/passkey/", given)
        assert (answer.status_code, "was not accepted" in answer.text) == (422, True), made
    assert not Authenticator.objects.exists()


def test_a_passkey_takes_a_name_and_says_so_where_the_cockpit_was_opened_by_a_number(inside, settings):
    assert "/me/security/passkey/" not in inside.get("/me/security/", HTTP_HOST="127.0.0.1:8000").text
    assert "/me/security/passkey/" not in inside.get("/me/security/", HTTP_HOST="[::1]:8000").text
    assert "/me/security/passkey/" in inside.get("/me/security/", HTTP_HOST="localhost:8000").text


def test_whoever_has_lost_them_is_helped_by_whoever_runs_the_installation(olga, capsys):
    showing.app_of(olga)
    call_command("user", "forget-factors", "olga", "--reason", "She stood before me.")
    assert factors.kinds(olga) == frozenset()
    assert last("person.factors_forgotten").reason == "She stood before me."


def test_a_factor_of_another_key_says_so(inside, olga, settings):
    showing.app_of(olga)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 9
    assert factors.check_code(olga, showing.code()) == "totp", "an older key still reads what it wrote"
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(Exception, match="kept under another COCKPIT_SECRET_KEY"):
        factors.check_code(olga, showing.code())
