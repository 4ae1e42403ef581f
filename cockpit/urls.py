"""Every door of the product. Each app names its own pages; the API stands under /api/v1."""

from django.urls import include, path

urlpatterns = [
    path("", include("agents.urls")),
    path("approvals/", include("approvals.urls")),
    path("costs/", include("finops.urls")),
]
