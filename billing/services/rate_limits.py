"""Calls a minute per key, counted in Redis. Metering never waits for Redis: when it is away, no limit applies."""

import logging
import math
import time
from functools import cache
from typing import Any

from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from billing.events import Caller
from config.base.errors import DomainError

# After Redis failed to answer, calls go on without limits for this long before it is asked again.
PAUSE_SECONDS = 2.0

_asked_again_at = 0.0

log = logging.getLogger(__name__)


class RateLimited(DomainError):
    """Wait as long as Retry-After says, then send the same call again."""

    code = "rate_limited"


def spend_one(caller: Caller) -> None:
    """Count one call of the caller's key. Raises RateLimited when its minute is used up."""
    global _asked_again_at  # noqa: PLW0603 - a Redis that hangs must cost one call its timeout, not every call
    if caller.rate_limit_per_minute is None or time.monotonic() < _asked_again_at:
        return
    limit = RateLimitItemPerMinute(caller.rate_limit_per_minute)
    try:
        limiter = _limiter()
        allowed = limiter.hit(limit, "api-key", str(caller.api_key_id))
        free_at = 0 if allowed else limiter.get_window_stats(limit, "api-key", str(caller.api_key_id)).reset_time
    except RedisError as error:
        _asked_again_at = time.monotonic() + PAUSE_SECONDS
        log.warning("rate limits are off while Redis is away: %s", error)
        return
    if not allowed:
        raise RateLimited(
            f"This key may make {caller.rate_limit_per_minute} calls a minute. Slow down, or have the limit raised.",
            retry_after=max(1, math.ceil(free_at - time.time())),
        )


@cache
def _limiter() -> MovingWindowRateLimiter:
    url = settings.REDIS_URL.replace("unix://", "redis+unix://")
    options: dict[str, Any] = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "retry": Retry(NoBackoff(), 0)}
    return MovingWindowRateLimiter(RedisStorage(url, **options))
