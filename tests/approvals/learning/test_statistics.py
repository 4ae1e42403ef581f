"""The arithmetic of being right holds for whatever was counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.learning import statistics
from approvals.learning.statistics import Share

confidences = st.one_of(st.floats(0, 1), st.integers(0, 100).map(lambda hundredth: hundredth / 100))
cases = st.lists(st.tuples(confidences, st.booleans()), max_size=80)
lightly = settings(max_examples=60, deadline=None)


@lightly
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_an_interval_holds_its_share_and_stays_within_the_scale(right: int, wrong: int) -> None:
    low, high = statistics.wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low <= right / (right + wrong) <= high


@lightly
@given(st.integers(0, 200), st.integers(1, 200))
def test_more_of_the_same_evidence_is_a_narrower_interval(right: int, wrong: int) -> None:
    low, high = statistics.wilson(right, right + wrong)
    closer, nearer = statistics.wilson(10 * right, 10 * (right + wrong))
    assert nearer - closer < high - low


def test_an_interval_is_the_one_of_the_books() -> None:
    low, high = statistics.wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@lightly
@given(st.integers(0, 100))
def test_a_hundredth_lies_in_its_own_cell(hundredth: int) -> None:
    assert statistics.place_of(hundredth / 100) == hundredth


@lightly
@given(cases)
def test_nothing_is_lost_or_counted_twice(judged: list[tuple[float, bool]]) -> None:
    counted = statistics.cells(judged)
    whole = Share(sum(right for _, right in judged), len(judged))
    assert statistics.total(counted) == whole
    found = statistics.bins(counted)
    assert Share(sum(one.share.right for one in found), sum(one.share.of for one in found)) == whole
    assert all(one.low - 1e-9 <= one.said <= one.high + 1e-9 for one in found)
    assert [one.low for one in found] == sorted({one.low for one in found})


@lightly
@given(cases)
def test_the_calibration_error_is_a_share_and_does_not_depend_on_the_order(judged: list[tuple[float, bool]]) -> None:
    error = statistics.calibration_error(statistics.cells(judged))
    if not judged:
        assert error is None
    else:
        assert error is not None
        assert 0 <= error <= 1
        assert error == pytest.approx(statistics.calibration_error(statistics.cells(judged[::-1])))


def test_who_is_as_sure_as_right_has_no_error_and_who_boasts_has_one() -> None:
    honest = [(0.8, True)] * 8 + [(0.8, False)] * 2
    boasting = [(0.9, True)] * 5 + [(0.9, False)] * 5
    assert statistics.calibration_error(statistics.cells(honest)) == pytest.approx(0)
    assert statistics.calibration_error(statistics.cells(boasting)) == pytest.approx(0.4)
    assert statistics.calibration_error(statistics.cells(honest + boasting)) == pytest.approx(0.2)


@lightly
@given(cases, st.floats(0.5, 1), st.integers(1, 20))
def test_the_threshold_is_the_smallest_that_will_do(
    judged: list[tuple[float, bool]], target: float, enough: int
) -> None:
    """Tried against the plainest way to find it: every hundredth, every case."""

    def does(place: int) -> bool:
        above = [right for said, right in judged if said >= place / 100]
        return len(above) >= enough and sum(above) >= target * len(above)

    expected = next((place / 100 for place in range(101) if does(place)), None)
    found = statistics.threshold(statistics.cells(judged), target=target, enough=enough)
    assert (found.value if found else None) == expected
    if found:
        assert found.share.of >= enough
        assert found.covers == Share(found.share.of, len(judged))


def test_a_confidence_is_told_by_those_like_it() -> None:
    counted = statistics.cells([(0.91, True), (0.97, False), (1.0, True), (0.2, True)])
    like = statistics.bin_of(0.93, counted)
    assert like is not None
    assert like.share == Share(2, 3)
    assert statistics.bin_of(0.55, counted) is None
