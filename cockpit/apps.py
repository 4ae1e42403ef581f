"""Django's handle on the app `cockpit`."""

from django.apps import AppConfig


class CockpitConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "cockpit"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from cockpit import receivers  # noqa: F401
