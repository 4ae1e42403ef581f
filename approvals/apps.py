"""Django's handle on the app `approvals`."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "approvals"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from approvals import receivers  # noqa: F401
