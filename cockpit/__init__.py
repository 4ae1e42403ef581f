"""The shell of the product: settings, the Celery application, pages about the whole fleet."""

from cockpit.celery import app as celery_app

VERSION = "0.1.0"

__all__ = ["VERSION", "celery_app"]
