"""The story of a run: plain sentences, what repeats told once, people and customers in their places."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents.models import Recording, Run, Step, StepPayload, User
from agents.runs import interventions, story, timelines
from tests import factories

pytestmark = pytest.mark.django_db
THEN = datetime(2025, 10, 31, 7, 35, tzinfo=UTC)


def paid(step: Step, given: Any = None, returned: Any = None) -> Step:
    """A step with what went in and what came out."""
    StepPayload.objects.create(run=step.run, seq=step.seq, input=given, output=returned)
    return step


def model(run: Run, words: str = "", *calls: str, kind: str = "text", **fields: Any) -> Step:
    """A model's turn that said something and asked for tools."""
    parts = [{"type": kind, "content": words}] if words else []
    parts += [{"type": "tool_call", "name": name, "arguments": {}} for name in calls]
    step = factories.step(run, kind="model", name="sim-small", model="sim-small", **fields)
    return paid(step, {"messages": []}, {"message": {"role": "assistant", "parts": parts}})


def used(run: Run, name: str = "orders.read", **arguments: Any) -> Step:
    """A tool that was used."""
    return paid(factories.step(run, name=name), {"arguments": arguments}, {"found": 1})


def told(run: Run, **how: Any) -> list[str]:
    """The story as one reads it."""
    lines = story.tell(run, story.window(run), **how)
    return [" ".join(filter(None, [line.lead, line.act, line.tail, line.quote])) for line in lines]


def test_a_run_without_steps_begins_with_who_asked(run: Run) -> None:
    assert told(run) == ["Started by olga."]


def test_a_long_objective_and_the_facts_stand_in_the_story(agent: Any, olga: User) -> None:
    asked = "Read every ticket of this week and " + "look again " * 20
    (line,) = told(factories.run(agent, by=olga, objective=asked, input={"order": 4711, "lines": [1, 2, 3, 4]}))
    assert asked.strip() in line
    assert line.endswith("order: 4711\nlines: 4 entries")


def test_a_turn_is_told_by_its_words_or_by_what_it_used(run: Run) -> None:
    model(run, "First read it.", "orders.read")
    used(run, order=4711)
    model(run, "", "orders.read")
    used(run, order=4712)
    model(run, "Both are there.", kind="reasoning")
    assert told(run)[1:] == [
        "Said: First read it.",
        "Used orders.read (order 4711)",
        "Used orders.read (order 4712)",  # the turn before it had nothing to say
        "Answered: Both are there.",
    ]


def test_a_turn_whose_tools_have_not_begun_says_what_it_wants(run: Run) -> None:
    model(run, "", "orders.read", "orders.read", "tickets.read")
    assert told(run)[-1] == "Wants to use orders.read ×2 and tickets.read."


FELL = {"provider": "acme", "model": "large", "kind": "overloaded", "error": "large is overloaded", "seconds": 0.2}


def fell_over(run: Run, *before: dict[str, Any], words: str = "", by: str = "beta", **more: Any) -> Step:
    step = factories.step(run, kind="model", name="large", model="small", provider=by, cost_kind="unpriced")
    call = {"type": "tool_call", "name": "orders.read", "arguments": {}}
    parts = [{"type": "text", "content": words} if words else call]
    output = {"message": {"role": "assistant", "parts": parts}, "attempts": list(before), **more}
    return paid(step, {"messages": []}, output)


def test_a_model_that_answered_in_the_place_of_another_one_is_told_with_why(run: Run) -> None:
    fell_over(run, FELL, {**FELL, "kind": "breaker_open"}, words="Soon.")
    fell_over(run, {**FELL, "kind": "breaker_open"})
    used(run, order=4711)
    fell_over(run, FELL, by="cached", words="As I said.", degraded="The breaker of acme/large is open.")
    assert told(run)[1:] == [
        "large did not answer (overloaded); small did. Answered: Soon.",
        "large is left alone; small did.",
        "Used orders.read (order 4711)",
        "large did not answer (overloaded); an answer from before was used. "
        "Degraded, as its release wants it then. Answered: As I said.",
    ]


@pytest.mark.parametrize(
    ("gate", "lead"), [("chain", "No model of its chain answered. "), ("policy", "Would ask large. ")]
)
def test_a_question_that_waits_for_a_person_has_not_failed(run: Run, gate: str, lead: str) -> None:
    factories.step(run, kind="model", name="large", state="held", gate=gate, gate_reason="large is overloaded")
    assert told(run)[1:] == [f"{lead} Waits for a person. large is overloaded"]


