"""Tests of a whole cockpit that lives: `manage.py up` with server, workers and tick, watched through a browser."""
