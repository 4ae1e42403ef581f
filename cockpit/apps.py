"""Django's handle on the app `cockpit`."""

import atexit

from django.apps import AppConfig
from django.db import connections


class CockpitConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "cockpit"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from cockpit import receivers  # noqa: F401

        atexit.register(close_pools)


def close_pools() -> None:
    """End the pools' threads while threads can still end: a pool left open keeps Python 3.13 from exiting, for ever."""
    for connection in connections.all():
        if pool := getattr(connection, "pool", None):
            pool.close()
