"""Which acts are taken: a share of each stratum of confidence, at random and yet never far from the share.

Pure functions. Drawing each act by itself would leave a rare stratum without any for long; taking every seventh could
be foreseen. So each is drawn with a chance that leans back towards the share as far as those before strayed from it.
"""

from collections.abc import Callable

UNKNOWN = "unknown"
EDGES = ((0.5, "below 50 %"), (0.8, "50 to 80 %"), (0.95, "80 to 95 %"))
TOP = "from 95 %"
STRATA = (UNKNOWN, *(name for _, name in EDGES), TOP)


def stratum(confidence: float | None) -> str:
    """The stratum of an act, by how sure its agent was."""
    if confidence is None:
        return UNKNOWN
    return next((name for edge, name in EDGES if confidence < edge), TOP)


def is_taken(seen: int, taken: int, share: float, chance: Callable[[], float]) -> bool:
    """Whether the next act is taken, when `taken` of `seen` were before it. `chance` gives a number in [0, 1)."""
    owed = share * (seen + 1) - taken
    return chance() < owed
