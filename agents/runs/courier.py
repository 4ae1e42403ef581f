"""What became of the messages that ring for runs: whether the courier is there, and whether it has lost what it had.

Redis carries ids, never the truth. A mark among its keys tells a loss: emptied, or started again without what it had
kept, Redis has no mark, and whatever was rung before was rung in vain.
"""

from contextlib import closing

import redis
from django.conf import settings

MARK = "cockpit:courier"


def is_there() -> bool:
    """Whether Redis answers. Ringing for hundreds of runs one by one while it is away takes minutes."""
    try:
        with closing(_client()) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def has_lost_everything() -> bool:
    """Whether Redis has forgotten since this was last asked, by anybody; also the first time. False while it is away:
    then nobody knows yet."""
    try:
        with closing(_client()) as client:
            return bool(client.set(MARK, "keeps what it was given", nx=True))
    except redis.RedisError:
        return False


def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=2)
