"""Ten thousand open questions and two ticks: how late the next people are asked, and that each is asked exactly once.

Lateness is what is kept with each escalation: when it was done, after when it was due, by the database's clock.
"""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from agents.contracts import Json
from agents.models import Role, Run, User, Worker
from approvals.escalation import opening
from approvals.models import Approval, Escalation
from tests import factories
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.stage import moment

OPEN, TICKS = 10_000, 2
WARM_UP, SPREAD = timedelta(seconds=15), timedelta(seconds=60)
ROOT = Path(__file__).parents[2]


def run() -> list[Figure]:
    """Let them come due within a minute, one after the other."""
    if not User.objects.filter(username="rhea").exists():
        factories.person("rhea", Role.REVIEWER, of=factories.team())
    ticks = [subprocess.Popen([sys.executable, "manage.py", "tick"], cwd=ROOT, env=os.environ) for _ in range(TICKS)]
    try:
        alive = Worker.objects.filter(kind=Worker.Kind.TICK, pid__in=[tick.pid for tick in ticks])
        moment(lambda: alive.count() == TICKS, "that both ticks run", seconds=120, every=0.2)
        asked = ask()
        done = Escalation.objects.filter(approval__run=asked)
        moment(lambda: done.count() >= OPEN, "that all are escalated", seconds=180, every=0.5)
    finally:
        for tick in ticks:
            tick.terminate()
        for tick in ticks:
            tick.wait(30)
    late = [(one.at - one.due_at).total_seconds() for one in done]
    twice = len(late) - done.values("approval").distinct().count()
    rungs = Approval.objects.filter(run=asked, rung=1).count()
    Approval.objects.filter(run=asked).update(state=Approval.State.SUPERSEDED)
    Run.objects.filter(pk=asked.pk).update(state=Run.State.CANCELLED, finished_at=timezone.now())
    how = (
        f"p50 {percentile(late, 0.5):.3f}, max {max(late):.3f}; {OPEN:,} open questions due within "
        f"{SPREAD.total_seconds():.0f} s, {TICKS} ticks; {rungs:,} moved by one rung"
    )
    return [
        Figure("escalation.lateness_p99_s", percentile(late, 0.99), "s", 1.0, "lower", how),
        Figure("escalation.told_twice", float(twice + OPEN - rungs), "", 0.0, "lower", "told twice, or not at all"),
    ]


def ask() -> Run:
    """All of one run that waits for people; each is due a moment after the one before."""
    agent = factories.agent("asker")
    assert agent.release
    fields = {"agent": agent, "release": agent.release, "team": agent.team}
    waiting: Run = Run.objects.create(**fields, state=Run.State.WAITING, waiting_for="approval")
    begin, within = timezone.now() + WARM_UP, timedelta(minutes=15)
    ladder = opening.fields(agent.team_id, kind="act", level=1, within=within, at=begin)["ladder"]
    rows = [_question(waiting, seq, begin + SPREAD * (seq / OPEN), within, ladder) for seq in range(1, OPEN + 1)]
    with transaction.atomic():
        Approval.objects.bulk_create(rows, batch_size=1000)
        opening.start(rows)
    return waiting


def _question(of: Run, seq: int, due: datetime, within: timedelta, ladder: Json) -> Approval:
    """One whose first level is over at a moment, by the policy that is built in."""
    at = due - within
    where = {"run": of, "seq": seq, "agent_id": of.agent_id, "release_id": of.release_id, "team_id": of.team_id}
    times = {"requested_at": at, "rung_at": at, "due_at": due, "next_due_at": due}
    return Approval(**where, **times, ladder=ladder, tier=3, tool="world.pay", says=f"Pay bill {seq}")
