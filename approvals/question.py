"""All that a person should know before answering one question, gathered in a handful of queries.

Apart from the views because three places show it: the queue, the question's own page, and the run's page.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from agents.contracts import Json
from agents.models import Step, Tool, User
from agents.people import proving
from approvals import before, claiming, delegating, duties, editing, fields, recorded, replying, voting
from approvals.before import Before
from approvals.delegation_models import Delegation
from approvals.escalation import reading
from approvals.fields import Field
from approvals.learning import calibration
from approvals.learning.calibration import TrackRecord
from approvals.models import Approval, Decision
from approvals.run_grants import bounds

STORY_STEPS = 6
SENTENCE = "outcome"
"""Under which name an outcome is kept that was posted as a sentence."""
HINTS = {
    Decision.Answer.APPROVE: "It happens exactly as it stands here.",
    Decision.Answer.EDIT: "It happens with the arguments you write below.",
    Decision.Answer.REJECT: "It does not happen; the agent is told why.",
    Decision.Answer.ASK: "It does not happen now: the agent reads your question and may answer and propose it again.",
    Decision.Answer.OUTCOME: "You have done it, or know that it was done; the agent goes on with what you post.",
    Decision.Answer.ABSENT: "It did not happen; the agent does it now.",
}
STOPS = ("Stop the run", "Nobody can tell, so the run ends here as failed, with your reason.")
TAKING_BACK = {
    Decision.Answer.OUTCOME: (
        "I took it back by hand",
        "Say what came of it; the run goes on with what it did before.",
    ),
    Decision.Answer.ABSENT: ("Try again", "It is tried once more, under the same key."),
    Decision.Answer.REJECT: ("Leave it as it is", "It stays done; the run goes on with what it did before."),
}
"""The answers where an act could not be taken back."""
IN_DOUBT = {
    Decision.Answer.OUTCOME: (
        "It happened",
        "Say with what result; the run goes on with it and does nothing twice.",
    ),
    Decision.Answer.REJECT: STOPS,
}
"""The answers about an act in doubt of a run that goes on."""
BEFORE_THE_END = {
    Decision.Answer.OUTCOME: ("It happened", "Say with what result: it is taken back before the run ends."),
    Decision.Answer.ABSENT: ("It did not happen", "There is nothing to take back, and it is not done any more."),
    Decision.Answer.REJECT: ("Nobody can tell", "It stays as it is; the run takes the rest back and ends."),
}
"""The answers about an act in doubt of a run that is to end."""
REPLYING = {
    Decision.Answer.OUTCOME: ("Answer", "The agent reads what you write and goes on; nothing else is done."),
    Decision.Answer.REJECT: ("Nobody can say", "The agent is told that there is no answer, and why."),
}
"""The answers to what an agent asks."""


AFTERWARDS = {
    Decision.Answer.APPROVE: (
        "It was right",
        "It has happened; your judgement counts for what this agent may do alone.",
    ),
    Decision.Answer.REJECT: (
        "It was wrong",
        "It has happened; say what was wrong. Take it back where that can be done.",
    ),
}
"""The answers about an act that is looked at afterwards."""


TITLES = {
    Approval.Kind.IN_DOUBT: "Did this happen?",
    Approval.Kind.QUESTION: "What the agent wants to know",
    Approval.Kind.SAMPLE: "Was this right?",
}
"""What is wanted of a person, where it is not whether an act may be done."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer on offer, under the key of its number."""

    key: int
    answer: Decision.Answer
    label: str
    hint: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what surrounds it. `refusal` says why this person may not answer; empty when they may."""

    approval: Approval
    decision: Decision | None
    refusal: str
    choices: Sequence[Choice]
    story: Sequence[Step]
    record: TrackRecord
    undoable_for: timedelta | None
    ballot: voting.Ballot
    proof: proving.Proof
    lacks_factor: bool
    solo: str
    may_claim: bool
    before: Before | None
    course: reading.Course

    @property
    def delegation(self) -> Delegation | None:
        """How it came to whoever holds it."""
        return delegating.last(self.approval)

    @property
    def asked(self) -> Json:
        """The arguments that the next vote is about: the agent's, or those of whoever edited them."""
        return self.approval.arguments if self.ballot.arguments is None else self.ballot.arguments

    @property
    def given(self) -> list[tuple[str, str]]:
        """The arguments to read, one a line, in the order of the tool's parameters; of a question to a model, which may
        be asked and how much it reads."""
        if self.approval.bound.get("kind") == "model" and "chain" in self.asked:
            return _asked_of(self.asked)
        spec = editing.tool_of(self.approval)
        order = [*spec.schema.get("properties", {})] if spec else []
        names = sorted(self.asked, key=lambda name: order.index(name) if name in order else len(order))
        return [(name, _written(self.asked[name])) for name in names]

    @property
    def title(self) -> str:
        """What is wanted of whoever reads it."""
        kind = Approval.Kind(self.approval.kind)
        if kind == Approval.Kind.ACT and self.approval.is_manual:
            return "What you are to do"
        return TITLES.get(kind, "What is asked")

    @property
    def fields(self) -> list[Field]:
        """The arguments to edit, a field each."""
        return fields.of(editing.form_of(self.approval, self.asked), self.asked)

    @property
    def may_ask(self) -> bool:
        """Whether the agent can be asked something back."""
        return any(one.answer == Decision.Answer.ASK for one in self.choices)

    @property
    def may_grant(self) -> bool:
        """Whether the same may be let through for the rest of the run."""
        return not bounds.refusal(self.approval)

    @property
    def codes(self) -> list[tuple[str, str]]:
        """Why an act may be rejected; none where it is asked whether something happened."""
        is_act = self.approval.kind not in (Approval.Kind.IN_DOUBT, Approval.Kind.QUESTION)
        return [] if not is_act else list(Decision.Code.choices)

    @property
    def options(self) -> list[str]:
        """What the agent offers as answers to its question."""
        return replying.options(self.approval) if self.approval.kind == Approval.Kind.QUESTION else []

    @property
    def outcome(self) -> str:
        """What a person posted, to read."""
        posted = self.decision.outcome if self.decision else None
        if isinstance(posted, dict) and len(posted) == 1 and posted.keys() <= {replying.KEY, SENTENCE}:
            return str(*posted.values())
        return _written(posted) if posted is not None else ""

    @property
    def edits(self) -> list[tuple[str, str, str]]:
        """Which arguments a person changed: name, before, after."""
        after = self.decision.arguments if self.decision else self.ballot.arguments
        if after is None:
            return []
        before = self.approval.arguments
        return [
            (name, _written(before.get(name)), _written(after.get(name)))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]


