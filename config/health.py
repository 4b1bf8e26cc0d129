"""Whether this process lives, whether it can serve, and what it counts."""

from functools import cache

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis import Redis, RedisError

from billing.queries import stripe_events
from config.base import problem
from config.base.http import client_address

# Beat looks at the inbox every 15 seconds.
_LATE_SECONDS = 120
_LOOPBACK = {"127.0.0.1", "::1", ""}


@require_safe
def healthz(_: HttpRequest) -> HttpResponse:
    """Liveness: the process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_: HttpRequest) -> HttpResponse:
    """Readiness: the database answers and is migrated. Redis and the queues of Stripe's events are reported, and stop nothing."""
    checks = {"database": _database(), "redis": _redis()}
    is_ready = checks["database"] == "ok"
    if is_ready:
        checks |= _inbox()
    return JsonResponse({"status": "ok" if is_ready else "unavailable", "checks": checks}, status=200 if is_ready else 503)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus: to whoever holds `METRICS_TOKEN`; without one, to this machine, unless a proxy on it passed the call on."""
    token = settings.METRICS_TOKEN
    if token:
        is_allowed = constant_time_compare(str(request.META.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer "), token)
    else:
        is_allowed = client_address(request) in _LOOPBACK and "HTTP_X_FORWARDED_FOR" not in request.META
    if is_allowed:
        return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
    detail = "Metrics are for this machine, or for whoever sends METRICS_TOKEN as a bearer token."
    return problem.respond(request, code="not_found", status=404, detail=detail)


def _database() -> str:
    try:
        missing = _our_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    except Error:
        connection.close()
        return "away"
    return f"{len(missing)} migrations are missing: run manage.py migrate" if missing else "ok"


@cache
def _our_migrations() -> frozenset[tuple[str, str]]:
    """What this code needs: read from its files once, not with every probe."""
    return frozenset(MigrationLoader(None).disk_migrations)


def _inbox() -> dict[str, str]:
    """Say of each queue of Stripe's events whether somebody works it off."""
    try:
        waiting = stripe_events.waiting()
    except Error:
        connection.close()
        return {}
    now = timezone.now()
    return {str(queue): _waits(queue, int((now - (one.oldest_at or now)).total_seconds())) for queue, one in waiting.items()}


def _waits(queue: str, seconds: int) -> str:
    if seconds < _LATE_SECONDS:
        return "ok"
    return f"the oldest event waits for {seconds} s: does a worker run for the queue {queue}?"


def _redis() -> str:
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=None) as redis:
            redis.ping()
    except RedisError:
        return "away"
    return "ok"
