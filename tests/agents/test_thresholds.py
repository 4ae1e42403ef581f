"""Which threshold holds for a tool: its own, that of all tools, or the one of all that somebody raised for a time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.registry import parameters, thresholds
from agents.registry.thresholds import ALL, Threshold

TOOL = "test.note"
OWN = thresholds.parameter(TOOL)
RAISED = "the threshold of all tools, raised for a time"
SURE = st.none() | st.integers(0, 100).map(lambda n: n / 100)


def held(written: dict[str, float], *changes: tuple[str, float]) -> Threshold | None:
    """What holds for a tool by a release in which this is written, with these changes."""
    bundle = parameters.applied({"thresholds": written} if written else {}, parameters.combined(changes))
    return thresholds.held(bundle, TOOL)


@pytest.mark.parametrize(
    ("written", "changes", "value", "which"),
    [
        ({"confidence": 0.8}, [], 0.8, "the threshold of all tools"),
        ({"confidence": 0.8, TOOL: 0.6}, [], 0.6, "the tool's own threshold"),
        ({TOOL: 0.6}, [(ALL, 0.9)], 0.9, f"{RAISED} and stricter than the tool's own, 0.6"),
        ({"confidence": 0.8, TOOL: 0.95}, [(ALL, 0.9)], 0.95, "the tool's own threshold"),
        ({"confidence": 0.8}, [(OWN, 0.7), (ALL, 0.9)], 0.9, f"{RAISED} and stricter than the tool's own, 0.7"),
        ({"confidence": 0.8}, [(ALL, 0.9)], 0.9, RAISED),
        ({"confidence": 0.8}, [(ALL, 0.5)], 0.5, "the threshold of all tools"),
        ({"confidence": 0.8, TOOL: 0.4}, [(ALL, 0.5)], 0.4, "the tool's own threshold"),
        ({}, [(ALL, 0.9), (ALL, 0.7)], 0.9, RAISED),
    ],
)  # fmt: skip
def test_of_a_threshold_raised_for_all_tools_and_a_tools_own_the_stricter_holds(
    written: dict[str, float], changes: list[tuple[str, float]], value: float, which: str
) -> None:
    found = held(written, *changes)
    assert found
    assert (found.value, found.words) == (value, which)


@given(every=SURE, own=SURE, changed=SURE, raised=st.integers(0, 100).map(lambda n: n / 100))
def test_to_raise_it_never_lets_more_happen_alone(
    every: float | None, own: float | None, changed: float | None, raised: float
) -> None:
    written = {name: value for name, value in {"confidence": every, TOOL: own}.items() if value is not None}
    changes = [(OWN, changed)] if changed is not None else []
    before, after = held(written, *changes), held(written, *changes, (ALL, raised))
    assert after
    if every is None or raised > every:
        assert after.value == max(raised, before.value if before and before.parameter != ALL else 0)
    elif before and before.parameter == ALL:
        assert after.value == raised, "made milder, where the tool has none of its own"
    else:
        assert after == before


def test_a_bundle_without_thresholds_tells_gates_nothing() -> None:
    bundle: dict[str, Any] = {"tools": [TOOL]}
    assert thresholds.facts(bundle, TOOL) == {}
    assert thresholds.facts(bundle | {"thresholds": {"test.other": 0.5}}, TOOL) == {}
