"""How soon a person is obeyed: a cancel that aborts a model call in flight, a pause that lets no new step start.

Two real workers as `manage.py up` starts them. The model is a server on the loopback that takes every question, never
answers, and notices who hangs up.
"""

import random
import time

from uuid_utils.compat import uuid7

from agents.models import Run
from agents.runs import interventions
from tests import fleet as fleets
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.stage import Stage, moment, stage
from tests.model_server import ModelServer, silence

WORKERS = ("tick", "model1", "model2")
CANCELS, CALLS_IN_FLIGHT = 60, 12
PAUSES, STEPS = 60, 600


def run() -> list[Figure]:
    """Both in one sitting."""
    with ModelServer(default=silence()) as server, stage(*WORKERS) as on:
        cancel = cancelled(on, server)
    with stage(*WORKERS) as on:
        pause = paused(on)
    return [cancel, pause]


def cancelled(on: Stage, server: ModelServer) -> Figure:
    """From the call of `cancel` until the run is cancelled *and* the model's server has seen the caller hang up."""
    model = {"provider": "loopback", "model": "silent", "base_url": server.url}
    asker = fleets.agent("asker", models=[model], limits={})
    flying: list[Run] = []
    seconds = []
    for number in range(CANCELS):
        while len(flying) < CALLS_IN_FLIGHT:
            calls = len(server.asked)
            flying.append(fleets.start(asker, f"question {number}", by=on.olga))
            assert server.wait(lambda calls=calls: len(server.asked) > calls, 30), on.fleet.said()
        seconds.append(_cancel(flying.pop(0), on, server))
    how = (
        f"p50 {percentile(seconds, 0.5):.3f}, max {max(seconds):.3f}; {CANCELS} cancels, {CALLS_IN_FLIGHT} model calls "
        "in flight; until the run is cancelled and its connection closed"
    )
    return Figure("control.cancel_p95_s", percentile(seconds, 0.95), "s", 1.0, "lower", how)


def _cancel(run: Run, on: Stage, server: ModelServer) -> float:
    hung_up = len(server.disconnects)
    started = time.monotonic()
    interventions.cancel(run, by=on.olga, reason="No longer wanted.", request_id=uuid7())
    stored = moment(lambda: Run.objects.filter(pk=run.pk, state=Run.State.CANCELLED).exists(), "a cancelled run")
    assert server.wait(lambda: len(server.disconnects) > hung_up, 30), "the call went on"
    return max(stored, server.disconnects[hung_up]) - started


def paused(on: Stage) -> Figure:
    """From the call of `pause` until the last start of a step of that run."""
    notes = [("world.look", {"text": "a", "seconds": 0.02}), ("world.note", {"text": "b", "seconds": 0.01})]
    clerk = fleets.pipeline("clerk", *(notes * (STEPS // 2)))
    chance = random.Random(7)
    late, stood = [], []
    for _ in range(PAUSES // 20):
        runs = [fleets.start(clerk, f"file {number}", by=on.olga) for number in range(20)]
        for run in runs:
            moment(lambda run=run: run.steps.count() > 2, "a run in full swing")
            time.sleep(chance.uniform(0.0, 0.05))
            asked = time.time()
            interventions.pause(run, by=on.olga, reason="Let me look.", request_id=uuid7())
            moment(lambda run=run: Run.objects.filter(pk=run.pk, state=Run.State.PAUSED).exists(), "a paused run")
            stood.append(time.time() - asked)
            late.append(max(0.0, max(_starts(run)) - asked))
    how = (
        f"last step start after asking, p50 {percentile(late, 0.5):.3f}, max {max(late):.3f}; paused for all to see "
        f"after p95 {percentile(stood, 0.95):.3f}; {PAUSES} pauses of runs with steps of 10 and 20 ms, 20 in flight"
    )
    return Figure("control.pause_p95_s", percentile(late, 0.95), "s", 1.0, "lower", how)


def _starts(run: Run) -> list[float]:
    return [at.timestamp() for at in run.steps.values_list("started_at", flat=True)]
