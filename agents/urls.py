"""The pages of the app `agents`."""

from django.urls import path

from agents.audit import views as audit
from agents.runs import agent_views as agents
from agents.runs import override_views as overrides
from agents.runs import starting_views as starting
from agents.runs import views as runs

app_name = "agents"
urlpatterns = [
    path("runs/", runs.runs, name="runs"),
    path("runs/new/", starting.new_run, name="run-new"),
    path("runs/announced/", runs.announced, name="announced"),
    path("runs/<uuid:run_id>/", runs.run, name="run"),
    path("runs/<uuid:run_id>/pause/", runs.pause, name="run-pause"),
    path("runs/<uuid:run_id>/resumption/", runs.resumption, name="run-resumption"),
    path("runs/<uuid:run_id>/cancellation/", runs.cancellation, name="run-cancellation"),
    path("runs/<uuid:run_id>/steps/<int:seq>/stop/", runs.stop, name="step-stop"),
    path("runs/<uuid:run_id>/pin/", runs.pin, name="run-pin"),
    path("runs/<uuid:run_id>/overrides/", overrides.run_overrides, name="run-overrides"),
    path("runs/<uuid:run_id>/overrides/reversion/", overrides.run_reversion, name="run-override-reversion"),
    path("agents/", agents.agents, name="agents"),
    path("agents/<slug:slug>/", agents.agent, name="agent"),
    path("agents/<slug:slug>/freeze/", agents.freeze, name="agent-freeze"),
    path("agents/<slug:slug>/thaw/", agents.thaw, name="agent-thaw"),
    path("agents/<slug:slug>/overrides/", overrides.agent_overrides, name="agent-overrides"),
    path("agents/<slug:slug>/overrides/reversion/", overrides.agent_reversion, name="agent-override-reversion"),
    path("audit/", audit.audit, name="audit"),
]
