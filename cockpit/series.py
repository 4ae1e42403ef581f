"""The series of `/metrics`, part by part: names and units as Prometheus wants them, values from whoever knows them.

Queues, states and what runs wait for are always there, at zero where nothing is: an alert on an absent series never
fires. Counters come from totals that only rise, kept by the rollup.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from agents.audit import sealing
from agents.llm import breakers as circuits
from agents.llm.circuit import State
from agents.models import RUN_BOUNDS, Run, RunTotal, StepTotal
from agents.runs import gauges
from agents.runs.evidence import Totals
from approvals import queue

Values = Mapping[Any, float]
"""Tuples with a word for each label, and the value."""

MOST_WORDS = 200
"""So many classes of errors have a series of their own, those met first; the rest is `other`."""
OTHER = "other"

_LES = [*map(floatToGoString, RUN_BOUNDS), "+Inf"]


def gauge(name: str, says: str, values: Values, *labels: str) -> Metric:
    """Something that rises and falls."""
    family = GaugeMetricFamily(name, says, labels=labels)
    for words, value in values.items():
        family.add_metric(words, float(value))
    return family


def counter(name: str, says: str, values: Values, *labels: str) -> Metric:
    """Something that only rises; `_total` is added to its name."""
    family = CounterMetricFamily(name, says, labels=labels)
    for words, value in values.items():
        family.add_metric(words, float(value))
    return family


def info(name: str, says: str, **words: str) -> Metric:
    """What does not change while the process lives; `_info` is added to its name."""
    return InfoMetricFamily(name, says, value=words)


def runs() -> list[Metric]:
    """What stands in queues, what waits and for what."""
    rows = gauges.standing()
    queued = [row for row in rows if row.state == Run.State.QUEUED and not row.is_frozen]
    frozen = [row for row in rows if row.state == Run.State.QUEUED and row.is_frozen]
    waiting = [row for row in rows if row.state == Run.State.WAITING]
    starved = [row for row in waiting if row.waits == Run.Waits.CAPACITY]
    queues, reasons = list(Run.Queue), [*filter(None, Run.Waits.values), "unknown"]
    states = [state for state in Run.State if state not in Run.ENDED]
    return [
        gauge(
            "cockpit_queue_depth", "Queued runs that a worker could take now.", _count(queued, "queue", queues), "queue"
        ),
        gauge("cockpit_queue_oldest_seconds", "Age of the first of them.", _oldest(queued, "queue", queues), "queue"),
        gauge("cockpit_queue_frozen", "Queued runs of frozen agents.", _count(frozen, "queue", queues), "queue"),
        gauge("cockpit_runs", "Runs that have not ended, by state.", _count(rows, "state", states), "state"),
        gauge(
            "cockpit_runs_without_driver",
            "Runs that say they are driven while their lease is over.",
            {(): sum(row.driverless for row in rows)},
        ),
        gauge("cockpit_runs_waiting", "Waiting runs, by what they wait for.", _count(waiting, "waits", reasons), "for"),
        gauge(
            "cockpit_runs_waiting_oldest_seconds",
            "Age of the longest such wait.",
            _oldest(waiting, "waits", reasons),
            "for",
        ),
        gauge(
            "cockpit_runs_waiting_capacity",
            "Runs that wait for a model to have capacity.",
            _count(starved, "queue", queues),
            "queue",
        ),
    ]


def _count(rows: Iterable[gauges.Standing], by: str, words: Iterable[str]) -> Values:
    found = dict.fromkeys(words, 0)
    for row in rows:
        word = _word(row, by)
        found[word] = found.get(word, 0) + row.number
    return {(word,): count for word, count in found.items()}


def _oldest(rows: Iterable[gauges.Standing], by: str, words: Iterable[str]) -> Values:
    found = dict.fromkeys(words, 0.0)
    for row in rows:
        word = _word(row, by)
        found[word] = max(found.get(word, 0.0), row.oldest)
    return {(word,): age for word, age in found.items()}


def _word(row: gauges.Standing, by: str) -> str:
    return getattr(row, by) or "unknown"


def agents() -> list[Metric]:
    """Unfinished runs of the busiest agents."""
    rows = gauges.busiest()
    return [
        gauge("cockpit_agents_busy", "Agents with unfinished runs.", {(): rows[0].agents if rows else 0}),
        gauge(
            "cockpit_agent_runs",
            f"Unfinished runs of the {gauges.MOST_AGENTS} busiest agents.",
            {(row.agent, row.state): row.number for row in rows},
            *("agent", "state"),
        ),
    ]


def approvals() -> list[Metric]:
    """What people are asked."""
    rows = {(row.kind, row.team): row for row in queue.standing()}
    labels = ("kind", "team")
    return [
        gauge(
            "cockpit_approvals_open", "Open questions to people.", {key: row.open for key, row in rows.items()}, *labels
        ),
        gauge(
            "cockpit_approvals_overdue",
            "Open questions that are late.",
            {key: row.overdue for key, row in rows.items()},
            *labels,
        ),
        gauge(
            "cockpit_approvals_oldest_seconds",
            "Age of the oldest open question.",
            {key: row.oldest_s for key, row in rows.items()},
            *labels,
        ),
    ]


def models() -> list[Metric]:
    """Model calls under way."""
    rows = {(row.provider, row.model): row for row in gauges.in_flight()}
    labels = ("provider", "model")
    return [
        gauge(
            "cockpit_model_calls_in_flight",
            "Calls that models are working on.",
            {key: row.number for key, row in rows.items()},
            *labels,
        ),
        gauge(
            "cockpit_model_calls_in_flight_oldest_seconds",
            "Age of the oldest such call.",
            {key: max(row.oldest or 0, 0) for key, row in rows.items()},
            *labels,
        ),
    ]


def breakers() -> list[Metric]:
    """Circuit breakers: one series for each state it may be in, 1 where it is."""
    values: dict[tuple[str, str, str], float] = {}
    for one in circuits.states():
        name = one.key.removeprefix(circuits.TOOL)
        kind = "model" if name == one.key else "tool"
        values |= {(kind, name, str(state)): one.state == state for state in State}
    return [
        gauge("cockpit_breaker_state", "Circuit breakers: 1 for the state one is in.", values, "kind", "name", "state")
    ]


def processes() -> list[Metric]:
    """Who is alive, and how much they can hold."""
    rows = gauges.processes()
    alive = Counter({("worker",): 0, ("tick",): 0})
    for row in rows:
        alive[(row.kind,)] += row.number
    workers = {(row.queues,): row for row in rows if row.kind == "worker"}
    slots, driving = "Runs that living workers can drive at once.", "Runs that living workers drive."
    says = "Processes that showed a sign of life in the last 15 seconds."
    return [
        gauge("cockpit_processes_alive", says, alive, "kind"),
        gauge("cockpit_worker_slots", slots, {key: row.slots for key, row in workers.items()}, "queues"),
        gauge("cockpit_worker_driving", driving, {key: row.driving for key, row in workers.items()}, "queues"),
    ]


def clock() -> list[Metric]:
    """How far the tick is behind. Where there never was one, its age is not known."""
    late, jobs = gauges.lateness(), {(one.name,): one for one in gauges.jobs()}
    tick, counted = "Since the last sign of life of a tick.", "Since the counters of this page were last added to."
    age, took = "Since the tick last did this job.", "How long it took the last time."
    return [
        gauge("cockpit_timer_late_seconds", "How overdue the first timer is.", {(): late.timer or 0}),
        gauge("cockpit_tick_age_seconds", tick, {} if late.tick is None else {(): late.tick}),
        gauge("cockpit_totals_age_seconds", counted, {} if late.figures is None else {(): late.figures}),
        gauge("cockpit_tick_job_age_seconds", age, {key: one.age for key, one in jobs.items()}, "job"),
        gauge(
            "cockpit_tick_job_late_seconds",
            "How late it was the last time.",
            {key: one.late for key, one in jobs.items()},
            "job",
        ),
        gauge("cockpit_tick_job_duration_seconds", took, {key: one.took for key, one in jobs.items()}, "job"),
        counter(
            "cockpit_tick_job_failures",
            "How often it failed.",
            {key: one.failures for key, one in jobs.items()},
            "job",
        ),
    ]


def audit() -> list[Metric]:
    """How far the audit log is sealed."""
    now = sealing.standing()
    waits = f"Entries without a seal, counted to {sealing.MOST_COUNTED}."
    return [
        counter("cockpit_audit_sealed_entries", "Entries under a seal.", {(): now.sealed}),
        gauge("cockpit_audit_unsealed_entries", waits, {(): now.unsealed}),
        gauge("cockpit_audit_unsealed_age_seconds", "Age of the oldest.", {(): now.oldest_unsealed_age_s or 0}),
    ]


def totals() -> list[Metric]:
    """What has ever been done: counters that survive restarts and retention."""
    return [*_step_totals(list(StepTotal.objects.order_by("pk"))), *_run_totals(list(RunTotal.objects.order_by("pk")))]


def _step_totals(rows: list[StepTotal]) -> list[Metric]:
    steps: Counter[tuple[str, ...]] = Counter()
    tokens: Counter[tuple[str, ...]] = Counter()
    cost: defaultdict[tuple[str, ...], float] = defaultdict(float)
    unpriced: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        steps[row.kind, row.state] += row.count
        if row.kind == "model":
            tokens[row.provider, row.model, "in"] += row.tokens_in
            tokens[row.provider, row.model, "out"] += row.tokens_out
            cost[row.provider, row.model] += float(row.cost)
            unpriced[row.provider, row.model] += row.unpriced
    errors = _errors((row.kind, row.error_class, row.count) for row in rows)
    model = ("provider", "model")
    return [
        counter("cockpit_steps", "Steps that closed, by kind and end.", steps, "kind", "state"),
        counter("cockpit_step_errors", "Steps that closed with an error, by its class.", errors, "kind", "error"),
        _histogram("cockpit_step_duration_seconds", "From start to end.", "kind", rows),
        counter(
            "cockpit_model_tokens", "Tokens in and out of models, as told or estimated.", tokens, *model, "direction"
        ),
        counter("cockpit_model_cost_usd", "Cost of model calls that have a price.", cost, *model),
        counter("cockpit_model_calls_unpriced", "Model calls without a known price.", unpriced, *model),
    ]


def _run_totals(rows: list[RunTotal]) -> list[Metric]:
    ended: Counter[tuple[str, ...]] = Counter({(state,): 0 for state in sorted(Run.ENDED)})
    for row in rows:
        ended[(row.state,)] += row.count
    failures = _errors((row.state, row.failure_class, row.count) for row in rows if row.state == Run.State.FAILED)
    return [
        counter("cockpit_runs_ended", "Runs that ended, by how.", ended, "state"),
        counter(
            "cockpit_run_failures",
            "Failed runs, by the class of their failure.",
            {(why,): n for (_, why), n in failures.items()},
            "failure",
        ),
        _histogram("cockpit_run_duration_seconds", "From first start to end.", "state", rows),
    ]


def _errors(rows: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    """Counts by error, in the order in which they were first met: which ones are `other` must never change."""
    counts: Counter[tuple[str, str]] = Counter()
    named: set[str] = set()
    for of, error, count in rows:
        if error and (error in named or len(named) < MOST_WORDS):
            named.add(error)
            counts[of, error] += count
        elif error:
            counts[of, OTHER] += count
    return dict(counts)


def _histogram(name: str, says: str, by: str, rows: Iterable[Totals]) -> Metric:
    """Durations, summed over all rows with the same word under `by`."""
    buckets: dict[str, list[int]] = {}
    sums: Counter[str] = Counter()
    for row in rows:
        word = getattr(row, by)
        before = buckets.get(word, [0] * len(_LES))
        buckets[word] = [mine + more for mine, more in zip(before, row.seconds, strict=True)]
        sums[word] += row.seconds_sum  # type: ignore[assignment]  # a Counter of seconds
    family = HistogramMetricFamily(name, says, labels=[by])
    for word, counts in buckets.items():
        family.add_metric([word], list(zip(_LES, accumulate(counts), strict=True)), sums[word])
    return family
