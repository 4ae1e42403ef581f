"""The pages of the app `finops`."""

from django.urls import URLPattern, URLResolver

app_name = "finops"
urlpatterns: list[URLPattern | URLResolver] = []
