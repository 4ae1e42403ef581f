"""Django's handle on the app `agents`."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "agents"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from agents import receivers  # noqa: F401
