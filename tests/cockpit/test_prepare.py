"""`manage.py prepare --demo`: may run at every start, and tells how to get in exactly once per person."""

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command

from agents.models import Permission, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def written(settings, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path / "keys" / "people.json"


def test_everyone_of_the_demo_can_sign_in_with_what_is_written_down(written):
    call_command("prepare", demo=True)
    people = json.loads(written.read_text())
    assert {person["username"] for person in people} >= {"olga", "rhea", "max"}
    assert all(authenticate(username=person["username"], password=person["password"]) for person in people)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_each_may_do_their_own_work_only(written):
    call_command("prepare", demo=True)
    olga, rhea, manager = (User.objects.get(username=name) for name in ("olga", "rhea", "max"))
    assert [user.may_somewhere(Permission.STEER) for user in (olga, rhea, manager)] == [True, False, False]
    assert [user.may_somewhere(Permission.DECIDE) for user in (olga, rhea, manager)] == [False, True, False]


def test_a_second_start_changes_nobody(written):
    call_command("prepare", demo=True)
    before, people = written.read_text(), User.objects.count()
    call_command("prepare", demo=True)
    assert (written.read_text(), User.objects.count()) == (before, people)


def test_without_the_demo_nobody_is_made(written):
    call_command("prepare", demo=False)
    assert not User.objects.filter(username="olga").exists()
    assert not written.exists()