def _asked_of(given: Json) -> list[tuple[str, str]]:
    """The models that may be asked, in their order, and how many messages they would read."""
    models = [_model(one) for one in given["chain"] if isinstance(one, dict)]
    lines = [("model" if place == 0 else "else", name) for place, name in enumerate(models)]
    return [*lines, *(("messages", str(given[name])) for name in ("messages",) if name in given)]


def _model(one: Json) -> str:
    """A model with whose it is and where it works."""
    where = [str(one[name]) for name in ("provider", "region") if one.get(name)]
    return " · ".join([str(one.get("model", "")), *where])


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False) if value is not None else "nothing"


def whole(user: User) -> QuerySet[Approval]:
    """Approvals that this person can see, with everything a question shows."""
    related = ("agent__owner", "run__started_by", "plant__by", "release", "team", "claimed_by", "acknowledged_by")
    found = Approval.objects.visible_to(user).select_related(*related)
    shown: QuerySet[Approval] = found.prefetch_related(voting.GIVEN)
    return shown


def brief(approval: Approval, user: User) -> Question:
    """One question of `whole`, for this person."""
    given = approval.given
    duty = duties.refusal(user, approval) if approval.is_open else ""
    tool = Tool.objects.filter(name=approval.tool).values_list("undoable_for", flat=True).first()
    return Question(
        approval=approval,
        decision=given[-1] if given and approval.decided_at else None,
        refusal=(duty or claiming.refusal(user, approval)) if approval.is_open else "",
        may_claim=approval.is_open and not duty,
        choices=_choices(approval) if approval.is_open else (),
        story=_story(approval),
        record=calibration.track_record(approval),
        undoable_for=tool,
        ballot=voting.ballot(approval),
        before=before.of(approval),
        proof=duties.proof(user, approval) if approval.is_open and not duty else proving.NOTHING,
        lacks_factor=approval.is_open and duties.lacks_factor(user, approval),
        solo=duties.lifted(user, approval) if approval.is_open else "",
        course=reading.course(approval, at=timezone.now()),
    )


def of_step(run_id: UUID, seq: int, user: User) -> Iterable[Question]:
    """Everything that was asked about one step, the latest first."""
    return [brief(approval, user) for approval in whole(user).filter(run_id=run_id, seq=seq).order_by("-id")[:5]]


def _choices(approval: Approval) -> list[Choice]:
    is_live = editing.tool_of(approval) is not None  # else it was recorded, and no agent can be asked
    may = {Decision.Answer.EDIT: editing.has_form(approval), Decision.Answer.ASK: is_live}
    offered = [one for one in approval.answers if may.get(one, True)]
    words = {answer: (answer.label, HINTS[answer]) for answer in offered}
    if Decision.Answer.EDIT in words and not is_live:
        words[Decision.Answer.EDIT] = (Decision.Answer.EDIT.label, recorded.ENDS_HERE)
    if approval.kind == Approval.Kind.IN_DOUBT:
        words |= _about_doubt(approval)
    if approval.kind == Approval.Kind.QUESTION:
        words |= REPLYING
    if approval.kind == Approval.Kind.SAMPLE:
        words |= AFTERWARDS
    return [Choice(key, answer, *words[answer]) for key, answer in enumerate(offered, 1)]


def _about_doubt(approval: Approval) -> dict[Decision.Answer, tuple[str, str]]:
    """What the answers to a doubt mean, which depends on whether its run is taking back what it did."""
    if approval.compensates is not None:
        return TAKING_BACK
    return BEFORE_THE_END if approval.run.ending else IN_DOUBT


def _story(approval: Approval) -> list[Step]:
    """The last steps before this one, in the order in which they happened."""
    before = Step.objects.filter(run_id=approval.run_id, seq__lt=approval.seq).order_by("-seq")
    return list(before[:STORY_STEPS])[::-1]
