"""Through which server mail leaves is one address; one that cannot be right is refused, without its password."""

from pathlib import Path

import pytest

from cockpit import environment, mailing

HERE = Path("/data/mail")


def test_without_an_address_mail_is_written_into_a_folder() -> None:
    found = mailing.read("", folder=HERE)
    assert (found.backend.rsplit(".", 2)[1], found.folder) == ("filebased", "/data/mail")
    assert mailing.read("file:///var/out%20box", folder=HERE).folder == "/var/out box"
    assert "console" in mailing.read("console:", folder=HERE).backend


@pytest.mark.parametrize(
    ("url", "port", "starts_tls", "is_tls"),
    [
        ("smtp://me%40x:p%2Fw@mail.example.com", 587, True, False),
        ("smtps://me%40x:p%2Fw@mail.example.com", 465, False, True),
        ("smtp+plain://me%40x:p%2Fw@mail.example.com:1025", 1025, False, False),
    ],
)
def test_a_server_is_spoken_to_as_its_scheme_says(url: str, port: int, starts_tls: bool, is_tls: bool) -> None:
    found = mailing.read(url, folder=HERE)
    assert (found.host, found.port, found.user, found.password) == ("mail.example.com", port, "me@x", "p/w")
    assert (found.starts_tls, found.is_tls) == (starts_tls, is_tls)


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://u:hunter2@h/", "smtp://", "smtp://u:hunter2@h:port", "file:"]
)
def test_what_cannot_be_right_is_refused(url: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        mailing.read(url, folder=HERE)
    assert "EMAIL_URL is smtp://" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "everywhere", "10.0.0.0/8;1.1.1.1"])
def test_networks_that_are_none_are_refused_by_name(text: str) -> None:
    with pytest.raises(SystemExit, match="COCKPIT_NOTIFY_NETWORKS"):
        environment.networks("COCKPIT_NOTIFY_NETWORKS", text)
    assert [str(one) for one in environment.networks("x", "10.0.0.0/8, fd00::/8,")] == ["10.0.0.0/8", "fd00::/8"]


def test_a_number_that_is_none_is_refused_by_name() -> None:
    assert environment.number("COCKPIT_LINK_HOURS", "24") == 24
    for text in ("0", "-1", "soon", "1.5", ""):
        with pytest.raises(SystemExit, match="COCKPIT_LINK_HOURS"):
            environment.number("COCKPIT_LINK_HOURS", text)
