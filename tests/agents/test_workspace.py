"""A company's own agents: made, tried, published and run from a folder outside the clone."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from agents import errors
from agents.models import Agent, AuditEntry, Release, Role, Run, Team
from agents.registry import bundles, publishing
from agents.runs import trying
from tests import factories, toolbox

ROOT = Path(__file__).parents[2]
assert toolbox.effects is not None  # its tools are declared


def told(*words: str) -> str:
    out = io.StringIO()
    call_command("agent", *words, stdout=out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.WORKSPACE = tmp_path / "ours"
    return tmp_path / "ours"


# --- making ----------------------------------------------------------------------------------------------------------
def test_a_new_agent_is_two_tools_a_file_a_fixture_and_a_word_on_what_to_do_next(folder, team, governor):
    lines = told("new", "night-desk").splitlines()
    made = [folder / "agents/night-desk.toml", folder / "tools/night_desk.py", folder / "fixtures/night-desk.json"]
    assert lines == [
        *(f"made {file}" for file in [*made, folder / "README.md"]),
        'Next: manage.py agent try night-desk --objective "Close record A-1"',
    ]
    bundle = bundles.checked(bundles.read(made[0]))
    assert bundle["agent"] == {
        "slug": "night-desk",
        "name": "Night desk",
        "team": team.slug,
        "owner": governor.username,
        "purpose": "Looks up records and closes what is done.",
        "use_case": "",
        "environment": "live",
    }
    assert bundle["tools"] == ["night_desk.look_up", "night_desk.set_status"]
    assert json.loads(made[2].read_text())["A-1"]["status"] == "open"
    assert subprocess.run([sys.executable, "-m", "ruff", "check", "-q", folder], cwd=ROOT, check=False).returncode == 0


def test_nothing_that_exists_is_overwritten(folder, team, governor):
    told("new", "night-desk")
    (folder / "README.md").write_text("ours")
    for changed in ("agents/night-desk.toml", "tools/night_desk.py", "fixtures/night-desk.json"):
        (folder / changed).write_text("ours")
    with pytest.raises(CommandError, match=r"agents/night-desk\.toml exists already and is left as it is"):
        told("new", "night-desk")
    told("new", "day-desk")
    assert (folder / "README.md").read_text() == (folder / "tools/night_desk.py").read_text() == "ours"
    (folder / "tools" / "late_desk.py").write_text("ours")
    with pytest.raises(CommandError, match=r"tools/late_desk\.py exists already"):
        told("new", "late-desk")
    assert not (folder / "agents" / "late-desk.toml").exists()


@pytest.mark.django_db
def test_what_cannot_be_made_is_said_in_one_sentence(folder, settings):
    with pytest.raises(CommandError, match="'Night Desk' is no slug for an agent"):
        told("new", "Night Desk")
    assert "There is no team or no person yet" in told("new", "night-desk")
    assert 'team = "your-team"' in (folder / "agents" / "night-desk.toml").read_text()
    settings.WORKSPACE = None
    with pytest.raises(CommandError, match="There is no workspace: set COCKPIT_WORKSPACE"):
        told("new", "night-desk")


def test_the_list_shows_what_runs_and_what_is_not_published_yet(folder, team, governor, agent):
    told("new", "night-desk")
    Agent.objects.update(frozen_at="2026-03-31T09:00:00Z", frozen_reason="asks too much")
    rows = [line.split() for line in told("list").splitlines()]
    assert rows[1] == ["desk", "service", agent.release.version, "live", "frozen:", "asks", "too", "much"]
    assert rows[2][:3] == ["night-desk", "not", "published"]


# --- trying ----------------------------------------------------------------------------------------------------------
def test_only_a_draft_is_tried(agent, olga):
    with pytest.raises(errors.Invalid, match="is live; only a draft is tried"):
        trying.attempt(agent.release, objective="Try.", by=olga)
    assert not Run.objects.exists()


@pytest.fixture
def draft(olga: Any, governor: Any) -> Release:
    stage = {"tool": "test.refund", "arguments": {"order": "{input.order}", "amount": "184.00"}}
    return publishing.draft(
        {
            "version": "1.0",
            "program": "pipeline",
            "agent": {"slug": "refunds", "team": "service", "owner": "gwen"},
            "tools": ["test.refund"],
            "pipeline": [stage],
        },
        by=olga,
    )


@pytest.mark.django_db(transaction=True)
def test_a_try_simulates_what_it_writes_and_asks_nobody(draft, olga):
    toolbox.effects.clear()
    run = trying.attempt(draft, objective="Refund order 4711.", by=olga, input={"order": "4711"})
    assert (run.state, run.environment, run.started_by) == ("completed", "sandbox", olga)
    assert run.result == {"simulated": True, "says": "Refund €184.00 for order 4711"}
    assert (run.steps.get().simulated, toolbox.effects) == (True, [])


@pytest.mark.django_db(transaction=True)
def test_a_frozen_agent_is_not_even_tried(draft, olga):
    Agent.objects.update(frozen_at="2026-03-31T09:00:00Z")
    with pytest.raises(errors.Conflict, match="refunds is frozen"):
        trying.attempt(draft, objective="Refund order 4711.", by=olga)
    assert not Run.objects.exists()


def test_an_agent_the_workspace_does_not_have_is_answered_with_those_it_has(folder, team, governor):
    told("new", "night-desk")
    with pytest.raises(CommandError, match=r"The workspace has no agent 'day-desk' .* It has night-desk\."):
        told("try", "day-desk", "--objective", "Close record A-1")


# --- the whole way, as a company goes it -----------------------------------------------------------------------------
def manage(folder: Path, *words: str, fails: bool = False) -> str:
    """`manage.py` as a process of its own, on the test's own database."""
    parts = connection.settings_dict
    url = f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": django_settings.REDIS_URL,
        "COCKPIT_WORKSPACE": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


@pytest.mark.django_db(transaction=True)
def test_an_agent_is_made_tried_and_published(tmp_path):
    factories.person("gwen", Role.GOVERNANCE, of=factories.team("service"))
    manage(tmp_path, "agent", "new", "night-desk")
    story = manage(tmp_path, "agent", "try", "night-desk", "--objective", "Close record A-1")
    assert "Trying night-desk 1.0-draft." in story
    assert "et record A-1 of Café Lindenhof to done" in story
    assert "completed: Record A-1 of Café Lindenhof is done." in story
    assert "a simulated model spoke" in story
    assert json.loads((tmp_path / "fixtures/night-desk.json").read_text())["A-1"]["status"] == "open"
    run = Run.objects.get()
    assert (run.environment, run.started_by, Agent.objects.get().release) == ("sandbox", None, None)

    unknown = manage(tmp_path, "agent", "try", "night-desk", "--objective", "Close record B-7")
    assert "There is no record B-7; there are A-1, A-2, A-3." in unknown

    manage(tmp_path, "release", "publish", str(tmp_path / "agents/night-desk.toml"), "--as", "gwen")
    assert Agent.objects.get().release.version == "1.0"
    assert Release.objects.filter(state="draft").count() == 1
    assert AuditEntry.objects.get(verb="release.published").by_name == "gwen"

    tools = tmp_path / "tools/night_desk.py"
    tools.write_text(tools.read_text().replace("says=_says, ", ""))
    refused = manage(tmp_path, "agent", "try", "night-desk", "--objective", "Close record A-1", fails=True)
    assert "night_desk.set_status" in refused
    assert "writes but has no says." in refused
    assert Team.objects.count() == 1
