"""The ASGI entry point: `granian --interface asginl cockpit.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")

application = get_asgi_application()
