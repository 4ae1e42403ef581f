"""The pages of policies."""

from django.urls import URLPattern, URLResolver, path

from approvals.policies import views

app_name = "policies"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.policies, name="policies"),
    path("permissions/", views.matrix, name="permissions"),
    path("what-if/", views.what_if, name="what-if"),
    path("agents/<slug:slug>/", views.agent, name="agent"),
]
