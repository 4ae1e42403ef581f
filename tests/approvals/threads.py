"""What a story is told of: the people, the rules that may come to hold, and each step with the votes on it.

Apart from the story, which says what happens, because this is what it keeps by hand.
"""

from dataclasses import dataclass, field

from agents.contracts import Json
from agents.models import Role, User
from agents.people import accounts
from approvals import integrity
from approvals.models import Approval, Decision, PolicySet
from tests import factories, showing
from tests.approvals.policies import rulebook

SEQS = (2, 3)
LITTLE, MUCH = "92.00", "184.00"
HANDS = {"rhea": "rhea", "rheas token": "rhea", "teo": "teo", "uma": "uma"}
"""Who may decide, and whose hands these are: one vote for each pair."""
OTHERS = ("olga", "owner", "starter")
FACTORS = ("rhea", "teo")
"""Who has an authenticator app: uma has none, and a token cannot."""
PERMIT = '@id("allow-all") permit(principal, action, resource);'
RULES = {
    "careful": PERMIT
    + """
@id("two-look") @obligation("require_approval") @level("L1") @votes("2")
forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 10000 } unless { context.approval_level >= 1 };
""",
    "strict": PERMIT
    + """
@id("not-much") forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 10000 };
@id("one-looks") @obligation("require_approval") @level("L1")
forbid(principal, action == Cockpit::Action::"test.refund", resource) unless { context.approval_level >= 1 };
""",
    "sure": PERMIT
    + """
@id("known-looks") @obligation("require_approval") @level("L2")
forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 10000 } unless { context.approval_level >= 2 };
""",
}
CASE: Json = {"name": "A note", "expect": "allow", "tool": "test.note", "arguments": {"text": "hello"}}


def rules() -> dict[str, PolicySet]:
    """Three versions, none of which holds yet."""
    return {name: rulebook.publish(text, cases=[CASE]) for name, text in RULES.items()}


@dataclass
class Thread:
    """One step. `question` is what is asked now; `ballot`, `round` and `voters` the votes on it; `allowed` the digest
    that may happen now, by so many `votes` on a question of this `level`; `noted` what the driver keeps of a grant that
    covers it."""

    seq: int
    question: Approval | None = None
    ballot: str = ""
    round: int = 1
    voters: set[str] = field(default_factory=set)
    allowed: str = ""
    votes: int = 0
    level: int = 1
    noted: Json | None = None

    def now(self) -> Approval | None:
        """The question as it is now."""
        return self.question and Approval.objects.get(pk=self.question.pk)

    def waits(self, question: Approval) -> None:
        """Nothing may happen until people say so; the same question again keeps its votes."""
        self.allowed, self.noted = "", None
        if question != self.question:
            self.question, self.ballot, self.round, self.voters = question, question.digest, 1, set()

    def counts(self, decision: Decision, who: str) -> None:
        """What one more answer, which was taken, lets through by hand-count."""
        assert self.question
        if decision.answer not in ("approve", "edit", "absent"):
            return
        given = self.question.arguments if decision.arguments is None else decision.arguments
        assert decision.digest == integrity.digest(self.question.bound, given)
        if decision.digest != self.ballot:
            self.ballot, self.round, self.voters = decision.digest, self.round + 1, set()
        self.voters.add(HANDS[who])
        if len(self.voters) >= self.question.votes_needed:
            self.allowed, self.votes, self.level = self.ballot, len(self.voters), self.question.level


def agrees(row: Approval) -> None:
    """A question is as its answers say: enough of them, of different people, for one and the same act."""
    given = sorted(row.decisions.all(), key=lambda one: (one.round, one.at))
    closing = [one for one in given if one.answer not in ("approve", "edit", "absent")]
    assert len(closing) <= 1
    assert row.state not in Approval.DECIDED or given
    assert row.votes_needed > 1 or row.state in Approval.DECIDED | {Approval.State.SUPERSEDED} or not given
    if row.state in Approval.ALLOWING and not closing:
        last = [one for one in given if one.round == given[-1].round]
        assert len({one.digest for one in last}) == 1
        assert len({one.by.owner_id or one.by_id for one in last}) == len(last) == row.votes_needed
    assert row.level == 1 or {one.by.username for one in given} <= {*FACTORS}
    assert row.executed != Approval.Executed.EXECUTED or row.state in Approval.ALLOWING


def person(name: str) -> User:
    """Somebody of the story; one of them is a token of another."""
    known = User.objects.filter(username=name.replace(" ", "-")).first()
    if known is None and name == "rheas token":
        made, _ = accounts.create_token("rheas-token", role=Role.REVIEWER, owner=person("rhea"), by=None)
        known = made.user
    role = "operator" if name == "olga" else "reviewer"
    if known is None:
        known = factories.person(name, role, of=factories.team())
        if name in FACTORS:
            showing.app_of(known)
    return known
