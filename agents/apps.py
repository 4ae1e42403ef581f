"""Django's handle on the app `agents`."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Connects the receivers once every model is loaded, and makes the workspace importable."""

    name = "agents"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from agents import receivers  # noqa: F401
        from agents.registry import workspace

        workspace.mount()
