"""The pages about notifications: one's own, one's settings, the links in messages, and the endpoints of teams."""

from django.urls import URLPattern, URLResolver, path

from approvals.notify import endpoint_views as endpoints
from approvals.notify import views

app_name = "notify"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.notifications, name="notifications"),
    path("count/", views.count, name="count"),
    path("seen/", views.seen, name="seen"),
    path("settings/", views.settings, name="settings"),
    path("open/<str:token>/", views.open_request, name="open"),
    path("endpoints/", endpoints.endpoints, name="endpoints"),
    path("endpoints/new/", endpoints.new_endpoint, name="endpoint-new"),
    path("endpoints/<uuid:endpoint_id>/", endpoints.endpoint, name="endpoint"),
    path("endpoints/<uuid:endpoint_id>/test/", endpoints.test, name="endpoint-test"),
    path("endpoints/<uuid:endpoint_id>/activation/", endpoints.activation, name="endpoint-activation"),
    path("endpoints/<uuid:endpoint_id>/removal/", endpoints.removal, name="endpoint-removal"),
]
