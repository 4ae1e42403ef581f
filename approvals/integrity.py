"""What an approval is an approval of: the digest of the normalised action, and its proof at the moment of acting.

Apart from the gate because the digest is taken when a question is opened and when it is answered as well. It is SHA-256
over RFC 8785 canonical JSON. What its tool says that the act rests on (its preconditions) is bound as well;
further facts that an approval shall bind join `bound`.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import rfc8785
from django.utils import timezone

from agents import errors
from agents.contracts import Action, Json
from agents.models import Release
from agents.runs import hotpath
from approvals import differing
from approvals.models import Approval, Decision
from approvals.policies import loaded

EXACT = 2**53 - 1
PRECONDITIONS = "preconditions"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def bound(action: Action) -> Json:
    """What an approval binds besides the arguments."""
    more = {} if action.compensates is None else {"compensates": action.compensates}
    if PRECONDITIONS in action.facts:
        more[PRECONDITIONS] = action.facts[PRECONDITIONS]
    if held := loaded.enforced():
        more["policy"] = held.number
    return {
        "kind": action.kind,
        "tool": action.name,
        "tier": action.tier,
        "release": str(action.release_id),
        "environment": action.environment,
        **more,
    }


def digest(facts: Json, arguments: Json) -> str:
    """The name of exactly one act, in hexadecimal; the same before and after the arguments went through jsonb."""
    long: list[str] = []
    document = {"bound": facts, "arguments": _plain(arguments, "", long), "long": long}
    long.sort()  # members come in any order
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()


def alike(action: Action, kind: str, level: int, reasons: Iterable[Mapping[str, str]]) -> str:
    """The same for questions that can be decided together: one agent, one tool, the same demands, asked by the same
    gates and rules. One that stands out, by its confidence say, is not hidden among others."""
    what: Json = {
        "asked_by": sorted({f"{one['gate']} {one.get('rule', '')}".strip() for one in reasons}),
        "agent": str(action.agent_id),
        "tool": action.name,
        "tier": action.tier,
        "kind": str(kind),
        "level": level,
    }
    return hashlib.sha256(rfc8785.dumps(what)).hexdigest()


LET_THROUGH = """
-- What was let through at a step, still holds and is not carried out yet: the newest question about it, kept so to the
-- commit, and the answer that counts.
SELECT d.digest FROM approvals_approval a, LATERAL (
    SELECT digest FROM approvals_decision WHERE approval_id = a.id ORDER BY at DESC LIMIT 1) d
WHERE a.id = (SELECT id FROM approvals_approval WHERE run_id = %(run)s AND seq = %(seq)s ORDER BY id DESC LIMIT 1)
  AND a.state = ANY(%(allowing)s) AND a.executed = %(not_yet)s AND coalesce(a.expires_at > %(now)s, true)
FOR UPDATE OF a
"""


def require_valid_decision(action: Action) -> None:
    """Refuse to act unless a person let through exactly this. Call in the transaction that writes the intent."""
    step = {"run": action.run_id, "seq": action.seq, "now": timezone.now()}
    states = {"allowing": list(Approval.ALLOWING), "not_yet": Approval.Executed.NOT_YET}
    if hotpath.within(LET_THROUGH, step | states) != (digest(bound(action), action.arguments),):
        _require(action)


def _require(action: Action) -> None:
    """The same with the reason why not. A run waits meanwhile, so that whole rows are read for a refusal only."""
    approval = Approval.objects.of_step(action.run_id, action.seq).select_for_update().first()
    if approval is None:
        raise errors.Forbidden(f"{action.name} is tier {action.tier} and no person has been asked.")
    if approval.state not in Approval.ALLOWING:
        raise errors.Forbidden(f"{action.name} may not be done: the question about it is {approval.state}.")
    if approval.executed != Approval.Executed.NOT_YET:
        raise errors.Conflict(f"{action.name} has been tried already; one approval is for one act.")
    decision = approval.decisions.select_related("by").latest("at")
    if decision.digest != digest(bound(action), action.arguments) or approval.has_expired:
        moved = "; ".join(moves(approval, decision, action)) or "its content"
        raise errors.Moved(f"This is not what {decision.by.name} approved. What moved: {moved}.")


def moves(approval: Approval, decision: Decision, action: Action) -> Iterator[str]:
    """What differs between the act that was let through and the one about to happen, each in a few words."""
    if approval.has_expired:
        yield f"it was let through until {timezone.localtime(approval.expires_at):%Y-%m-%d %H:%M}"
    if not decision.digest:
        yield "a person has done it or found it done, so nothing was let through"
    allowed = approval.arguments if decision.arguments is None else decision.arguments
    then, now = dict(decision.bound or approval.bound), dict(bound(action))
    if then.get("release") != now["release"]:
        known = Release.objects.filter(agent_id=action.agent_id).values_list("pk", "version")
        versions = {str(release): version for release, version in known}
        then, now = _named(then, versions), _named(now, versions)
    rests = then.pop(PRECONDITIONS, {}), now.pop(PRECONDITIONS, {})
    for before, after in (then, now), rests, (allowed, action.arguments):
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                yield from differing.told(name, before.get(name), after.get(name))


def _named(facts: Json, versions: Mapping[str, str]) -> Json:
    """With the version of the release, by which people know it."""
    release = facts.get("release", "")
    return {**facts, "release": versions.get(release, release)}


def _plain(value: Any, path: str, long: list[str]) -> Any:
    """Values as the database would give them back; whole numbers too long for JSON's are texts, named in `long`."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return _whole(value, path, long)
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item, f"{path}/{key}", long) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}/{index}", long) for index, item in enumerate(value)]
    return _text(str(value))


def _whole(value: int, path: str, long: list[str]) -> int | float | str:
    """RFC 8785 writes numbers as doubles. PostgreSQL writes 1e22 in full, so that it comes back as a whole number."""
    if abs(value) <= EXACT:
        return value
    try:
        if Decimal(repr(float(value))) == value:
            return float(value)
    except OverflowError:
        pass
    long.append(_text(path))
    return str(value)


def _text(text: str) -> str:
    """PostgreSQL refuses NUL and halves of surrogate pairs; the engine stores this in their place."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
