"""Deciding: one question, one answer, with the rules that made it. The only module that asks Cedar.

Cedar skips a policy that errs, forbids included, and answers a malformed request with no decision. So nothing here is
allowed unless it says Allow and nothing went wrong, and an engine proves on canaries that it refuses before it is used.
Another policy language would take the place of `PolicyEngine`.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

import cedarpy

from agents import errors
from agents.contracts import Action, Json, Stance
from approvals.policies import requests, rules, surface
from approvals.policies.requests import Request, Who
from approvals.policies.rules import Rule

log = logging.getLogger(__name__)

NAMED = surface.NAMESPACE
CANARIES = f"""
@id("canary-permit") permit(principal, action == {NAMED}::Action::"{surface.CANARY}", resource);
@id("canary-group") forbid(principal, action in {NAMED}::Action::"zone_canary", resource)
    unless {{ context.approval_level >= 1 }};
@id("canary-frozen") forbid(principal, action == {NAMED}::Action::"{surface.CANARY}", resource)
    when {{ principal.frozen }};
"""
BROKEN = "The policies could not judge this, so it is refused"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies say. A hold names what lifts it; `rules` decided it; `errors` are why nothing could be."""

    stance: Stance
    zone: str
    rules: tuple[str, ...] = ()
    reason: str = ""
    level: int = 0
    votes: int = 1
    sla_minutes: int | None = None
    errors: tuple[str, ...] = ()


class PolicyEngine:
    """A policy set, parsed once. Raises `ValueError` when it cannot be, `errors.Conflict` when a canary is let
    through."""

    def __init__(self, text: str, given: Json) -> None:
        self.surface = given
        self.rules = rules.read(text)
        self._schema = cedarpy.Schema.from_json_str(surface.to_cedar(given))
        self._policies = cedarpy.PolicySet.from_str(text)
        self._entities = lru_cache(maxsize=4096)(self._parsed)
        self._require_canaries()

    def decide(self, request: Request, *, level: int = 0) -> Decision:
        """Allow, hold or deny. `level` is that of an approval that was given: a fact among the others, no way past
        the rules."""
        try:
            return self._decide(request.with_level(level), level)
        except Exception as error:  # whatever goes wrong in the judge, nothing goes through
            return _broken(request.name, request.who.agent, [f"{type(error).__name__}: {error}"])

    def judge(self, action: Action, *, team: str, level: int = 0) -> Decision:
        """What the policies say of an action of an agent of that team (its slug)."""
        try:
            asked = requests.of(action, self.surface, team=team)
        except (ArithmeticError, TypeError, ValueError) as error:
            return _broken(action.name, action.agent, [f"its arguments cannot be judged ({error})"])
        return self.decide_all(asked, level=level)

    def decide_all(self, asked: Iterable[Request], *, level: int = 0) -> Decision:
        """One answer to several questions about one act, as strict as the strictest; no question at all is allowed."""
        return strictest([self.decide(request, level=level) for request in asked])

    def _decide(self, request: Request, level: int) -> Decision:
        result = self._ask(request, self._policies)
        if result.diagnostics.errors:
            return _broken(request.name, request.who.agent, result.diagnostics.errors)
        found = [self.rules[given] for given in result.diagnostics.reasons]
        if result.allowed is True:
            return Decision(Stance.ALLOW, request.zone, _ids(found))
        if result.decision != cedarpy.Decision.Deny:
            return _broken(request.name, request.who.agent, ["no decision"])
        highest = max((rule.level for rule in found), default=0)
        if found and highest > level and all(rule.is_soft for rule in found):
            return self._lifted(request, found, highest)
        return _denied(request, found)

    def _lifted(self, request: Request, soft: list[Rule], level: int) -> Decision:
        """Whether an approval would make it allowed: nobody is asked about what no policy permits."""
        again = self._ask(request.with_level(level), self._policies)
        if again.diagnostics.errors:
            return _broken(request.name, request.who.agent, again.diagnostics.errors)
        if again.allowed is not True:
            return _denied(request, [self.rules[given] for given in again.diagnostics.reasons])
        soft.sort(key=lambda rule: (-rule.level, rule.id))
        return Decision(
            Stance.HOLD,
            request.zone,
            _ids(soft),
            "; ".join(rule.words for rule in soft),
            level,
            max(rule.votes for rule in soft),
            min((rule.sla_minutes for rule in soft if rule.sla_minutes), default=None),
        )

    def _ask(self, request: Request, policies: cedarpy.PolicySet) -> cedarpy.AuthzResult:
        question = {
            "principal": {"type": f"{NAMED}::Agent", "id": request.who.agent},
            "action": {"type": f"{NAMED}::Action", "id": request.action},
            "resource": {"type": f"{NAMED}::Workspace", "id": request.who.environment},
            "context": request.context,
        }
        return cedarpy.is_authorized(question, policies, self._entities(request.who), self._schema)

    def _parsed(self, who: Who) -> cedarpy.Entities:
        """Agent and workspace, read with the schema: without it the groups of actions would be missing."""
        if not who.agent or not who.environment:
            raise ValueError("nobody acts, or nowhere")
        agent = {
            "owner_team": who.team,
            "autonomy_tier": who.tier,
            "version": who.version,
            "frozen": who.frozen,
        }
        entities = [
            {"uid": {"type": f"{NAMED}::Agent", "id": who.agent}, "attrs": agent, "parents": []},
            {
                "uid": {"type": f"{NAMED}::Workspace", "id": who.environment},
                "attrs": {"environment": who.environment, "team": who.team},
                "parents": [],
            },
        ]
        return cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)

    def _require_canaries(self) -> None:
        """With the very handles that will judge: groups of actions hold, attributes are read, gaps are no consent."""
        policies = self._policies.with_added_str(CANARIES)
        plain, frozen = (Who("canary", "canary", "1", 1, "live", frozen=is_frozen) for is_frozen in (False, True))
        context: Json = {
            "approval_level": 0,
            "tool": surface.CANARY,
            "tier": 1,
            "writes": False,
            "attempt": 1,
            "takes_back": False,
            "confidence_source": "unknown",
        }
        grouped = Request(plain, surface.CANARY, "green", surface.CANARY, context)
        lifted, stopped = grouped.with_level(1), Request(frozen, surface.CANARY, "green", "", context).with_level(1)
        gap = Request(plain, surface.CANARY, "green", "", {"tool": surface.CANARY})
        for request, id_, what in (
            (grouped, "canary-group", "a group of actions"),
            (stopped, "canary-frozen", "a frozen agent"),
            (gap, None, "a request with gaps"),
        ):
            answer = self._ask(request, policies)
            named = answer.diagnostics.id_annotations_by_reason.values()
            if answer.allowed is True or (id_ and id_ not in named):
                raise errors.Conflict(f"The policy engine does not refuse {what}; it may not be used.")
        if "canary-group" in self._ask(lifted, policies).diagnostics.id_annotations_by_reason.values():
            raise errors.Conflict("The policy engine does not hear that a person approved; it may not be used.")


