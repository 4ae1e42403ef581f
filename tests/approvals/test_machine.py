"""Every order of asking, claiming, handing over, voting, editing, deciding many, letting through for the run, revoking,
changing the rules, showing a second factor, doubting, lapsing, withdrawing, dispatching and dying that hypothesis can
think of.

The invariant: what is let through has, at that moment, a decision for exactly this act by as many as the rules want of
those who may decide it, with a second factor shown just now where they want that, or a grant for the rest of its run
that nobody has revoked.
"""

from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from approvals.bulk import jobs
from approvals.models import Decision
from approvals.policies import loaded
from tests.approvals.story import Story
from tests.approvals.threads import LITTLE, MUCH, SEQS, rules

Event = tuple[str, dict[str, Any]]
# Mostly somebody who may, and mostly an answer that fits: what is refused is tried as well, but leads nowhere.
WHO = st.sampled_from(["rhea", "rhea", "teo", "teo", "uma", "rheas token", "olga", "owner", "starter"])
ANSWERS = st.sampled_from(["approve", "approve", "approve", "absent", "edit", *Decision.Answer.values])
RARELY = st.sampled_from([False, False, False, True])
RULES = st.sampled_from(["careful", "strict", "sure", "sure", "back"])
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "the_driver_plans": {"meanwhile": st.sampled_from(["", "", "", "", "careful", "sure", "back"])},
    "nobody_knows_whether_it_happened": {},
    "the_driver_dispatches": {"answered": RARELY, "ends": st.sampled_from(["done", "failed", "in_doubt", "died"])},
    "nobody_needs_an_answer": {},
    "somebody_presses": {
        "who": WHO,
        "answer": ANSWERS,
        "saw": st.sampled_from(["now", "now", "before", "nothing"]),
        "for_run": RARELY,
    },
    "somebody_claims": {"who": WHO, "reason": st.sampled_from(["", "", "I know this customer."])},
    "it_is_handed_over": {"who": WHO, "to": WHO},
    "many_are_answered": {
        "who": WHO,
        "answer": st.sampled_from(["approve", "approve", "reject"]),
        "dies": st.booleans(),
    },
    "they_show_a_factor": {"who": st.sampled_from(["rhea", "teo", "teo", "uma", "rheas token", "olga"])},
    "that_was_long_ago": {},
    "its_time_is_over": {},
    "other_rules": {"which": RULES},
    "the_same_request_comes_again": {},
    "a_grant_is_revoked": {},
    "the_job_goes_on": {},
    "the_claim_runs_out": {},
}
PLACED = {
    "the_driver_plans": ("seq", "amount"),
    "nobody_knows_whether_it_happened": ("seq", "amount"),
    "the_driver_dispatches": ("seq", "amount"),
    "somebody_presses": ("seq", "amount"),
    "nobody_needs_an_answer": ("seq",),
    "somebody_claims": ("seq",),
    "it_is_handed_over": ("seq",),
    "its_time_is_over": ("seq",),
}
ASK, DOUBT, PRESS, GO = (
    "the_driver_plans",
    "nobody_knows_whether_it_happened",
    "somebody_presses",
    "the_driver_dispatches",
)
MANY, ON, RULE, SHOW = "many_are_answered", "the_job_goes_on", "other_rules", "they_show_a_factor"
LONG_AGO = "that_was_long_ago"
# Chapters that lead somewhere, and between them whatever may come at any time.
CHAPTERS = [
    (ASK, PRESS, PRESS, GO, GO),
    (RULE, ASK, PRESS, PRESS, GO),
    (ASK, PRESS, RULE, PRESS, GO, RULE, GO),
    (SHOW, RULE, ASK, PRESS, PRESS, GO),
    (SHOW, RULE, ASK, "somebody_claims", LONG_AGO, PRESS, SHOW, PRESS, GO),
    (ASK, "somebody_claims", PRESS, GO),
    (ASK, "it_is_handed_over", PRESS, PRESS, GO),
    (ASK, PRESS, "its_time_is_over", GO),
    (DOUBT, PRESS, PRESS, GO),
    (ASK, PRESS, GO, DOUBT, PRESS, GO),
    (ASK, ASK, MANY, GO, GO),
    (ASK, ASK, MANY, PRESS, ON, GO, GO),
    (ASK, PRESS, ASK, GO, "a_grant_is_revoked", GO),
    (PRESS, GO, PRESS),
    *((name, GO) for name in FIELDS if name not in (ASK, DOUBT, PRESS, GO)),
    (ASK,),
]


