"""How soon a run goes on once a person has decided: from the call of `decide` to the act it allows, in a worker."""

import time

from uuid_utils.compat import uuid7

from agents.models import Run
from approvals.decisions import decide
from approvals.models import Approval
from tests import fleet as fleets
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.stage import Stage, moment, stage

RUNS, DECISIONS = 250, 200


def run() -> list[Figure]:
    """One decision after the other, everything else suspended; the outside world's log says when the act happened."""
    with stage("tick", "model1", "model2") as on:
        payer = fleets.pipeline("payer", ("world.pay", {"text": "{objective}"}), ("world.look", {"text": "paid"}))
        for number in range(RUNS):
            fleets.start(payer, f"bill {number}", by=on.olga)
        moment(lambda: Run.objects.filter(state=Run.State.WAITING).count() == RUNS, "that all runs wait for a person")
        seconds = [resumed(question, on) for question in Approval.objects.open()[:DECISIONS]]
    value = percentile(seconds, 0.95) * 1000
    how = (
        f"p50 {percentile(seconds, 0.5) * 1000:.1f}, max {max(seconds) * 1000:.1f}; {DECISIONS} decisions one by one, "
        f"{RUNS} runs suspended at first; from the call to the act in a worker"
    )
    return [Figure("approval.resume_p95_ms", value, "ms", 100.0, "lower", how)]


def resumed(question: Approval, on: Stage) -> float:
    """Decide one question; the seconds until the act."""
    before = on.fleet.world.count()
    started = time.time()
    decide(question, answer="approve", reason="It is right.", by=on.rhea, request_id=uuid7())
    moment(lambda: on.fleet.world.count() > before, "the act that was allowed")
    act = on.fleet.world.acts()[before]
    assert act.run == str(question.run_id)
    moment(lambda: not Run.objects.filter(pk=question.run_id, state=Run.State.RUNNING).exists(), "the end of the run")
    return act.at - started
