"""The set that the documentation shows is a good one."""

from pathlib import Path

from agents.contracts import Stance
from agents.registry import declarations
from approvals.policies import cases, publishing, surface
from cockpit.brambleway import tools

FOLDER = Path(__file__).parents[3] / "docs/examples/policies"
assert tools  # they are in the catalogue


def test_the_example_is_published_as_it_stands() -> None:
    files, given = publishing.read(FOLDER)
    engine = publishing.built(files, surface.of(declarations.declared()))
    outcomes = list(cases.run(engine, given))
    assert [one.problem for one in outcomes if one.problem] == []
    assert {one.decision.stance for one in outcomes} == set(Stance)
    tried = {rule for one in outcomes for rule in one.decision.rules}
    assert {rule.id for rule in engine.rules.values() if rule.effect == "forbid"} <= tried, "every forbid has a case"
