"""Every door of the product. Each app names its own pages; the API stands under /api/v1."""

from django.urls import include, path

from cockpit import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("agents.urls")),
    path("approvals/", include("approvals.urls")),
    path("costs/", include("finops.urls")),
]
