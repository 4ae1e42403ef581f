"""The API's doors to policies: the versions, what one would have done, and what it takes to try and to enforce it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from ninja import Field, Query, Router, Schema
from pydantic import WithJsonSchema

from agents import errors
from agents.keyset import cut
from agents.wire import ActorRequest, Body, Filters, Moment, Out, Page, Words, one_of
from approvals.policies import authority, cases, comparing, previewing, publishing, rules, speaking
from approvals.policies.models import PolicyDifference, PolicySet
from approvals.policies.previewing import Preview
from approvals.policies.rules import Rule
from approvals.policies.unjudged import Example

router = Router(tags=["policies"])

State = Annotated[PolicySet.State, one_of(PolicySet.State)]
Stance = Annotated[str, WithJsonSchema({"type": "string", "enum": ["allow", "hold", "deny"]})]


class PolicyItem(Out):
    """A version of the policies."""

    number: int
    state: State
    digest: str
    published_at: Moment
    published_by: str | None
    enforced_at: Moment | None
    enforced_by: str | None
    replaced: int | None

    @classmethod
    def of(cls, row: PolicySet, **more: Any) -> Self:
        """From its row, with who published and who enforced it."""
        return cls.taken_from(
            row,
            published_by=row.published_by.username if row.published_by else None,
            enforced_by=row.enforced_by.username if row.enforced_by else None,
            replaced=row.replaced.number if row.replaced else None,
            **more,
        )


class RuleOut(Out):
    """One rule. One that asks takes a person at this level, so many votes, within so many minutes."""

    id: str
    effect: Literal["permit", "forbid"]
    asks: bool
    level: int | None
    votes: int | None
    sla_minutes: int | None
    reason: Words

    @classmethod
    def of(cls, rule: Rule) -> Self:
        """What it takes is said of those that ask."""
        level, votes = (rule.level, rule.votes) if rule.is_soft else (None, None)
        return cls.taken_from(rule, asks=rule.is_soft, level=level, votes=votes)


class PolicyOut(PolicyItem):
    """A version, whole."""

    policies: dict[str, str]
    cases: list[dict[str, Any]]
    rules: list[RuleOut]
    tools: list[str]
    has_old_tools: bool

    @classmethod
    def whole(cls, row: PolicySet) -> Self:
        """With its files, and what they say."""
        found = sorted(rules.read(row.text).values(), key=lambda rule: rule.id)
        return cls.of(
            row,
            policies=row.files,
            rules=[RuleOut.of(rule) for rule in found],
            tools=sorted(row.surface["tools"]),
            has_old_tools=row.surface != speaking.now(),
        )


class DiffOut(Out):
    """What is different between two versions, line by line."""

    before: int
    after: int
    lines: list[str]


class DecidedOut(Out):
    """How often one rule would have held or denied one action."""

    would: Stance
    name: str
    rule: str
    times: int


class OtherwiseOut(Out):
    """How often something would have come out otherwise than it did."""

    was: Stance
    would: Stance
    times: int


class ExampleOut(Out):
    """A real step that would have come out otherwise."""

    run: UUID
    seq: int
    agent: str
    name: str
    says: Words
    was: Stance
    would: Stance
    rules: list[str]
    reason: Words


class UnjudgedOut(Out):
    """How many acts with one tool could not be judged, which is to be denied, for one reason; and the first few."""

    name: str
    why: Words
    times: int
    examples: list[ExampleOut]


class ReportOut(Out):
    """What a version would have done on real actions. What it could not judge is in `unjudged`, not in `examples`."""

    number: int
    days: int
    judged: int
    is_cut: bool
    allow: int
    hold: int
    deny: int
    rules: list[DecidedOut]
    changed: list[OtherwiseOut]
    examples: list[ExampleOut]
    unjudged: list[UnjudgedOut]

    @classmethod
    def of(cls, found: Preview, number: int) -> Self:
        """From the counts."""
        return cls.taken_from(
            found,
            number=number,
            **{stance: found.stances[stance] for stance in ("allow", "hold", "deny")},
            rules=[DecidedOut(would=w, name=n, rule=r, times=t) for w, n, r, t in found.decided],
            changed=[OtherwiseOut(was=was, would=would, times=times) for was, would, times in found.otherwise],
            examples=_examples(found.examples),
            unjudged=[UnjudgedOut.taken_from(one, examples=_examples(one.examples)) for one in found.unjudged],
        )


def _examples(found: Sequence[Example]) -> list[ExampleOut]:
    return [
        ExampleOut.taken_from(
            one,
            run=one.run_id,
            would=one.decision.stance.name.lower(),
            rules=list(one.decision.rules),
            reason=one.decision.reason,
        )
        for one in found
    ]


class DifferenceOut(Out):
    """An action about which a version that is only tried says something else than what held then."""

    at: Moment
    run: UUID
    seq: int
    agent: str
    name: str
    was: Stance
    would: Stance
    rules: list[str]
    reason: Words


class PolicyIn(Body):
    """Policies and their cases: `{file name: Cedar}`, and what a `.toml` file has under `[[case]]`."""

    policies: dict[str, str]
    cases: list[dict[str, Any]]
    request_id: UUID | None = None


class WhyIn(Body):
    """Why, for the audit log."""

    reason: str = ""
    request_id: UUID | None = None


class Against(Schema):
    """With which version to compare."""

    against: int | None = Field(None, ge=1, description="The number of another version; else the one that holds.")


class Lately(Schema):
    """How far back to look."""

    days: int = Field(7, ge=1, le=90, description="Real actions of so many days.")


@router.get("", response=Page[PolicyItem], operation_id="list_policies", summary="Versions of the policies")
def list_policies(request: ActorRequest, filters: Query[Filters]) -> Page[PolicyItem]:
    """Newest first."""
    rows = _rows().defer("files", "cases", "surface", "replaced__files", "replaced__cases", "replaced__surface")
    page = cut(rows, key="-number", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[PolicyItem.of(row) for row in page.rows], next_cursor=page.next_cursor)


@router.post("", response=PolicyOut, operation_id="publish_policies", summary="Publish policies as a draft")
def publish_policies(request: ActorRequest, body: PolicyIn) -> PolicyOut:
    """The next version, which nothing obeys yet; the same content is the same version."""
    given = cases.read({"case": body.cases}, "cases")
    made = publishing.publish(body.policies, given, by=request.actor, request_id=body.request_id)
    return PolicyOut.whole(_numbered(made.number))


@router.get("/{number}", response=PolicyOut, operation_id="get_policies", summary="One version of the policies")
def get_policies(request: ActorRequest, number: int) -> PolicyOut:
    """Its files, rules and cases, and the tools it can speak about."""
    return PolicyOut.whole(_numbered(number))


@router.get("/{number}/diff", response=DiffOut, operation_id="diff_policies", summary="What another version changes")
def diff_policies(request: ActorRequest, number: int, versions: Query[Against]) -> DiffOut:
    """Line by line, as people read a change."""
    after, held = _numbered(number), publishing.enforced()
    before = held if versions.against is None else _numbered(versions.against)
    if before is None:
        raise errors.Conflict("No policies hold; name the version to compare with.", field="against")
    lines = [line.rstrip("\n") for line in comparing.differences(before, after)]
    return DiffOut(before=before.number, after=after.number, lines=lines)


@router.get(
    "/{number}/report", response=ReportOut, operation_id="preview_policies", summary="What a version would have done"
)
def preview_policies(request: ActorRequest, number: int, lately: Query[Lately]) -> ReportOut:
    """On the newest real actions of every team, so for those who govern everywhere."""
    found = _numbered(number)
    if why := authority.refusal(request.actor):
        raise errors.Forbidden(why)
    engine, problem = previewing.engine_of(found)
    if engine is None:
        raise errors.Conflict(f"Policies {number} cannot be loaded: {problem}")
    return ReportOut.of(previewing.preview(engine, days=lately.days, most=previewing.AT_ONCE), number)


@router.get(
    "/{number}/differences",
    response=Page[DifferenceOut],
    operation_id="list_differences",
    summary="Where a version that is tried says something else",
)
def list_differences(request: ActorRequest, number: int, filters: Query[Filters]) -> Page[DifferenceOut]:
    """About acts of your teams, newest first."""
    rows = PolicyDifference.objects.visible_to(request.actor).filter(policy_set=_numbered(number))
    page = cut(rows, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=_differences(page.rows), next_cursor=page.next_cursor)


@router.post("/{number}/trial", response=PolicyItem, operation_id="try_policies", summary="Try a version")
def try_policies(request: ActorRequest, number: int, body: WhyIn) -> PolicyItem:
    """Everything is judged by it too; nothing obeys it."""
    publishing.log_only(_numbered(number), by=request.actor, reason=body.reason, request_id=body.request_id)
    return PolicyItem.of(_numbered(number))


@router.post("/{number}/enforcement", response=PolicyItem, operation_id="enforce_policies", summary="Enforce a version")
def enforce_policies(request: ActorRequest, number: int, body: WhyIn) -> PolicyItem:
    """For a person in the browser who has just shown a second factor; a token is refused."""
    publishing.enforce(_numbered(number), by=request.actor, reason=body.reason, request_id=body.request_id)
    return PolicyItem.of(_numbered(number))


@router.delete("/{number}/enforcement", response=PolicyItem, operation_id="restore_policies", summary="Go back from it")
def restore_policies(request: ActorRequest, number: int, body: WhyIn | None = None) -> PolicyItem:
    """What it replaced holds again; likewise."""
    said, found = body or WhyIn(), _numbered(number)
    publishing.roll_back(number=found.number, by=request.actor, reason=said.reason, request_id=said.request_id)
    return PolicyItem.of(_numbered(number))


def _rows() -> Any:
    return PolicySet.objects.select_related("published_by", "enforced_by", "replaced")


def _numbered(number: int) -> PolicySet:
    found: PolicySet | None = _rows().filter(number=number).first()
    return found or publishing.numbered(number)


def _differences(rows: Sequence[PolicyDifference]) -> list[DifferenceOut]:
    return [DifferenceOut.taken_from(one, run=one.run_id) for one in rows]
