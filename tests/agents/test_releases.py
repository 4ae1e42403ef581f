"""Releases side by side: comparing them, going back, drafts beside them, and the commands for all of it."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agents import errors
from agents.models import Agent, AuditEntry, Release, ToolGrant
from agents.registry import comparing, publishing
from tests import factories, toolbox
from tests.agents.releases import TOML, next_version

assert toolbox.effects is not None  # its tools are declared


# --- comparing and going back ----------------------------------------------------------------------------------------
def test_a_diff_names_every_place_where_two_releases_part(release, bundle, governor):
    bundle["models"].pop()
    bundle["limits"] = {"steps": 40}
    second = publishing.publish(next_version(bundle, tools=["test.refund"], tiers={}), by=governor)
    changes = {change.path: (change.before, change.after) for change in comparing.diff(release, second)}
    assert set(changes) == {
        "version", "limits.steps", "limits.cost_usd", "models[1]", "tiers.test.echo", "tool_schemas.test.echo",
        "tools[0]", "tools[1]",
    }  # fmt: skip
    assert changes["limits.steps"] == (30, 40)
    assert changes["limits.cost_usd"] == ("0.5", comparing.ABSENT)
    assert comparing.diff(second, second) == []


def test_going_back_runs_the_earlier_release_again_and_says_why(release, bundle, governor, olga):
    second = publishing.publish(next_version(bundle, tools=["test.echo"]), by=governor)
    agent = Agent.objects.get()
    with pytest.raises(errors.Forbidden, match="may not roll back releases"):
        publishing.roll_back(agent, to=release, by=olga, reason="worse")
    with pytest.raises(errors.Invalid, match="the reason is empty"):
        publishing.roll_back(agent, to=release, by=governor, reason=" ")
    publishing.roll_back(agent, to=release, by=governor, reason="refuses too much")
    agent.refresh_from_db()
    states = dict(Release.objects.values_list("version", "state"))
    assert (agent.release, states) == (release, {"1.0": "live", "1.1": "retired"})
    assert agent.grants.filter(revoked_at=None).count() == 2
    entry = AuditEntry.objects.get(verb="release.rolled_back")
    assert (entry.by, entry.reason, entry.detail) == (
        governor,
        "refuses too much",
        {"version": "1.0", "before": "1.1"},
    )
    with pytest.raises(errors.Conflict, match=r"refunds 1\.0 is live; only a retired release"):
        publishing.roll_back(agent, to=release, by=governor, reason="again")
    assert second.agent == agent


def test_one_does_not_go_back_to_somebody_elses_release(release, governor):
    other = factories.agent("desk")
    with pytest.raises(errors.Invalid, match="is not a release of refunds"):
        publishing.roll_back(release.agent, to=other.release, by=governor, reason="mixed up")


def test_who_switched_in_between_makes_a_roll_back_start_over(release, bundle, governor):
    publishing.publish(next_version(bundle), by=governor)
    seen = Agent.objects.select_related("release", "team").get()
    publishing.publish(next_version(bundle, "1.2"), by=governor)
    with pytest.raises(errors.Conflict, match="at the same moment"):
        publishing.roll_back(seen, to=Release.objects.get(version="1.0"), by=governor, reason="worse")


# --- drafts ----------------------------------------------------------------------------------------------------------
def test_a_draft_is_tried_in_the_sandbox_and_changes_nothing_that_is_live(release, bundle, olga, stranger):
    bundle["agent"]["purpose"] = "Something else."
    attempt = next_version(bundle, tools=["test.note"], tiers={})
    with pytest.raises(errors.Forbidden):
        publishing.draft(attempt, by=stranger)
    draft = publishing.draft(attempt, by=olga)
    agent = Agent.objects.get()
    assert (draft.state, agent.release, agent.purpose) == ("draft", release, "Gives money back where that is right.")
    assert not ToolGrant.objects.filter(tool="test.note").exists()
    assert draft.version.startswith("1.1-draft.")
    assert publishing.draft(attempt, by=olga) == draft
    run = factories.run(agent, by=olga, release=draft)
    assert (run.environment, run.release) == ("sandbox", draft)


def test_a_draft_of_a_new_agent_leaves_the_version_free_for_publishing(bundle, governor, olga):
    draft = publishing.draft(bundle, by=olga)
    assert (draft.agent.release, draft.agent.environment) == (None, "sandbox")
    release = publishing.publish(bundle, by=governor)
    assert (release.version, release.agent.environment) == ("1.0", "live")


# --- on the command line ---------------------------------------------------------------------------------------------
def told(*words: str) -> str:
    out = io.StringIO()
    call_command("release", *words, stdout=out)
    return out.getvalue()


def test_the_commands_publish_compare_and_go_back(tmp_path: Path, governor):
    file = tmp_path / "refunds.toml"
    file.write_text(TOML)
    assert told("publish", str(file), "--as", "gwen").startswith("refunds 1.0 is live, digest ")
    assert "refunds 1.0 is published already and live" in told("publish", str(file))
    file.write_text(TOML.replace('"1.0"', '"1.1"').replace("a small coffee company.", "Brambleway.\\nBe brief."))
    told("publish", str(file))
    assert "prompts.system\n- You work for a small coffee company.\n+ You work for Brambleway.\n+ Be brief." in told(
        "diff", "refunds", "1.0", "1.1"
    )
    assert told("roll-back", "refunds", "1.0", "--reason", "too brief") == "refunds runs 1.0 again.\n"
    lines = told("list", "refunds").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["1.1", "retired"], ["1.0", "live"]]
    assert AuditEntry.objects.filter(verb="release.published").first().by == governor


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["publish", "missing.toml"], "missing.toml cannot be read: No such file or directory"),
        (["publish", "broken.toml"], r"broken\.toml is not TOML: .*line 1"),
        (["list", "nobody"], "There is no agent called 'nobody'"),
        (["diff", "refunds", "1.0", "9.9"], r"refunds has no release 9\.9\. It has 1\.0"),
    ],
)
def test_a_command_that_cannot_work_says_so_in_one_sentence(tmp_path, monkeypatch, release, words, sentence):
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text("version = 1.0.0\n")
    with pytest.raises(CommandError, match=sentence):
        told(*words)
