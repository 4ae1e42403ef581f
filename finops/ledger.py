"""Booking: one entry per billed call, in the transaction that stores the call's outcome.

Apart from `models` because it is on the path of every model step and states its one statement itself: a row is inserted
without reading anything, and without waiting unless the same call is being booked this very moment.
"""

import json

from uuid_utils.compat import uuid7

from agents.contracts import BilledCall
from agents.runs import hotpath

BOOK = """
-- Booking the same call again, at any time and from anywhere, changes nothing.
INSERT INTO finops_ledgerentry (id, run_id, seq, attempt, agent_id, team_id, release_id, use_case, provider, model,
    tokens_in, tokens_out, cache_read, cache_write, amount, kind, basis, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)
ON CONFLICT (run_id, seq, attempt) DO NOTHING
RETURNING true
"""


def book(call: BilledCall) -> bool:
    """Write a call down, once; whether this was the first time."""
    usage, price = call.usage, call.price
    booked = hotpath.within(
        BOOK,
        [
            *(uuid7(), call.run_id, call.seq, call.attempt, call.agent_id, call.team_id, call.release_id),
            *(call.use_case, call.provider, call.model),
            *(usage.input, usage.output, usage.cache_read, usage.cache_write),
            *(price.amount, price.kind, json.dumps(price.basis, default=str), call.at),
        ],
    )
    return booked is not None
