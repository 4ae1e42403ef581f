"""What has moved, in words that people read at a glance."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models import Agent
from approvals import differing, integrity
from approvals.models import Approval
from tests import factories
from tests.approvals import questions

BEANS, MILL = {"sku": "espresso-1kg", "count": 3}, {"sku": "grinder", "count": 1}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("184.00", "92.00", ["x was 184.00, is 92.00"]),
        (None, "", ["x was not given, is empty"]),
        (True, False, ["x was yes, is no"]),
        (True, 1, ["x was yes, is 1"]),
        ({"city": "Basel", "zip": 1}, {"city": "Bern", "zip": 1}, ["x city was Basel, is Bern"]),
        ([BEANS, MILL], [BEANS, {**MILL, "count": 2}], ["x 2 count was 1, is 2"]),
        ([BEANS, MILL], [BEANS], ["x no longer has sku grinder, count 1"]),
        ([BEANS], [BEANS, MILL, "a note"], ["x has sku grinder, count 1; a note now"]),
        ([1, 2], [2, 1], ["x has the same in another order"]),
        ([1, 1], [1], ["x had 2 entries, has 1"]),
        ([], ["a", "b", "c", "d", "e"], ["x has a; b; c; and 2 more now"]),
        ([BEANS], None, ["x was (sku espresso-1kg, count 3), is not given"]),
        ({}, {"a": {"b": [1]}}, ["x a was not given, is b 1"]),
        (
            [1, 2, 3, 4, 5],
            [6, 7, 8, 9, 0],
            ["x 1 was 1, is 6", "x 2 was 2, is 7", "x 3 was 3, is 8", "more of x is different"],
        ),
        ("a\nb", "c" * 99, ["x was a b, is " + "c" * 79 + "…"]),
    ],
)
def test_what_is_different_is_told_in_words(before: Any, after: Any, said: list[str]) -> None:
    assert differing.told("x", before, after) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_whatever_differs_is_told_and_nothing_else(before: Any, after: Any) -> None:
    said = differing.told("x", before, after)
    assert all(one.strip() and "{'" not in one for one in said)
    assert differing.told("x", before, before) == []
    if not differing._same(before, after):
        assert said


def test_a_release_is_named_by_its_version(agent: Agent, rhea: Any) -> None:
    approval: Approval = questions.held(questions.run(agent))
    questions.settle(approval, by=rhea)
    old = agent.release
    newer = factories.release(agent)
    acted = questions.as_dispatched(approval, release_id=newer.pk)
    moved = list(integrity.moves(approval, approval.decisions.get(), acted))
    assert moved == [f"release was {old.version}, is {newer.version}"]
