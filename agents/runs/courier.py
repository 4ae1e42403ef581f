"""What became of the messages that ring for runs: whether the courier is there, and whether it has lost what it had.

Redis carries ids, never the truth. A mark among its keys tells a loss: emptied, or started again without what it had
kept, Redis has no mark, and whatever was rung before was rung in vain.
"""

from contextlib import closing

import redis
from django.conf import settings

from agents.models import Run

MARK = "cockpit:courier"


def laden() -> list[str] | None:
    """The queues that hold messages which no worker has taken yet; None while Redis is away: ringing for hundreds of
    runs one by one would take minutes then."""
    try:
        with closing(_client()) as client, client.pipeline(transaction=False) as asked:
            for queue in Run.Queue.values:
                asked.llen(queue)
            return [queue for queue, number in zip(Run.Queue.values, asked.execute(), strict=True) if number]
    except redis.RedisError:
        return None


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
