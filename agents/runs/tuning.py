"""What a driver knows of the parameters people changed for its run, and the release that results.

Apart from the verbs of people, since nothing here may cost a step anything while nothing is changed: every write of a
driver returns how often parameters changed, and only when that number is another one are they looked up.
"""

import math
import time
from dataclasses import replace

from agents.contracts import Assignment, Json
from agents.registry import parameters
from agents.runs import hotpath, lease
from agents.runs.lease import Claim

IN_FORCE = """
-- What is changed for a run or for its whole agent now, the run's own last; seconds left by the clock that all share.
SELECT id, parameter, value, EXTRACT(epoch FROM expires_at - now())::float8 FROM agents_override
WHERE agent_id = %(agent)s AND (run_id IS NULL OR run_id = %(run)s) AND ended_at IS NULL
  AND (expires_at IS NULL OR expires_at > now())
ORDER BY run_id IS NOT NULL, made_at
"""

EARNED = """
-- Milder tiers that the agent has earned, with the tiers that they were earned against.
SELECT id, tool, was, tier FROM agents_autonomy WHERE agent_id = %(agent)s AND ended_at IS NULL
"""


def tune(claim: Claim) -> Assignment:
    """Put in force what is changed now, until the first of it ends; the assignment with it."""
    content = lease.content(claim.release_id)
    if not (claim.tuning or claim.overrides):
        return claim.assignment()
    rows = hotpath.rows(IN_FORCE, {"agent": claim.agent_id, "run": claim.run_id})
    changes = parameters.combined((path, value) for _, path, value, _ in rows)
    said = {
        path: {"id": str(pk), "parameter": path, "value": value}
        for pk, path, value, _ in rows
        if value == changes[path]
    }
    grown = _earned(claim, content.bundle, said)
    bundle = parameters.applied(grown, changes)
    limits = {name: limit for name, limit in bundle.get("limits", {}).items() if limit is not None}
    is_other = changes or grown is not content.bundle
    claim.release = replace(content, bundle=bundle, limits=limits) if is_other else content
    claim.overrides = tuple(said.values())
    claim.tuned = claim.tuning
    claim.tuned_until = time.monotonic() + min((left for *_, left in rows if left is not None), default=math.inf)
    return claim.assignment()


def _earned(claim: Claim, bundle: Json, said: Json) -> Json:
    """The bundle with the tiers that its agent has earned; what of them is in force is noted in `said`."""
    rows = hotpath.rows(EARNED, {"agent": claim.agent_id})
    grown = parameters.earned(bundle, {tool: (was, tier) for _, tool, was, tier in rows})
    for pk, tool, _, tier in rows:
        path = f"tiers.{tool}"
        if grown is not bundle and parameters.value(grown, path) == tier:
            said.setdefault(path, {"id": str(pk), "parameter": path, "value": tier})
    return grown
