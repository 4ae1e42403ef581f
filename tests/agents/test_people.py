"""Accounts and keys: who gets in, who may make them, what the log keeps."""

import io
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents import errors
from agents.models import AuditEntry, Permission, Role, Team, Token, User
from agents.people import accounts
from tests import factories

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ada() -> User:
    """Administers every team."""
    return factories.person("ada", Role.ADMIN)


@pytest.fixture
def key(ada: User, olga: User) -> tuple[Token, str]:
    """A token that works for olga."""
    return accounts.create_token("night-watch", role=Role.OPERATOR, owner=olga, by=ada)


def told(*words: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


# --- people ----------------------------------------------------------------------------------------------------------
def test_a_person_gets_a_role_where_it_was_given_and_nowhere_else(ada, team):
    pia = accounts.create_user("pia", role=Role.OPERATOR, team=team, password="a-long-enough-one", by=ada)
    assert pia.check_password("a-long-enough-one")
    assert pia.may(Permission.STEER, team.pk)
    assert not pia.may(Permission.STEER, factories.team("roastery").pk)
    assert not pia.may(Permission.DECIDE, team.pk)
    entry = AuditEntry.objects.get(verb="person.created", subject_name="pia")
    assert (entry.by, entry.detail) == (ada, {"role": "operator", "team": "service"})


@pytest.mark.parametrize(
    ("name", "role", "password", "sentence"),
    [
        ("OLGA", "viewer", None, "There is an account called OLGA already"),
        ("two words", "viewer", None, "without spaces"),
        ("", "viewer", None, "cannot be an account's name"),
        ("pia", "boss", None, "'boss' is no role; there are viewer, operator, reviewer"),
        ("pia", "viewer", "short", "at least 12 characters"),
    ],
)
def test_what_cannot_be_an_account_is_refused_and_leaves_nothing(ada, olga, name, role, password, sentence):
    before = (User.objects.count(), AuditEntry.objects.count())
    with pytest.raises(errors.DomainError, match=sentence):
        accounts.create_user(name, role=role, password=password, by=ada)
    assert (User.objects.count(), AuditEntry.objects.count()) == before


def test_only_administrators_make_accounts_and_those_of_a_team_for_that_team_only(olga, stranger, team):
    roastery = Team.objects.get(slug="roastery")
    for by, where in ((olga, team), (stranger, team), (stranger, None)):
        with pytest.raises(errors.Forbidden, match="that takes the role admin"):
            accounts.create_user("pia", role=Role.VIEWER, team=where, by=by)
        with pytest.raises(errors.Forbidden):
            accounts.create_token("pia", role=Role.VIEWER, team=where, owner=None, by=by)
    assert accounts.create_user("pia", role=Role.VIEWER, team=roastery, by=stranger).memberships.get().team == roastery


# --- tokens ----------------------------------------------------------------------------------------------------------
def test_a_token_is_an_account_of_its_own_with_a_person_behind_it(key, olga, team):
    _, plain = key
    found = accounts.authenticate(plain)
    assert found is not None
    assert (found.username, found.kind, found.owner) == ("night-watch", "service", olga)
    assert found.hands == {found.pk, olga.pk}
    assert found.may(Permission.STEER, team.pk)
    assert not found.has_usable_password()


def test_nothing_that_is_stored_or_logged_opens_anything(key):
    token, plain = key
    assert plain.startswith("ck_")
    assert len(plain) >= 3 + 43
    stored = [str(value) for value in Token.objects.values_list().get()]
    logged = [str(entry.detail) + entry.subject_name for entry in AuditEntry.objects.all()]
    assert not [text for text in stored + logged if plain in text or plain[12:] in text]
    assert accounts.authenticate(token.digest) is None
    assert accounts.authenticate(token.prefix) is None


def switch_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("ended", ["revoked", "expired", "switched off", "owner switched off", "mistyped", "cut"])
def test_a_token_that_is_no_longer_good_is_refused(key, ada, olga, ended):
    token, plain = key
    assert accounts.authenticate(plain) is not None
    match ended:
        case "revoked":
            accounts.revoke_token(token, by=ada, reason="left on a train")
        case "expired":
            Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "switched off":
            switch_off(token.user)
        case "owner switched off":
            switch_off(olga)
        case "mistyped":
            plain = plain[:-1] + ("a" if plain[-1] != "a" else "b")
        case "cut":
            plain = plain[3:]
    assert accounts.authenticate(plain) is None


def test_use_is_noted_at_most_once_a_minute(key, django_assert_num_queries):
    token, plain = key
    accounts.authenticate(plain)
    token.refresh_from_db()
    first = token.last_used_at
    assert timezone.now() - first < timedelta(seconds=10)
    with django_assert_num_queries(1):
        accounts.authenticate(plain)
    Token.objects.update(last_used_at=first - timedelta(seconds=61))
    accounts.authenticate(plain)
    token.refresh_from_db()
    assert token.last_used_at >= first


def test_a_token_is_revoked_once_and_the_log_says_why(key, ada, olga):
    token, _ = key
    with pytest.raises(errors.Forbidden):
        accounts.revoke_token(token, by=olga, reason="mine")
    accounts.revoke_token(token, by=ada, reason="left on a train")
    with pytest.raises(errors.Conflict, match="revoked already"):
        accounts.revoke_token(token, by=ada)
    entries = AuditEntry.objects.filter(verb="token.revoked")
    assert [(entry.by, entry.reason) for entry in entries] == [(ada, "left on a train")]


def test_only_a_person_stands_behind_a_token_and_it_expires_in_the_future(key, ada, olga):
    token, _ = key
    with pytest.raises(errors.Invalid, match="only a person can stand behind a token"):
        accounts.create_token("second", role=Role.VIEWER, owner=token.user, by=ada)
    with pytest.raises(errors.Invalid, match="expire in the future"):
        accounts.create_token("second", role=Role.VIEWER, owner=olga, by=ada, expires_at=timezone.now())


# --- on the command line ---------------------------------------------------------------------------------------------
def test_the_command_makes_a_person_who_can_sign_in_with_the_password_it_printed():
    lines = told("user", "create", "Pia", "--role", "manager", "--team", "service", "--create-team").splitlines()
    assert lines[0] == "Pia is manager in service."
    assert User.objects.get_by_natural_key("pia").check_password(lines[1].removeprefix("password: "))
    assert list(AuditEntry.objects.values_list("verb", "by_name")) == [
        ("team.created", "cockpit"),
        ("person.created", "cockpit"),
    ]
    assert "Pia   person  manager in service" in told("user", "list")


def test_a_password_from_the_standard_input_is_not_printed(monkeypatch: Any):
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    assert told("user", "create", "pia", "--role", "viewer", "--password-stdin") == "pia is viewer in every team.\n"
    assert User.objects.get().check_password("correct horse battery")


def test_an_unknown_team_is_answered_with_those_there_are(team):
    with pytest.raises(CommandError, match=r"no team called 'servce'\. There are service\."):
        call_command("user", "create", "pia", "--role", "viewer", "--team", "servce")
    with pytest.raises(CommandError, match="'Two Words' cannot be a team's slug"):
        call_command("user", "create", "pia", "--role", "viewer", "--team", "Two Words", "--create-team")
    assert not User.objects.exists()


def test_the_token_is_alone_on_the_last_line(olga):
    printed = told("token", "create", "night-watch", "--role", "operator", "--as", "Olga", "--days", "30")
    user = accounts.authenticate(printed.splitlines()[-1])
    assert user is not None
    assert (user.username, user.owner) == ("night-watch", olga)
    assert "night-watch  ck_" in told("token", "list")
    assert "until" in told("token", "list")


def test_a_token_is_revoked_by_its_name_or_its_beginning(olga):
    for name in ("night-watch", "day-watch"):
        plain = told("token", "create", name, "--role", "operator").splitlines()[-1]
        assert (
            told("token", "revoke", name if name == "night-watch" else plain[:10]) == f"The token {name} is revoked.\n"
        )
        assert accounts.authenticate(plain) is None
    with pytest.raises(CommandError, match=r"No token in force is called 'night-watch'\. In force: none\."):
        call_command("token", "revoke", "night-watch")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--as", "nobody"], "--as names 'nobody'; there is no such account"),
        (["--days", "0"], "--days is 0; a token is good for at least one day"),
        (["--team", "nowhere"], "There is no team called 'nowhere'"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused_in_one_sentence(words, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("token", "create", "night-watch", "--role", "operator", *words)
    assert not Token.objects.exists()


def test_a_database_that_is_away_is_one_sentence(tmp_path: Path):
    """As a process of its own: what this one is connected to is there."""
    environment = {
        **os.environ,
        "COCKPIT_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://cockpit@127.0.0.1:9/cockpit",
    }
    command = [sys.executable, "manage.py", "user", "list"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database does not answer (")
    assert "Traceback" not in done.stderr