_only_asked: ContextVar[bool] = ContextVar("only_asked", default=False)


@contextmanager
def only_asked() -> Iterator[None]:
    """What is judged meanwhile is made up or past: that it cannot be is shown to whoever asked, and no alarm."""
    before = _only_asked.set(True)
    try:
        yield
    finally:
        _only_asked.reset(before)


def _broken(name: str, agent: str, problems: Iterable[str]) -> Decision:
    said = tuple(problems)
    if not _only_asked.get():
        log.error("policy alarm: %s of %s could not be judged and is refused: %s", name, agent, "; ".join(said))
    return Decision(Stance.DENY, "red", (), f"{BROKEN}: {said[0]}", errors=said)


def strictest(answers: Sequence[Decision]) -> Decision:
    """The strictest of several answers; of several holds everything that each of them demands."""
    stance = max((one.stance for one in answers), default=Stance.ALLOW)
    agreed = [one for one in answers if one.stance == stance]
    if len(agreed) == 1:
        return agreed[0]
    return Decision(
        stance,
        max((one.zone for one in agreed), key=surface.ZONES.index, default="green"),
        tuple(sorted({rule for one in agreed for rule in one.rules})),
        "; ".join(dict.fromkeys(one.reason for one in agreed if one.reason)),
        max((one.level for one in agreed), default=0),
        max((one.votes for one in agreed), default=1),
        min((one.sla_minutes for one in agreed if one.sla_minutes), default=None),
        tuple(error for one in agreed for error in one.errors),
    )


def _ids(found: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(sorted(rule.id for rule in found))


def _denied(request: Request, found: list[Rule]) -> Decision:
    """Nothing may happen: the rules that refuse it, those that only ask left out, or that none permits it."""
    hard = sorted([rule for rule in found if not rule.is_soft] or found, key=lambda rule: rule.id)
    reason = "; ".join(rule.words for rule in hard) or f"no policy permits {request.name} here"
    return Decision(Stance.DENY, request.zone, _ids(hard), reason)
