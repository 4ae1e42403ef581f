"""Commands of `manage.py`, named as they are typed."""
