"""The pages of the app `approvals`."""

from django.urls import URLPattern, URLResolver, path

from approvals import views

app_name = "approvals"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.approvals, name="approvals"),
    path("count/", views.count, name="count"),
    path("step/<uuid:run_id>/<int:seq>/", views.step, name="step"),
    path("<uuid:approval_id>/", views.approval, name="approval"),
    path("<uuid:approval_id>/decision/", views.decision, name="decision"),
]
