"""Addresses inside our own network are not called, whatever form they have, and the secret of one is nobody else's."""

from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import pytest

from agents import errors
from agents.models import Team
from approvals.notify import addresses, envelopes, sealing
from approvals.notify.models import Endpoint

INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_lies_inside_is_refused(address: str) -> None:
    assert not addresses.may_call(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_what_lies_outside_is_called_with_tls_only(address: str) -> None:
    assert addresses.may_call(ip_address(address))
    assert not addresses.may_call(ip_address(address), plain=True)


def test_networks_of_the_settings_may_be_called(settings: Any) -> None:
    settings.NOTIFY_NETWORKS = [ip_network("10.0.0.0/8")]
    assert addresses.may_call(ip_address("10.9.9.9"), plain=True)
    assert addresses.may_call(ip_address("::ffff:10.9.9.9"))
    assert not addresses.may_call(ip_address("192.168.1.1"))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.com/hook",
        "ftp://example.com/",
        "http://example.com/hook",
        "https://",
        "https://user:pass@example.com/",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
    ],
)
def test_an_address_that_cannot_be_right_is_refused_when_it_is_entered(address: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        addresses.parsed(address)
    assert refusal.value.field == "address"


def test_a_name_that_points_inside_is_refused_when_it_is_called() -> None:
    parts = urlsplit("https://localhost/")
    with pytest.raises(addresses.Refused, match="COCKPIT_NOTIFY_NETWORKS"):
        addresses.resolved(parts)


def test_a_secret_opens_for_its_own_row_and_with_its_own_key(settings: Any) -> None:
    settings.SECRETS_KEY = "first"
    sealed = envelopes.seal("whsec_x", of="a")
    assert "whsec" not in sealed
    assert envelopes.unseal(sealed, of="a") == "whsec_x"
    settings.SECRETS_KEY = "second first"
    assert envelopes.unseal(sealed, of="a") == "whsec_x", "keys can be replaced"
    for moved, row, keys in [(sealed, "b", "first"), (sealed[:-4] + "AAA=", "a", "first"), (sealed, "a", "second")]:
        settings.SECRETS_KEY = keys
        with pytest.raises(envelopes.Unreadable):
            envelopes.unseal(moved, of=row)


@pytest.mark.django_db
def test_a_secret_may_stand_in_a_variable_or_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    team = Team.objects.create(slug="customer-care", name="Customer care")
    endpoint = Endpoint(kind="pagerduty", team=team, secret_env="NOTIFY_CUSTOMER_CARE__OPS")
    with pytest.raises(sealing.NoSecret, match="NOTIFY_CUSTOMER_CARE__OPS"):
        sealing.secret_of(endpoint)
    monkeypatch.setenv("NOTIFY_CUSTOMER_CARE__OPS", "in-the-environment")
    assert sealing.secret_of(endpoint) == "in-the-environment"
    (tmp_path / "key").write_text("in-a-file\n")
    monkeypatch.setenv("NOTIFY_CUSTOMER_CARE__OPS_FILE", str(tmp_path / "key"))
    assert sealing.secret_of(endpoint) == "in-a-file"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("slug", "named"),
    [
        ("care", "NOTIFY_FINANCE__OPS"),
        ("care", "NOTIFY_OPS"),
        ("care", "NOTIFY_CARE__"),
        pytest.param("care", "NOTIFY_CARE__NORTH__OPS", id="of a team care--north"),
        pytest.param("care", "NOTIFY_CARE___OPS", id="of a team care-"),
    ],
)
def test_no_team_sends_what_a_variable_of_another_holds(slug: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(named, "not-yours")
    endpoint = Endpoint(kind="opsgenie", team=Team.objects.create(slug=slug, name="Care"), secret_env=named)
    with pytest.raises(sealing.NoSecret, match="of Care is a variable such as NOTIFY_CARE__OPS"):
        sealing.secret_of(endpoint)


@pytest.mark.django_db
def test_a_variable_that_might_be_of_two_teams_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_CARE_NORTH__OPS", "whose?")
    one, other = (Team.objects.create(slug=slug, name=slug) for slug in ("care-north", "CARE_north"))
    for team in (one, other):
        with pytest.raises(sealing.NoSecret, match="could be those of"):
            sealing.secret_of(Endpoint(kind="opsgenie", team=team, secret_env="NOTIFY_CARE_NORTH__OPS"))


def test_a_fresh_secret_is_one_that_receivers_take() -> None:
    sealing.check("webhook", sealing.fresh())
    assert sealing.fresh() != sealing.fresh()
    for wrong in ("whsec_", "whsec_c2hvcnQ=", "secret", "whsec_ü" * 8, ""):
        with pytest.raises(errors.Invalid):
            sealing.check("webhook", wrong)
