"""From files to an immutable version, tried, enforced and taken back; whatever is wrong is named."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from agents import errors
from agents.contracts import Stance
from agents.models import AuditEntry, Role, Team, User
from approvals.models import PolicySet
from approvals.policies import loaded, publishing
from tests import factories
from tests.approvals.policies import rulebook
from tests.approvals.policies.rulebook import CASES, RULES, enforce, publish

pytestmark = pytest.mark.django_db
State = PolicySet.State
TIGHTER = RULES.replace("100000", "90000")

BAD = """
permit(principal, action, resource);
@id("typo") forbid(principal, action, resource) when { context.confidense_bp < 1 };
@id("typo") forbid(principal, action == Cockpit::Action::"test.refnud", resource);
@id("level") @obligation("require_approval") @level("L5") @slaminutes("5")
forbid(principal, action, resource) unless { context.approval_level >= 1 };
@id("for-ever") @obligation("require_approval") forbid(principal, action, resource);
@id("idle") @votes("2") permit(principal, action, resource);
"""


def test_every_bad_policy_is_named() -> None:
    with pytest.raises(errors.Invalid) as refused:
        publish(BAD)
    for sentence in (
        'place 1 has no @id("…")',
        "typo: attribute `confidense_bp`",
        "typo: this id is taken already",
        'unrecognized action `Cockpit::Action::"test.refnud"`',
        'level: @level is "L1" to "L4", not "L5"',
        "@slaminutes means nothing here. Did you mean sla_minutes?",
        "for-ever: no approval could ever lift it",
        'idle: @votes belongs to a forbid with @obligation("require_approval")',
    ):
        assert sentence in refused.value.message
    assert not PolicySet.objects.exists()


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "There is no case"),
        ([{**CASES[0], "expect": "allow"}], "A refund waits: must allow, but the policies hold it"),
        ([{**CASES[0], "rule": "ask-rde"}], "there is no rule ask-rde. Did you mean ask-red?"),
        ([{**CASES[0], "level": "L2"}], "must ask for L2, but asks for L1"),
        ([{**CASES[0], "arguments": {}}], "could not be judged"),
    ],
)
def test_a_case_that_comes_out_otherwise_keeps_it_from_being_published(
    cases: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        publish(cases=cases)
    assert said in refused.value.message


def test_the_same_content_is_the_same_version_and_other_content_the_next() -> None:
    first = publish()
    assert publish() == first
    assert publish(TIGHTER).number == first.number + 1


def test_what_is_published_cannot_be_changed() -> None:
    made = publish()
    for change in ({"files": {}}, {"cases": []}, {"digest": "0" * 64}, {"number": 9}):
        with pytest.raises(DatabaseError, match="immutable"), transaction.atomic():
            PolicySet.objects.filter(pk=made.pk).update(**change)
    with pytest.raises(DatabaseError, match="immutable"), transaction.atomic():
        PolicySet.objects.filter(pk=made.pk).delete()


def test_one_version_holds_and_going_back_is_to_the_one_it_replaced() -> None:
    first, second = enforce(), enforce(TIGHTER)
    first.refresh_from_db()
    assert (first.state, second.state) == (State.RETIRED, State.ENFORCED)
    assert publishing.roll_back(by=None, reason="Too strict.") == first
    assert publishing.enforced() == first
    assert publishing.roll_back(by=None, reason="Off.") is None
    assert publishing.enforced() is None
    verbs = list(AuditEntry.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["policy.published", "policy.enforced"] * 2 + ["policy.rolled_back"] * 2


def test_a_process_follows_what_is_enforced() -> None:
    first = enforce()
    held = loaded.enforced()
    assert held
    assert (held.number, held.judge(rulebook.action(), team="service").stance) == (first.number, Stance.HOLD)
    assert loaded.enforced() is held, "nothing is parsed twice"
    second = enforce(TIGHTER)
    swapped = loaded.enforced()
    assert swapped
    assert swapped.number == second.number


def test_a_version_that_cannot_be_loaded_refuses_everything() -> None:
    made = publish()
    made.cases = [{**CASES[0], "expect": "deny"}]
    broken = loaded.load(made)
    assert broken.engine is None
    found = broken.judge(rulebook.action("test.note", arguments={"text": "x"}), team="service")
    assert found.stance == Stance.DENY
    assert "could not be loaded" in found.reason


def test_policies_are_for_those_who_govern_everywhere(team: Team, governor: User) -> None:
    with pytest.raises(errors.Forbidden, match="in every team"):
        publish(by=governor)
    assert AuditEntry.objects.get(verb="policy.published").outcome == "denied"
    assert publish(by=factories.person("gaia", Role.GOVERNANCE)).number == 1


# --- the command -----------------------------------------------------------------------------------------------------
def _say(*words: str) -> str:
    out = StringIO()
    call_command("policy", *words, stdout=out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.cedar").write_text(RULES)
    (tmp_path / "rules.toml").write_text(
        '[[case]]\nname = "A refund waits"\nexpect = "hold"\ntool = "test.refund"\n'
        'arguments = { order = "4711", amount = "184.00" }\n'
    )
    return tmp_path


def test_the_command_goes_all_the_way(folder: Path, team: Team) -> None:
    assert "1 case: all as they must be" in _say("test", str(folder / "rules.cedar"))
    assert "Policies 1 are published" in _say("publish", str(folder))
    assert "Policies 1 are tried" in _say("log-only", "1")
    assert "Nothing changed." in _say("enforce", "1")
    assert "Policies 1 hold from now on" in _say("enforce", "1", "--reason", "Tried for a week.")
    (folder / "rules.cedar").write_text(TIGHTER)
    _say("publish", str(folder))
    diff = _say("diff", "1", "2")
    assert "-    when { context.input.amount_minor > 100000 };" in diff
    assert "enforced" in _say("list")
    assert "No policies are enforced any more." in _say("roll-back", "--reason", "Off.")


def test_a_case_with_a_mistyped_key_is_one_sentence(folder: Path) -> None:
    (folder / "rules.toml").write_text('[[case]]\nname = "x"\nexpect = "hold"\ntool = "t"\nargumnets = {}\n')
    with pytest.raises(
        CommandError, match=r"rules\.toml: case 1 \(x\): argumnets means nothing here. Did you mean arg"
    ):
        _say("test", str(folder))
