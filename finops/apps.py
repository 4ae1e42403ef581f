"""Django's handle on the app `finops`."""

from django.apps import AppConfig


class FinopsConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "finops"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from finops import receivers  # noqa: F401
