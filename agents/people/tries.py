"""Counting wrong tries at a secret: after a few of them one has to wait. Counts live in Redis, for all web servers.

Without Redis nobody is locked out: operators must be able to see the trouble.
"""

import logging

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

MOST = 5
FORGET_AFTER = 5 * 60


def are_used_up(key: str) -> bool:
    """Whether there were too many wrong tries lately."""
    try:
        return int(cache.get(key, 0)) >= MOST
    except RedisError as error:
        logger.warning("Sign-ins are not limited: %s", error)
        return False


def count(key: str) -> None:
    """One more wrong try."""
    try:
        cache.add(key, 0, FORGET_AFTER)
        cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: the count ran out between the two calls
        logger.warning("A wrong try was not counted: %s", error)


def forget(key: str) -> None:
    """The right secret ends the count."""
    try:
        cache.delete(key)
    except RedisError as error:
        logger.warning("The count of wrong tries was kept: %s", error)
