"""The pages of the app `approvals`."""

from django.urls import URLPattern, URLResolver, path

from approvals import claim_views, views
from approvals.bulk import views as bulk
from approvals.escalation import views as escalation
from approvals.learning import autonomy_views as earned
from approvals.learning import calibration_views as calibrating
from approvals.learning import views as learning
from approvals.outside import views as outside
from approvals.run_grants import views as run_grants
from approvals.sampling import views as samples

app_name = "approvals"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.approvals, name="approvals"),
    path("count/", views.count, name="count"),
    path("autonomy/", earned.autonomy, name="autonomy"),
    path("autonomy/<slug:slug>/", earned.agent_autonomy, name="agent-autonomy"),
    path("autonomy/proposals/<uuid:proposal_id>/ratification/", earned.ratification, name="ratification"),
    path("autonomy/proposals/<uuid:proposal_id>/refusal/", earned.refusal, name="refusal"),
    path("autonomy/grants/<uuid:autonomy_id>/end/", earned.demotion, name="demotion"),
    path("calibration/", calibrating.calibration, name="calibration"),
    path("calibration/<slug:slug>/", calibrating.agent_calibration, name="agent-calibration"),
    path("calibration/<slug:slug>/threshold/", calibrating.threshold, name="threshold"),
    path("reviewers/", learning.reviewers, name="reviewers"),
    path("escalation/", escalation.policies, name="escalation"),
    path("escalation/<slug:team>/", escalation.policy, name="escalation-policy"),
    path("escalation/<slug:team>/policy/", escalation.publish_policy, name="escalation-publish"),
    path("escalation/<slug:team>/calendar/", escalation.publish_calendar, name="calendar-publish"),
    path("asked/<slug:slug>/", outside.asked, name="agent-asked"),
    path("bulk/new/", bulk.new, name="bulk-new"),
    path("bulk/", bulk.create, name="bulk-create"),
    path("bulk/<uuid:bulk_id>/", bulk.job, name="bulk"),
    path("group/<uuid:approval_id>/", bulk.group, name="group"),
    path("labels/", learning.labels, name="labels"),
    path("labels.jsonl", learning.labels_jsonl, name="labels-jsonl"),
    path("run/<uuid:run_id>/grants/", run_grants.of_run, name="run-grants"),
    path("run/grants/<uuid:grant_id>/revocation/", run_grants.revocation, name="run-grant-revocation"),
    path("step/<uuid:run_id>/<int:seq>/", views.step, name="step"),
    path("samples/", samples.samples, name="samples"),
    path("samples/<slug:slug>/", samples.rate, name="sample-rate"),
    path("<uuid:approval_id>/", views.approval, name="approval"),
    path("<uuid:approval_id>/acknowledgement/", escalation.acknowledgement, name="acknowledgement"),
    path("<uuid:approval_id>/claim/", claim_views.claim, name="claim"),
    path("<uuid:approval_id>/delegation/", claim_views.delegation, name="delegation"),
    path("<uuid:approval_id>/claim/release/", claim_views.release, name="release"),
    path("<uuid:approval_id>/decision/", views.decision, name="decision"),
]