def test_a_second_try_of_the_same_model_is_no_other_model(run: Run) -> None:
    fell_over(run, {**FELL, "model": "small"}, words="Soon.")
    assert told(run)[1:] == ["Answered: Soon."]


def test_what_repeats_is_one_line_that_counts_and_opens(run: Run) -> None:
    for order in range(14):
        used(run, "handbook.search", words=f"word {order}")
    lines = story.tell(run, story.window(run))
    assert [line.lead for line in lines] == ["Started by olga.", "Used handbook.search ×14"]
    assert len(lines[1].members) == 14
    assert not lines[1].is_open
    assert story.tell(run, story.window(run), opened={7})[1].is_open


def test_two_of_a_kind_are_told_one_by_one(run: Run) -> None:
    used(run, order=1)
    used(run, order=2)
    assert len(told(run)) == 3


@pytest.mark.parametrize(
    ("state", "fields", "sentence"),
    [
        ("done", {}, "Refund €20"),
        (
            "done",
            {"answer": {"kind": "approved", "by_name": "Rhea", "reason": "ok"}},
            "Refund €20 Approved by Rhea: “ok”",
        ),
        ("held", {"gate_reason": "tier 3."}, "Proposes:  Refund €20 Waits for a person. tier 3."),
        ("intended", {}, "Is at it:  Refund €20"),
        ("failed", {"error": "no card"}, "Tried:  Refund €20 It failed: no card"),
        ("refused", {"gate_reason": "over the limit"}, "Was refused:  Refund €20 over the limit"),
        ("in_doubt", {"error": "the worker died"}, "Nobody knows whether this happened:  Refund €20 the worker died"),
        ("cancelled", {"error": "stopped"}, "Withdrawn:  Refund €20 stopped"),
    ],
)
def test_an_act_is_told_with_its_fate(run: Run, state: str, fields: dict[str, Any], sentence: str) -> None:
    factories.step(run, name="payments.refund", says="Refund €20", writes=True, state=state, **fields)
    assert told(run)[-1] == sentence


def test_malformed_arguments_are_called_so(run: Run) -> None:
    paid(factories.step(run, state="failed", error="not JSON"), {"malformed": '{"order": 47'})
    assert told(run)[-1] == "Tried:  orders.read with malformed arguments It failed: not JSON"


def test_people_who_stepped_in_stand_where_they_did(run: Run, olga: User) -> None:
    used(run, order=1)
    interventions.pause(run, by=olga, reason="wait for billing", request_id=uuid4())
    interventions.resume(run, by=olga, request_id=uuid4())
    begun = timezone.now()
    interventions.cancel(run, by=olga, reason="a duplicate", request_id=uuid4())
    Step.objects.filter(pk=used(run, order=2).pk).update(started_at=begun)  # in flight then, stored when it had ended
    assert told(run)[1:] == [
        "Used orders.read (order 1)",
        "olga paused it: “wait for billing”",
        "olga let it go on.",
        "Used orders.read (order 2)",
        "olga cancelled it: “a duplicate”",
    ]


def recorded(agent: Any) -> Run:
    """A replay of a recording: a customer speaks between two steps, and once more behind the last."""
    said = [
        {"role": role, "parts": [{"type": "text", "content": words}]}
        for role, words in (("user", "Where is it?"), ("assistant", "One moment."), ("user", "Thank you!"))
    ]
    entries = [
        {"kind": "said", "said": said[0]},
        {"kind": "model", "said": said[1]},
        {"kind": "tool"},
        {"kind": "said", "said": said[2]},
    ]
    made = Recording.objects.create(source_id="shop/1", digest=uuid4().hex, content={"entries": entries})
    run = factories.run(agent, input={"recording": str(made.pk)})
    model(run, "One moment.", "orders.read", finished_at=THEN)
    factories.step(run, says="Read order 4711", started_at=THEN, finished_at=THEN + timedelta(seconds=2))
    return run


def test_a_recorded_conversation_stands_between_the_steps(agent: Any) -> None:
    assert told(recorded(agent)) == [
        "Replayed from a recording, whose times these are. Queued by cockpit.",
        "The customer: Where is it?",
        "Said: One moment.",
        "Read order 4711",
        "The customer: Thank you!",
    ]


