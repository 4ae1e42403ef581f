"""`GET /metrics`: how the whole installation is, in the words of Prometheus and OpenMetrics.

Every part is asked for by itself, within a second: where one cannot be told, its series are absent and
`cockpit_metrics_part_up` says which. Closed to strangers, since it names teams, agents and models of everybody.
`docs/operations.md` lists the series.
"""

import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence

import redis
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from agents import errors
from agents.models import Permission
from agents.people.api import Credentials
from cockpit import VERSION, health, series
from cockpit.api import Unavailable, door

log = logging.getLogger(__name__)

LIMITS = "SET LOCAL statement_timeout = '1s'; SET LOCAL jit = off"

Part = tuple[str, Callable[[], Sequence[Metric]]]
PARTS: tuple[Part, ...] = (
    ("runs", series.runs),
    ("agents", series.agents),
    ("approvals", series.approvals),
    ("models", series.models),
    ("breakers", series.breakers),
    ("processes", series.processes),
    ("clock", series.clock),
    ("audit", series.audit),
    ("totals", series.totals),
)


@door
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Every series there is, in the format that the caller prefers."""
    figures = Figures()
    _admit(request, figures)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(figures), content_type=content_type)


def _admit(request: HttpRequest, figures: "Figures") -> None:
    """Let in who may see every team, and everybody where the settings say so.

    Being on the same machine opens nothing: behind a proxy, everybody is.
    """
    if settings.METRICS_OPEN:
        return
    if not figures.has_database:
        raise Unavailable()
    everywhere, _ = Credentials()(request).places(Permission.SEE)
    if not everywhere:
        raise errors.Forbidden("These figures are about every team; they take a role in every team.")


class Figures(Collector):
    """What is so at this moment."""

    def __init__(self) -> None:
        self.database = health.timed(health.ask_database)
        self.has_database = bool(self.database["ok"])

    def collect(self) -> Iterator[Metric]:
        """Every family: what can be told without the database first."""
        yield series.info(
            "cockpit_build", "The version that answers.", version=VERSION, python=platform.python_version()
        )
        yield series.gauge("cockpit_database_up", "Whether PostgreSQL answers.", {(): self.has_database})
        yield series.gauge("cockpit_redis_up", "Whether Redis answers.", {(): health.timed(health.ask_redis)["ok"]})
        went: dict[tuple[str, ...], float] = {}
        took: dict[tuple[str, ...], float] = {}
        for name, part in PARTS if self.has_database else ():
            began = time.perf_counter()
            families = _ask(name, part)
            went[(name,)], took[(name,)] = families is not None, time.perf_counter() - began
            yield from families or ()
        yield series.gauge("cockpit_metrics_part_up", "Whether this part of the page could be told.", went, "part")
        yield series.gauge("cockpit_metrics_part_seconds", "How long it took to find out.", took, "part")


def _ask(name: str, part: Callable[[], Sequence[Metric]]) -> Sequence[Metric] | None:
    """The families of one part; None where the database or Redis does not say."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(LIMITS)
            return part()
    except (DatabaseError, redis.RedisError) as error:
        log.warning("%s cannot be told: %s", name, error)
        return None
