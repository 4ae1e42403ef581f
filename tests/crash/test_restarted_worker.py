"""A worker that was killed and started again takes up its runs by itself: no lease has to end, no tick has to run."""

import pytest

from agents.models import Run, User
from agents.runs import holders
from tests import fleet as fleets
from tests.fleet import Fleet, until

pytestmark = [
    pytest.mark.crash,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not holders.place(), reason="this kernel tells nobody which process is which"),
]

RUNS = 16
STAGES = [("world.note", {"text": f"note {number}", "seconds": 0.2}) for number in range(8)]


def test_a_restarted_worker_goes_on_with_what_it_held_though_nobody_sweeps(fleet: Fleet, olga: User) -> None:
    clerk = fleets.pipeline("clerk", *STAGES)
    runs = [fleets.start(clerk, f"file {number}", by=olga) for number in range(RUNS)]
    worker = fleet.start("model1")[0]
    until(lambda: len(worker.holds()) == RUNS and fleet.world.count() >= RUNS, "the first notes of all runs")
    worker.kill()
    assert len(worker.holds()) == RUNS
    fleet.start("model1")
    until(lambda: not Run.objects.live().exists(), "the end of all runs")
    assert set(Run.objects.values_list("state", "lease_holder", "failure")) == {("completed", "", "")}
    wanted = {f"{run.pk}:{seq}" for run in runs for seq in range(1, len(STAGES) + 1)}
    assert {act.key for act in fleet.world.acts()} == wanted
