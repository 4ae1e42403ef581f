"""Every door of the product. Each app names its own pages; the API stands under /api/v1."""

from django.urls import include, path

from cockpit import access, entering, fleet, health, live, metrics, security
from cockpit.api import api

urlpatterns = [
    path("", fleet.fleet, name="fleet"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/v1/", api.urls),
    path("events/", live.events, name="events"),
    path("login/", access.sign_in, name="login"),
    path("login/second/", entering.second_factor, name="second-factor"),
    path("login/challenge/", entering.challenge, name="passkey-challenge"),
    path("logout/", access.sign_out, name="logout"),
    path("me/", access.me, name="me"),
    path("me/password/", access.password, name="password"),
    path("me/security/", security.security, name="security"),
    path("me/security/app/", security.app, name="security-app"),
    path("me/security/passkey/", security.passkey, name="security-passkey"),
    path("me/security/passkey/options/", security.passkey_options, name="passkey-options"),
    path("me/security/codes/", security.codes, name="recovery-codes"),
    path("me/security/<int:factor_id>/removal/", security.removal, name="factor-removal"),
    path("me/theme/", access.theme, name="theme"),
    path("me/clock/", access.clock, name="clock"),
    path("", include("agents.urls")),
    path("approvals/", include("approvals.urls")),
    path("notifications/", include("approvals.notify.urls")),
    path("policies/", include("approvals.policies.urls")),
    path("costs/", include("finops.urls")),
]
