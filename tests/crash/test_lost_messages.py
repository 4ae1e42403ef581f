"""The courier may lose everything it carries: PostgreSQL is the truth, so the sweep rings every run again."""

import pytest
import redis

from agents.models import Run, User
from tests import fleet as fleets
from tests.fleet import Fleet, until

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

RUNS = 60
STAGES = [("world.note", {"text": "begun", "seconds": 0.6}), ("world.note", {"text": "ended", "seconds": 0.1})]


def test_all_runs_complete_though_every_message_is_lost_twice(fleet: Fleet, letters: redis.Redis, olga: User) -> None:
    clerk = fleets.pipeline("clerk", *STAGES)
    runs = [fleets.start(clerk, f"file {number}", by=olga) for number in range(RUNS)]
    assert letters.llen("model") == RUNS, "one message for each run"
    letters.flushdb()
    fleet.start("tick", "model1")
    until(lambda: fleet.world.count() >= 4, "the first acts", every=0.01)
    assert letters.llen("model") > 0, "runs are queued that nobody drives yet"
    letters.flushdb()
    until(lambda: not Run.objects.live().exists(), "the end of all runs")
    assert set(Run.objects.values_list("state", "steps_done")) == {("completed", 2)}
    happened = {(act.run, act.text) for act in fleet.world.acts()}
    assert happened == {(str(run.pk), text) for run in runs for text in ("begun", "ended")}
