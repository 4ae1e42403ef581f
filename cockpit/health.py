"""Whether this cockpit lives and can do its work: two doors for load balancers and supervisors.

Open to everyone, so they say how old each sign of life and the oldest unsealed audit entry are, and nothing else.
`/healthz` asks nobody: a web server that is restarted because its database is away helps no one. `/readyz` asks
everybody.
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agents.audit import sealing
from agents.models import Worker

ALIVE_S = 15.0
"""A process that has shown no sign of life for this long is not counted on: its runs have moved to others."""
REMEMBERED_S = 120.0
"""A silent process is still listed for this long, so that its death can be seen."""
PATIENCE_S = 2

Part = dict[str, Any]


@never_cache
@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@login_not_required
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Each part on its own: 200 when all of them work, 503 otherwise."""
    parts = examine()
    is_ready = all(part["ok"] for part in parts.values())
    return JsonResponse({"ready": is_ready, "parts": parts}, status=200 if is_ready else 503)


def examine() -> dict[str, Part]:
    """The state of every part: `ok`, and how it was found. Ages and durations are in seconds and milliseconds."""
    database = timed(ask_database)
    signs = _signs_of_life() if database["ok"] else {}
    return {
        "database": database,
        "redis": timed(ask_redis),
        "workers": _part(signs.get(Worker.Kind.WORKER, {})),
        "tick": _part(signs.get(Worker.Kind.TICK, {})),
        "audit": (_audit() if database["ok"] else None) or {"ok": False, "unsealed": None, "oldest_unsealed_s": None},
    }


def ask_database() -> None:
    """An error where PostgreSQL does not answer, soon."""
    # Not through the pool: a pool would wait for its own timeout, and keep connections to a server that is gone.
    with psycopg.connect(settings.DATABASE_URL, connect_timeout=PATIENCE_S) as link:
        link.execute("SELECT 1")


def ask_redis() -> None:
    """An error where Redis does not answer, soon."""
    patience = {"socket_timeout": PATIENCE_S, "socket_connect_timeout": PATIENCE_S}
    with redis.Redis.from_url(settings.REDIS_URL, **patience) as link:
        link.ping()


def timed(ask: Callable[[], None]) -> Part:
    """Whether it answered, and how fast or with which error."""
    started = time.perf_counter()
    try:
        ask()
    except (psycopg.Error, redis.RedisError, OSError) as error:
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "answered_in_ms": round((time.perf_counter() - started) * 1000, 1)}


def _signs_of_life() -> dict[str, dict[str, float]]:
    """For each kind of process: the seconds since each of them was last seen."""
    now = timezone.now()
    signs: dict[str, dict[str, float]] = {}
    try:
        for kind, name, seen_at in Worker.objects.order_by("name").values_list("kind", "name", "seen_at"):
            if (age := (now - seen_at).total_seconds()) < REMEMBERED_S:
                signs.setdefault(kind, {})[name] = round(max(age, 0.0), 1)
    except DatabaseError:  # not migrated yet
        return {}
    return signs


def _audit() -> Part | None:
    try:
        standing = sealing.standing()
    except DatabaseError:  # not migrated yet
        return None
    age = standing.oldest_unsealed_age_s
    return {
        "ok": not standing.is_late,
        "unsealed": standing.unsealed,
        "oldest_unsealed_s": None if age is None else round(age, 1),
    }


def _part(ages: dict[str, float]) -> Part:
    return {
        "ok": any(age < ALIVE_S for age in ages.values()),
        "alive": sum(age < ALIVE_S for age in ages.values()),
        "last_sign_of_life_s": min(ages.values(), default=None),
        "each": ages,
    }
