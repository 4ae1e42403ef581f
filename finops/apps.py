"""Django's handle on the app `finops`."""

# mypy: disable-error-code="import-untyped"
# Its plugin reads every installed app from here, and allauth has no types.
from django.apps import AppConfig


class FinopsConfig(AppConfig):
    """Connects the receivers once every model is loaded."""

    name = "finops"

    def ready(self) -> None:
        """Signals are heard in receivers.py only."""
        from finops import receivers  # noqa: F401
