"""Django's handle on the app `approvals`."""

# mypy: disable-error-code="import-untyped"
# Its plugin reads every installed app from here, and allauth has no types.
from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "approvals"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from approvals import receivers  # noqa: F401
