"""Ten thousand open approvals: how long the inbox takes to make, and how long one answer to a thousand of them takes.

Half of them are alike in large groups, half stand alone; a page is timed in the server, through Django's test client.
"""

import gc
import re
import time
from itertools import cycle
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Role, Run, Step, User
from approvals.bulk import jobs
from approvals.bulk.choosing import Choice
from approvals.models import SLO, Approval
from tests import factories
from tests.benchmarks.figures import Figure, percentile

OPEN, BULK, AGENTS, PAGES = 10_000, 1_000, 20, 60
FILTERS = ({}, {"agent": "queue-3"}, {"claim": "free"}, {"kind": "act"})
OLDER = re.compile(r'rel="next" href="[^"]*cursor=([\w-]+)')


def run() -> list[Figure]:
    """Ask ten thousand questions, look at the inbox, then answer a thousand of them."""
    rhea = User.objects.filter(username="rhea").first() or factories.person("rhea", Role.REVIEWER, of=factories.team())
    asked = [approval.pk for approval in fill()]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # what autovacuum does within a minute of such a change
    gc.collect()  # the questions made here are not the server's to carry
    pages = [seconds * 1000 for seconds in looks(rhea)]
    took, job = decide(asked, rhea)
    open_now = Approval.objects.filter(state=Approval.State.OPEN).count()
    page_how = f"p50 {percentile(pages, 0.5):.0f}, max {max(pages):.0f}; {len(pages)} pages of 50 rows, {OPEN:,} open"
    bulk_how = f"{job.decided:,} decided, {job.left:,} left, each in a run of its own; {open_now:,} stay open"
    assert job.decided == BULK, job.summary
    return [
        Figure("queue.page_p95_ms", percentile(pages, 0.95), "ms", 100.0, "lower", page_how),
        Figure("queue.bulk_1000_s", took, "s", 5.0, "lower", bulk_how),
    ]


def fill() -> list[Approval]:
    """Ten thousand held steps of as many runs, and the question about each."""
    agents = [factories.agent(f"queue-{number}") for number in range(AGENTS)]
    runs = Run.objects.bulk_create((waiting(agent) for _, agent in zip(range(OPEN), cycle(agents))), batch_size=1000)
    Step.objects.bulk_create((held(run) for run in runs), batch_size=1000)
    made: list[Approval] = Approval.objects.bulk_create(
        (question(run, place) for place, run in enumerate(runs)), batch_size=1000
    )
    return made


def waiting(agent: Agent) -> Run:
    return Run(
        agent=agent,
        release=agent.release,
        team=agent.team,
        objective="Ticket 882: the machine of order 4711 arrived broken.",
        state=Run.State.WAITING,
        waits=Run.Waits.APPROVAL,
        waiting_for="approval",
    )


def held(run: Run) -> Step:
    return Step(run=run, seq=2, turn=2, agent_id=run.agent_id, kind="tool", name="bench.refund", state="held", tier=3)


def question(run: Run, place: int) -> Approval:
    """Every second one is alike its agent's others; the rest stand alone."""
    arguments: dict[str, Any] = {"order": str(place), "amount": "184.00", "because": "damaged " * 20}
    return Approval(
        run=run,
        seq=2,
        agent=run.agent,
        release_id=run.release_id,
        team_id=run.team_id,
        tier=3,
        tool="bench.refund",
        says=f"Refund €184.00 of order {place}",
        arguments=arguments,
        preview=[{"what": f"order {place} paid", "before": "€184.00", "after": "€0.00"}],
        digest=f"{place:064x}",
        reasons=[{"gate": "tier", "reason": "bench.refund is assisted (tier 3)."}],
        alike=f"{run.agent.slug:064}" if place % 2 else f"{place:064x}",
        due_at=timezone.now() + SLO * (place % 97) / 50,
    )


def looks(rhea: User) -> list[float]:
    """The seconds of each page of the inbox: as it opens, narrowed, and read on."""
    client = Client()
    client.force_login(rhea)
    taken = []
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        for number, filters in zip(range(PAGES), cycle(FILTERS)):
            given = dict(filters)
            for _ in range(1 + number % 3):
                began = time.perf_counter()
                answer = client.get("/approvals/", given)
                taken.append(time.perf_counter() - began)
                assert answer.status_code == 200, given
                if older := OLDER.search(answer.content.decode()):
                    given["cursor"] = older[1]
    return taken[len(FILTERS) :]  # the first of each loads templates and opens connections


def decide(asked: list[UUID], rhea: User) -> tuple[float, jobs.BulkDecision]:
    """One answer to a thousand of them, from the question to the summary, driven here as a worker does."""
    choice = Choice(ids=asked[:BULK])
    began = time.perf_counter()
    job = jobs.start(choice, answer="approve", reason="All were damaged.", by=rhea, request_id=uuid7())
    jobs.drive(job.pk)
    took = time.perf_counter() - began
    job.refresh_from_db()
    return took, job