def test_times_of_a_recording_are_its_own_and_unknown_ones_stay_unknown(agent: Any) -> None:
    run = recorded(agent)
    lines = story.tell(run, story.window(run))
    assert [line.at for line in lines] == [None, None, THEN, THEN, None]
    assert [line.seconds for line in lines] == [None, None, None, 2.0, None]
    assert lines[2].day == THEN.date()


def test_a_line_says_its_day_only_where_another_one_begins(run: Run) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    for at in (yesterday, yesterday, timezone.now()):
        factories.step(run, started_at=at, finished_at=at, writes=True, says="Act")
    Run.objects.filter(pk=run.pk).update(created_at=yesterday)
    run.refresh_from_db()
    days = [line.day for line in story.tell(run, story.window(run))]
    today = timezone.localdate()
    assert days == [today - timedelta(days=1), None, None, today]


def test_a_window_shows_two_hundred_steps_and_finds_the_one_asked_for(run: Run) -> None:
    Step.objects.bulk_create(
        Step(run=run, seq=seq, turn=seq, agent_id=run.agent_id, kind="tool", name="orders.read", state="done")
        for seq in range(1, 701)
    )
    last = story.window(run)
    assert (last.first, last.last, last.earlier, last.later) == (501, 700, 301, None)
    first = story.window(run, around=1)
    assert (first.first, first.last, first.earlier, first.later) == (1, 200, None, 201)
    asked = story.window(run, showing=150)
    assert asked.first <= 150 <= asked.last
    assert told(run)[0] != "Started by olga."  # that is told where the run begins


# --- the tree and the timeline of the same steps
def test_what_a_model_asked_for_hangs_on_it(run: Run) -> None:
    model(run, "", "orders.read")
    used(run, order=1)
    used(run, order=2)
    model(run, "Done.")
    tree = timelines.branches(story.window(run))
    assert [(branch.step.seq, [child.step.seq for child in branch.children]) for branch in tree] == [
        (1, [2, 3]),
        (4, []),
    ]
    assert tree[0].children[1].given == "order 2"


def bar(run: Run, start: float, end: float | None, **fields: Any) -> Step:
    """A step at work between two moments, in seconds since then."""
    ends = None if end is None else THEN + timedelta(seconds=end)
    return factories.step(run, started_at=THEN + timedelta(seconds=start), finished_at=ends, **fields)


def test_bars_share_one_axis_and_idle_time_can_be_left_out(run: Run) -> None:
    bar(run, 0, 10)
    bar(run, 90, 100)
    steps = list(run.steps.order_by("seq"))
    whole = timelines.timeline(run, steps, now=THEN)
    assert [row.bars for row in whole.rows] == [[(0.0, 10.0, "act")], [(90.0, 10.0, "act")]]
    assert (whole.idle, whole.hidden) == (timedelta(seconds=80), timedelta(0))
    busy = timelines.timeline(run, steps, now=THEN, hides_idle=True)
    assert [row.bars for row in busy.rows] == [[(0.0, 50.0, "act")], [(50.0, 50.0, "act")]]
    assert busy.hidden == timedelta(seconds=80)


def test_an_open_bar_reaches_to_now_and_an_unknown_time_has_none(run: Run) -> None:
    bar(run, 0, None, state="intended")
    factories.step(run, kind="model")
    shown = timelines.timeline(run, list(run.steps.order_by("seq")), now=THEN + timedelta(seconds=8))
    assert [row.bars for row in shown.rows] == [[(0.0, 100.0, "act")], []]
    assert shown.end == THEN + timedelta(seconds=8)


def test_waiting_for_a_person_is_a_bar_of_its_own(run: Run) -> None:
    answer = {"kind": "approved", "by_name": "rhea"}
    bar(run, 60, 62, gate="tier", answer=answer, created_at=THEN, writes=True)
    bar(run, 62, 63, gate="tier", state="cancelled", created_at=THEN + timedelta(seconds=62))
    row, _ = timelines.timeline(run, list(run.steps.order_by("seq")), now=THEN).rows
    assert [hue for _, _, hue in row.bars] == ["wait", "act"]
    assert row.waited == 60.0
