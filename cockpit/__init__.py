"""The shell of the product: settings, the Celery application, pages about the whole fleet."""

from cockpit.celery import app as celery_app

__all__ = ["celery_app"]
