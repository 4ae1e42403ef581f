"""The pages of the app `finops`."""

from django.urls import path

from finops import views

app_name = "finops"
urlpatterns = [
    path("", views.costs, name="costs"),
    path("costs.csv", views.costs_csv, name="costs-csv"),
    path("costs.json", views.costs_json, name="costs-json"),
    path("agents/<slug:slug>/", views.agent_costs, name="agent-costs"),
]
