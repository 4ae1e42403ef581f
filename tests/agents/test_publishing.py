"""From a TOML file to the release an agent runs: what is refused and in which words, and what can never change."""

import copy
import threading
from collections.abc import Callable
from datetime import date
from typing import Any, TypedDict

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models.signals import post_save

from agents import errors, signals
from agents.models import Agent, AuditEntry, Release, Tool, ToolGrant
from agents.registry import declarations, publishing
from agents.tools import tool
from tests import toolbox
from tests.agents.releases import next_version

DUMB = tool("test.dumb", tier=2, writes=True)(lambda: None)
MILD = tool("test.mild", tier=3, floor=2)(lambda: None)
WILD = tool("test.wild", tier=7)(lambda: None)
UPSIDE = tool("test.upside", tier=1, floor=3)(lambda: None)
assert toolbox.effects is not None  # its tools are declared


def edited(bundle: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The bundle with one place changed; `path` as in `models.0.key_env`."""
    changed = copy.deepcopy(bundle)
    *way, last = path.split(".") if "|" not in path else path.split("|")
    inner: Any = changed
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner.setdefault(step, {})
    place: Any = int(last) if last.isdigit() else last
    if value is None:
        del inner[place]
    else:
        inner[place] = value
    return changed


# --- publishing ------------------------------------------------------------------------------------------------------
def test_a_first_release_makes_the_agent_its_tools_and_its_grants(release, governor, team):
    agent = Agent.objects.get(slug="refunds")
    assert (agent.release, agent.team, agent.owner, agent.name) == (release, team, governor, "Refunds")
    assert (agent.purpose, agent.use_case, agent.environment) == (
        "Gives money back where that is right.",
        "refunds",
        "live",
    )
    assert (release.state, release.version, release.program, release.published_by) == ("live", "1.0", "llm", governor)
    assert list(agent.grants.order_by("tool").values_list("tool", "tier", "granted_by")) == [
        ("test.echo", 2, governor.pk),
        ("test.refund", None, governor.pk),
    ]
    tool = Tool.objects.get(name="test.refund")
    assert (tool.writes, tool.tier, tool.idempotent, tool.compensation) == (True, 3, True, "test.recharge")
    entry = AuditEntry.objects.get(verb="release.published")
    assert (entry.by, entry.team, entry.detail["version"]) == (governor, team, "1.0")


def test_a_release_keeps_its_tools_as_they_were_declared_and_its_money_exact(release):
    assert release.bundle["tool_schemas"]["test.echo"] == {
        "description": "Say it back.",
        "schema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        },
        "tier": 1,
        "writes": False,
        "idempotent": False,
        "compensation": "",
        "undoable_for_s": None,
        "timeout_s": None,
    }
    assert release.bundle["limits"] == {"steps": 30, "cost_usd": "0.5"}
    assert release.chain[1] == {"provider": "simulated", "model": "sim-small"}


def test_the_same_content_is_the_same_release_however_it_is_written(release, bundle, governor):
    reordered = dict(reversed(list(bundle.items())))
    assert publishing.publish(reordered, by=governor) == release
    assert Release.objects.count() == 1
    assert AuditEntry.objects.filter(verb="release.published").count() == 1


def test_the_same_version_with_other_content_is_refused_and_the_difference_named(release, bundle, governor):
    bundle["prompts"]["system"] = "You are generous."
    with pytest.raises(
        errors.Conflict, match=r"refunds 1\.0 is published already with other content \(prompts\.system\)"
    ):
        publishing.publish(bundle, by=governor)
    assert Release.objects.get().bundle["prompts"]["system"] == "You work for a small coffee company."


def test_a_new_release_retires_the_one_before_and_its_grants_follow(release, bundle, governor):
    heard: list[Any] = []

    def hear(sender: object, agent_id: Any, **_: Any) -> None:
        heard.append(agent_id)

    signals.agent_changed.connect(hear)
    second = publishing.publish(next_version(bundle, tools=["test.echo", "test.note"]), by=governor)
    signals.agent_changed.disconnect(hear)
    release.refresh_from_db()
    agent = Agent.objects.get()
    assert (agent.release, second.state, release.state) == (second, "live", "retired")
    assert heard == [agent.pk]
    assert set(agent.grants.filter(revoked_at=None).values_list("tool", flat=True)) == {"test.echo", "test.note"}
    assert ToolGrant.objects.get(tool="test.refund").revoked_at is not None


def test_an_earlier_file_published_again_does_not_go_back_silently(release, bundle, governor):
    second = publishing.publish(next_version(bundle), by=governor)
    assert publishing.publish(bundle, by=governor) == release
    assert Agent.objects.get().release == second


def test_only_who_governs_the_team_may_publish(bundle, olga, stranger):
    for by in (olga, stranger):
        with pytest.raises(errors.Forbidden, match="may not publish releases in Service"):
            publishing.publish(bundle, by=by)
    assert not Agent.objects.exists()


def test_an_agent_is_not_taken_from_another_team(release, bundle, stranger, governor):
    bundle["agent"] |= {"team": "roastery", "owner": "stella"}
    with pytest.raises(errors.Forbidden, match="may not publish releases in Service"):
        publishing.publish(next_version(bundle), by=stranger)
    assert Agent.objects.get().team.slug == "service"


@pytest.mark.parametrize("column", ["version", "digest", "program", "bundle"])
def test_a_published_release_cannot_be_changed_not_even_in_the_database(release, column):
    value = '{"tools": []}' if column == "bundle" else "other"
    with (
        pytest.raises(DatabaseError, match="published rows of agents_release are immutable"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE agents_release SET {column} = %s WHERE id = %s", [value, release.pk])
    with pytest.raises(DatabaseError, match="immutable"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM agents_release")
    assert Release.objects.get().version == "1.0"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_publish_at_once_one_is_told(release, bundle, governor):
    """Both read the same live release; the second finds it gone when it wants to switch."""
    ready, told = threading.Barrier(2, timeout=20), []

    def slow(sender: object, instance: Release, **_: Any) -> None:
        ready.wait()

    def publish(version: str) -> None:
        try:
            publishing.publish(next_version(bundle, version), by=governor)
        except errors.Conflict as error:
            told.append(error.message)
        finally:
            connection.close()

    post_save.connect(slow, sender=Release)
    threads = [threading.Thread(target=publish, args=[version]) for version in ("1.1", "1.2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    post_save.disconnect(slow, sender=Release)
    assert told == ["Someone else changed the release of refunds at the same moment. Look again."]
    assert Release.objects.filter(state="live").count() == 1
    assert Release.objects.get(state="live") == Agent.objects.get().release


# --- what is refused -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("settings.attempts", 0, "[settings] says attempts = 0; a step may be tried from 1 to 20 times."),
        ("settings.attempts", "many", "[settings] says attempts = 'many'; a step may be tried"),
        ("agent", None, "[agent] is missing: it takes a table [agent] with slug, team and owner."),
        ("agent.owner", None, "[agent] owner is missing: it takes the name of the person who answers for it."),
        ("agent.ownr", "gwen", "[agent] ownr means nothing here. Did you mean owner?"),
        ("agent.slug", "Re funds", "[agent] slug is no slug; use small letters, digits, - and _."),
        ("agent.team", "servce", "[agent] team: There is no team called 'servce'. There are service."),
        (
            "agent.owner",
            "nobody",
            "[agent] owner: there is nobody called 'nobody'. A person who can sign in answers for an agent.",
        ),
        ("agent.environment", "prod", "[agent] environment is 'prod'; it should be 'live' or 'sandbox'."),
        ("version", None, 'version is missing: it takes a version in quotes, such as "1.0".'),
        ("version", 1.0, 'version is 1.0; it takes a version in quotes, such as "1.0".'),
        ("models", [], "[[models]] is missing: the program llm needs a provider and a model."),
        ("degraded", {"when": "rain"}, "[degraded] when is 'rain'; it should be 'breaker'."),
        ("degraded", {"tools": ["test.dumb"]}, "[degraded] tools, number 1: test.dumb is not among"),
        ("degraded", {"models": [{"provider": "a"}]}, "[[degraded.models]] number 1, model is missing: it takes"),
        ("degraded", {"models": [{"model": "a"}]}, "[[degraded.models]] number 1, provider is missing"),
        ("degraded", {"tool": []}, "[degraded] tool means nothing here. Did you mean tools?"),
        ("models.0.max_age_s", 9, '[[models]] number 1, max_age_s is for a link with provider = "cached".'),
        ("models.0", {"provider": "person"}, "[[models]] number 1 is person; a chain begins with a model."),
        ("models.1", {"provider": "cached"}, "[[models]] number 2, max_age_s is missing: how many seconds"),
        ("models.1", {"provider": "cached", "max_age_s": 0}, "[[models]] number 2, max_age_s is 0; it should"),
        ("models.1", {"provider": "person", "model": "gwen"}, "[[models]] number 2, model means nothing of"),
        (
            "models",
            [{"provider": "a", "model": "b"}, {"provider": "person"}, {"provider": "cached", "max_age_s": 9}],
            "[[models]] number 3 comes after the person, who is always the last.",
        ),
        (
            "models",
            [{"provider": "a", "model": "b"}, {"provider": "cached", "max_age_s": 9}, {"provider": "a", "model": "b"}],
            "[[models]] number 3 comes after cached; only the person does.",
        ),
        ("models.1.model", None, "[[models]] number 2, model is missing: it takes the model's name."),
        (
            "models.0.base_url",
            "https://me:hunter2@models.example.com",
            "[[models]] number 1, base_url holds a password; put the key into an environment variable and name that "
            "one as key_env.",
        ),
        ("models.0.base_url", "models.example.com", "[[models]] number 1, base_url is not the address of a server; "
         "write https://models.example.com/v1."),
        (
            "models.0.key_env",
            "sk-3f1c99aa",
            "[[models]] number 1, key_env is not the name of an environment variable; the key itself never belongs in "
            "a release.",
        ),
        (
            "models.0.api_key",
            "3f1c99aa",
            "[models] api_key looks like a secret. A release is shown to people: put it into an environment variable "
            "and name that one as key_env.",
        ),
        (
            "settings.headers",
            {"Authorization": "Bearer 3f1c99aa"},
            "[settings] headers.Authorization looks like a secret. A release is shown to people: put it into an "
            "environment variable and name that one as key_env.",
        ),
        ("tools.1", "test.refundx", "tools: There is no tool called 'test.refundx'. Did you mean test.refund?"),
        ("tools", ["test.echo", "test.echo"], "tools names test.echo twice."),
        ("tiers|test.echo", 5, "[tiers] test.echo is 5; it should be less than or equal to 4."),
        ("tiers|test.note", 2, "[tiers] test.note: test.note is not among tools. Add it to tools."),
        ("limits.steps", 0, "[limits] steps is 0; it should be greater than 0."),
        ("limits.cost_usd", -1, "[limits] cost_usd is -1; it should be greater than 0."),
        ("limits.step", 3, "[limits] step means nothing here. Did you mean steps?"),
        ("program", "llmm", "There is no program 'llmm': no module agents.runs.programs.llmm can be imported."),
        ("program", "shop.go:Go", "There is no program 'shop.go:Go': no module shop.go can be imported."),
        ("program", "pipeline", "[[pipeline]] is missing: the program pipeline needs its tools in order."),
        ("pipeline", [{"tool": "x"}], "[[pipeline]] number 1: x is not among tools. Add it to tools."),
        ("simulated", {"latency": 3}, "In the [simulated] table"),
        ("settings.since", date(2026, 3, 31), 'settings.since is a date; put it in quotes, "2026-03-31".'),
        ("settings.seed", 2**60, "The release cannot be written as JSON"),
        ("toools", [], "toools means nothing here. Did you mean tools?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_gets_one_sentence_with_its_place_and_changes_nothing(
    bundle, governor, path, value, sentence
):
    with pytest.raises(errors.Invalid) as refused:
        publishing.publish(edited(bundle, path, value), by=governor)
    if sentence.endswith("."):
        assert refused.value.message == sentence
    else:
        assert sentence in refused.value.message
    assert "hunter2" not in refused.value.message
    assert "3f1c99aa" not in refused.value.message
    assert not Agent.objects.exists()


def test_a_write_that_says_nothing_of_itself_is_refused(bundle, governor):
    with pytest.raises(
        errors.Invalid, match=r"test\.dumb \(.*test_publishing\.py:\d+\) writes but has no says and no touches"
    ):
        publishing.publish(next_version(bundle, tools=["test.dumb"], tiers={}), by=governor)


def test_a_release_may_be_stricter_than_its_tools_and_milder_only_down_to_their_floor(bundle, governor):
    strict = publishing.publish(next_version(bundle, tiers={"test.refund": 4}), by=governor)
    assert ToolGrant.objects.get(agent=strict.agent, tool="test.refund").tier == 4
    with pytest.raises(errors.Invalid, match=r"\[tiers\] test\.refund is 2, but it is declared tier 3 .*floor=2"):
        publishing.publish(next_version(bundle, "1.2", tiers={"test.refund": 2}), by=governor)
    publishing.publish(next_version(bundle, "1.3", tools=["test.mild"], tiers={"test.mild": 2}), by=governor)
    with pytest.raises(errors.Invalid, match=r"\[tiers\] test\.mild is 1, but its floor is 2"):
        publishing.publish(next_version(bundle, "1.4", tools=["test.mild"], tiers={"test.mild": 1}), by=governor)
    with pytest.raises(errors.Invalid, match=r"test\.wild .* declares tier 7; tiers are 1 to 4"):
        publishing.publish(next_version(bundle, "1.5", tools=["test.wild"], tiers={}), by=governor)
    with pytest.raises(errors.Invalid, match=r"test\.upside .* declares floor 3 at tier 1; .* its tier or below"):
        publishing.publish(next_version(bundle, "1.6", tools=["test.upside"], tiers={}), by=governor)


def test_somebody_who_cannot_sign_in_answers_for_nothing(bundle, governor):
    type(governor).objects.filter(pk=governor.pk).update(is_active=False)
    with pytest.raises(errors.Invalid, match="there is nobody called 'gwen'"):
        publishing.publish(bundle, by=None)


def test_recorded_runs_bring_tools_that_nobody_declared(bundle, governor):
    recorded = next_version(bundle, program="recorded", models=[], tiers={}, tools=["cancel_reservation"])
    release = publishing.publish({**recorded, "tool_types": {"cancel_reservation": "write"}}, by=governor)
    assert release.bundle["tools"] == ["cancel_reservation"]
    assert not Tool.objects.filter(name="cancel_reservation").exists()


# --- pinning ---------------------------------------------------------------------------------------------------------
def test_a_run_is_pinned_to_its_bundle_and_to_the_source_of_its_program(release, bundle, governor):
    pinned = publishing.program_digest(release)
    other_prompt = publishing.publish(next_version(bundle), by=governor)
    other_program = publishing.publish(
        next_version(bundle, "1.2", program="agents.runs.programs.llm:ToolLoop"), by=governor
    )
    digests = [pinned, publishing.program_digest(other_prompt), publishing.program_digest(other_program)]
    assert len({*digests}) == 3
    assert all(len(digest) == 64 for digest in digests)
    assert publishing.program_digest(Release.objects.get(pk=release.pk)) == pinned


# --- ways back -------------------------------------------------------------------------------------------------------
class Parcel(TypedDict):
    """What sending one gives."""

    parcel: str


def _way(name: str, function: Callable[..., Any], compensation: str = "", *, writes: bool = True) -> None:
    if name not in declarations.declared():
        says = {"says": lambda **given: "x", "touches": lambda **given: []} if writes else {}
        tool(name, tier=1, writes=writes, compensation=compensation, **says)(function)


def _send(to: str) -> Parcel:
    """Send it."""
    return {"parcel": to}


def _call_back(parcel: str, depot: str) -> None:
    """Call it back."""


def _look(parcel: str) -> None:
    """Look where it is."""


@pytest.mark.parametrize(
    ("name", "compensation", "sentence"),
    [
        ("ways.lost", "ways.nowhere", r"names ways\.nowhere as its compensation, but there is no tool called"),
        ("ways.seen", "ways.look", r"but ways\.look \(.*\) only reads and takes nothing back; declare it with writes"),
        ("ways.half", "ways.back", r"but ways\.back \(.*\) requires depot, which neither the result nor the arguments"),
    ],
)
def test_a_compensation_that_could_never_work_is_refused(bundle, governor, name, compensation, sentence):
    _way("ways.look", _look, writes=False)
    _way("ways.back", _call_back)
    _way(name, _send, compensation)
    with pytest.raises(errors.Invalid, match=sentence):
        publishing.publish({**bundle, "tools": [name], "tiers": {}}, by=governor)
    assert Release.objects.count() == 0
