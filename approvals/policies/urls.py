"""The pages of policies."""

from django.urls import URLPattern, URLResolver, path

from approvals.policies import changing_views, publishing_views, views

app_name = "policies"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.policies, name="policies"),
    path("new/", publishing_views.publication, name="publication"),
    path("roll-back/", changing_views.roll_back, name="roll-back"),
    path("<int:number>/trial/", changing_views.trial, name="trial"),
    path("<int:number>/enforcement/", changing_views.enforcement, name="enforcement"),
    path("permissions/", views.matrix, name="permissions"),
    path("what-if/", views.what_if, name="what-if"),
    path("agents/<slug:slug>/", views.agent, name="agent"),
]
