"""The Celery application. It carries ids of runs to workers; PostgreSQL decides who drives what."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")
# `prepare` has checked this code. Where each worker checks it again, all pages and doors are loaded before a run goes
# on: a quarter of the time that it takes to be back after a crash.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("cockpit")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["agents", "approvals"])
