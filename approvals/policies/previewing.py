"""What a version would have done: the real actions of the last days, judged again.

Read from steps and their payloads, newest runs first, a few hundred at a time. What a step no longer knows (how often
it was tried when it was asked about) is taken as it ended. The other gates are taken to say what they said then: what
the version permits is held all the same where its tier held it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from agents.contracts import Action, Confidence, Json, Source, Stance
from agents.models import Run, Step, StepPayload
from agents.registry import declarations
from approvals.models import Approval
from approvals.policies import circumstances, loaded, unjudged
from approvals.policies.engine import Decision, PolicyEngine, only_asked
from approvals.policies.gate import NAME as POLICY
from approvals.policies.models import PolicySet
from approvals.policies.unjudged import Example, Unjudged

CHUNK = 400
MOST = 20_000
AT_ONCE = 2_000
"""So many are judged while somebody waits for a page."""
EXAMPLES = 20
UNJUDGED, UNPERMITTED = "could not be judged", "no policy permits it"
JUDGED = (Step.Kind.TOOL, Step.Kind.MODEL, Step.Kind.DELEGATE)


@dataclass(slots=True)
class Preview:
    """How many actions were judged, how they came out, which rules decided, and where it would have been otherwise.
    `groups` are those that could not be judged, which is to be denied: by tool and reason, apart from the examples."""

    days: int
    judged: int = 0
    is_cut: bool = False
    stances: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    groups: dict[tuple[str, str], Unjudged] = field(default_factory=dict)

    @property
    def decided(self) -> list[tuple[str, str, str, int]]:
        """What would be held or denied, by which rule, how often; the most frequent first."""
        return [(*key, times) for key, times in self.rules.most_common()]

    @property
    def otherwise(self) -> list[tuple[str, str, int]]:
        """What it was, what it would be, how often; the most frequent first."""
        return [(*key, times) for key, times in self.changed.most_common()]

    @property
    def unjudged(self) -> list[Unjudged]:
        """What could not be judged, by reason; the most frequent first."""
        return sorted(self.groups.values(), key=lambda one: -one.times)

    @property
    def unjudged_times(self) -> int:
        """How many those are together."""
        return sum(one.times for one in self.groups.values())


def engine_of(policy_set: PolicySet) -> tuple[PolicyEngine | None, str]:
    """What judges by this version, or why nothing can."""
    found = loaded.load(policy_set)
    return found.engine, found.problem


def preview(engine: PolicyEngine, *, days: int, at: datetime | None = None, most: int = MOST) -> Preview:
    """Judge the actions of runs created in the last `days`, at most so many of them, newest runs first."""
    found = Preview(days)
    since = (at or timezone.now()) - timedelta(days=days)
    for step, action, team, asked_by in _actions(since):
        if found.judged == most:
            found.is_cut = True
            break
        with only_asked():
            decision = engine.judge(circumstances.completed(action, engine), team=team)
        _count(found, step, decision, others(step, asked_by))
    return found


def _count(found: Preview, step: Step, decision: Decision, by_others: Stance) -> None:
    was, would = was_decided(step), max(decision.stance, by_others).name.lower()
    found.judged += 1
    found.stances[would] += 1
    example = Example(step.run_id, step.seq, step.run.agent.slug, step.name, step.says, was, decision)
    if decision.stance != Stance.ALLOW:
        for rule in decision.rules or (UNJUDGED if decision.errors else UNPERMITTED,):
            found.rules[(decision.stance.name.lower(), step.name, rule)] += 1
    if was != would:
        found.changed[(was, would)] += 1
    if decision.errors:
        unjudged.place(found.groups, step.name, unjudged.why(decision)).add(example)
    elif was != would and len(found.examples) < EXAMPLES:
        found.examples.append(example)


def was_decided(step: Step) -> str:
    """What became of it at the time: allow, hold or deny."""
    if step.answer or step.state == Step.State.HELD:
        return "hold"
    return "deny" if step.state == Step.State.REFUSED and step.gate else "allow"


def others(step: Step, asked_by: set[str]) -> Stance:
    """What all gates but the policies said at the time; `asked_by` are those that a question about it named."""
    was = was_decided(step)
    if was == "deny":
        return Stance.ALLOW if step.gate == POLICY else Stance.DENY
    return Stance.HOLD if was == "hold" and (asked_by or {step.gate}) - {POLICY} else Stance.ALLOW


def _actions(since: datetime) -> Iterator[tuple[Step, Action, str, set[str]]]:
    """Every action of runs created since then. Ids of runs rise with time, so the primary key finds them."""
    first = UUID(int=int(since.timestamp() * 1000) << 80)
    runs = Run.objects.filter(pk__gte=first).order_by("-pk").values_list("pk", flat=True)
    last: UUID | None = None
    while chunk := list((runs.filter(pk__lt=last) if last else runs)[:CHUNK]):
        last = chunk[-1]
        yield from _of_runs(chunk)


def _of_runs(chunk: list[UUID]) -> Iterator[tuple[Step, Action, str, set[str]]]:
    whole = Step.objects.filter(run_id__in=chunk, kind__in=JUDGED).select_related(
        "run__agent", "run__team", "run__release"
    )
    steps = list(whole.defer("error", "in_force").order_by("-run_id", "seq"))
    given, asked = dict(_inputs(chunk)), _asked(chunk)
    for step in steps:
        key = step.run_id, step.seq
        yield step, as_action(step, **given.get(key, {})), step.run.team.slug, asked.get(key, set())


def _asked(chunk: list[UUID]) -> dict[tuple[UUID, int], set[str]]:
    """Which gates asked people, by step."""
    found: dict[tuple[UUID, int], set[str]] = {}
    rows = Approval.objects.filter(run_id__in=chunk, kind=Approval.Kind.ACT).values_list("run_id", "seq", "reasons")
    for run_id, seq, reasons in rows:
        found.setdefault((run_id, seq), set()).update(one["gate"] for one in reasons)
    return found


def _inputs(chunk: list[UUID]) -> Iterator[tuple[tuple[UUID, int], Json]]:
    kinds = Step.objects.filter(run_id__in=chunk, kind__in=[Step.Kind.TOOL, Step.Kind.DELEGATE])
    wanted = set(kinds.values_list("run_id", "seq"))
    payloads = StepPayload.objects.filter(run_id__in=chunk).values_list(
        "run_id", "seq", "input__arguments", "input__context"
    )
    for run_id, seq, arguments, context in payloads:
        if (run_id, seq) in wanted:
            given = {"arguments": arguments, "context": context}
            yield (run_id, seq), {name: value for name, value in given.items() if isinstance(value, dict)}


def as_action(step: Step, arguments: Json | None = None, context: Json | None = None) -> Action:
    """A stored step as a gate would have seen it; `context` is what an agent elsewhere told with its call."""
    run, sure = step.run, step.confidence
    is_model = step.kind == Step.Kind.MODEL
    chain = [{"provider": step.provider, "model": step.model or step.name}]
    facts: dict[str, Any] = _facts(run.release.bundle)
    if context:
        facts["context"] = context
    if is_model and isinstance(step.cost, Decimal):
        facts["estimated_cost_usd"] = step.cost
    return Action(
        run_id=step.run_id,
        seq=step.seq,
        kind=step.kind,
        name=step.name,
        arguments={"chain": run.release.chain or chain} if is_model else arguments or {},
        agent_id=run.agent_id,
        agent=run.agent.slug,
        release_id=run.release_id,
        release=run.release.version,
        team_id=run.team_id,
        environment=run.environment,
        tier=step.tier or 1,
        writes=step.writes,
        confidence=Confidence() if sure is None else Confidence(sure, Source(step.confidence_source)),
        says=step.says,
        attempt=step.attempt,
        facts=facts,
        compensates=step.compensates,
        risk=declarations.risk_of(run.release.bundle, step.name, writes=step.writes) if step.kind == "tool" else None,
    )


def _facts(bundle: Mapping[str, Any]) -> Json:
    frozen = {"frozen": False}  # a frozen agent takes no step
    return frozen | ({"data_class": bundle["data_class"]} if bundle.get("data_class") else {})
