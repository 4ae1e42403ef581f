"""Trying a release before it is published: a run in the sandbox, driven by this very process.

Apart from starting because no worker may get hold of it: the tools that are being tried may exist nowhere but here.
"""

from django.db import connection, transaction

from agents import errors
from agents.contracts import Json
from agents.models import Release, Run, User
from agents.runs import hotpath, lease, runner, starting
from agents.runs.keeper import keeper
from agents.runs.lease import Claim


def attempt(release: Release, *, objective: str, by: User | None, input: Json | None = None) -> Run:
    """Run a draft here until it ends or has to wait for somebody, which is the state the run comes back in."""
    if release.state != Release.State.DRAFT:
        raise errors.Invalid(f"{release} is {release.state}; only a draft is tried. Start a run of it instead.")
    run, claim = _begin(release, objective, by, input or {})
    runner.drive_claimed(claim)
    run.refresh_from_db()
    while run.state == Run.State.QUEUED:  # a long run makes room for others now and then
        runner.drive(run.pk)
        run.refresh_from_db()
    return run


@transaction.atomic
def _begin(release: Release, objective: str, by: User | None, given: Json) -> tuple[Run, Claim]:
    """Start and claim in one transaction: whoever is rung when it commits finds the run taken."""
    run = starting.start(release.agent, objective=objective, by=by, input=given, release=release)
    with connection.cursor() as cursor:
        cursor.execute(hotpath.CLAIM, {"run": run.pk, "holder": keeper().name, "lease": hotpath.LEASE_SECONDS})
        row = cursor.fetchone()
    if row is None:
        raise errors.Conflict(f"{release.agent} is frozen: no step of it may start, not even in the sandbox.")
    claim = Claim(*(*row, lease.content(row[lease.RELEASE])))
    claim.input = run.input  # which Django's own cursor hands over as text
    return run, claim