@st.composite
def chapters(draw: st.DrawFn) -> list[Event]:
    """One chapter, mostly about one step and one amount."""
    usual = {"seq": draw(st.sampled_from(SEQS)), "amount": draw(st.sampled_from([LITTLE, MUCH]))}
    told = []
    for name in draw(st.sampled_from(CHAPTERS)):
        fields = {key: draw(values) for key, values in FIELDS[name].items()}
        stray = {"seq": SEQS, "amount": (LITTLE, MUCH)}
        for key in PLACED.get(name, ()):
            fields[key] = draw(st.sampled_from([usual[key], usual[key], usual[key], *stray[key]]))
        told.append((name, fields))
    return told


def by(who: str, seq: int = 2, **fields: Any) -> Event:
    return PRESS, {
        "seq": seq,
        "amount": MUCH,
        "who": who,
        "answer": "approve",
        "saw": "now",
        "for_run": False,
        **fields,
    }


def plans(seq: int = 2, amount: str = MUCH) -> Event:
    return ASK, {"seq": seq, "amount": amount, "meanwhile": ""}


def goes(seq: int = 2, amount: str = MUCH) -> Event:
    return GO, {"seq": seq, "amount": amount, "answered": False, "ends": "done"}


# Told each time: two people and one person's two accounts; a grant, revoked; a job that dies; a question handed over.
VOTED = [(RULE, {"which": "careful"}), plans(), by("rhea"), by("rheas token"), goes(), by("teo"), goes(), goes()]
GRANTED = [plans(), by("teo", for_run=True), goes(), plans(3, LITTLE), goes(3), goes(3, LITTLE)]
GRANTED += [("a_grant_is_revoked", {}), goes(3, LITTLE), plans(3)]
BULK = [plans(), plans(3), (MANY, {"who": "uma", "answer": "approve", "dies": True}), goes(3), (ON, {}), goes(3)]
HANDED = [plans(), ("it_is_handed_over", {"seq": 2, "who": "rhea", "to": "teo"}), by("uma"), by("teo"), goes()]
# The rules change between the look and the question, which then asks for too few; what others let through is used up.
USED = [(RULE, {"which": "careful"}), plans(), by("rhea"), by("teo"), goes(), (RULE, {"which": "back"})]
USED += [(ASK, {"seq": 2, "amount": MUCH, "meanwhile": "careful"}), by("uma"), goes()]
# Or it asks anybody, where somebody in the browser is wanted.
USED += [(RULE, {"which": "back"}), (ASK, {"seq": 3, "amount": MUCH, "meanwhile": "sure"}), by("uma", 3), goes(3)]
# L2 of those who are not there, have no app, are a token or have shown theirs long ago; many at once, for the run; then
# shown just now. The next is handed over, to nobody without an app.
SURE = [(RULE, {"which": "sure"}), plans(), by("teo"), (SHOW, {"who": "uma"}), by("uma"), (SHOW, {"who": "teo"})]
SURE += [(SHOW, {"who": "rheas token"}), by("rheas token"), (LONG_AGO, {}), by("teo"), goes(), (SHOW, {"who": "rhea"})]
SURE += [(MANY, {"who": "rhea", "answer": "approve", "dies": False}), by("rhea", for_run=True), goes(), by("rhea")]
SURE += [goes(), plans(3), (SHOW, {"who": "teo"}), ("it_is_handed_over", {"seq": 3, "who": "teo", "to": "uma"})]
SURE += [("it_is_handed_over", {"seq": 3, "who": "teo", "to": "rhea"}), by("rhea", 3), goes(3)]


@pytest.mark.django_db
def test_what_is_let_through_was_decided_exactly_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK", 1)  # so that a job can die between two of so few questions
    published, reached = rules(), set()

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(chapters(), min_size=6, max_size=12))
    @example([VOTED])
    @example([GRANTED])
    @example([BULK])
    @example([HANDED])
    @example([USED])
    @example([SURE])
    def holds(told: list[list[Event]]) -> None:
        story = Story(published)
        for name, fields in chain.from_iterable(told):
            getattr(story, name)(**fields)
            story.questions_and_answers_agree()
        reached.update(story.reached)

    try:
        holds()
    finally:
        loaded.forget()
    assert reached >= {"L1, 1 votes", "L1, 2 votes", "L2, 1 votes", "grant", "bulk", "handed over"}
