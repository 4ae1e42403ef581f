"""Which addresses may be called: anybody may name one, so none that lies inside our own network is, unless allowed.

A name is checked when it is called, not when it is entered: it may point elsewhere by then. The connection goes to
the very address that was checked.
"""

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from agents import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
PORTS = {"https": 443, "http": 80}


class Refused(Exception):
    """The address is none that may be called; the message says why."""


def parsed(address: str, *, field: str = "address") -> SplitResult:
    """An address as a person enters it, or one sentence about what is wrong with it."""
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise errors.Invalid(f"`{field}` {address!r} is no web address.", field=field) from None
    if parts.scheme not in PORTS or not host or port == 0 or any(mark.isspace() for mark in address):
        raise errors.Invalid(
            f"`{field}` must be an address such as https://example.com/hook, not {address!r}.", field=field
        )
    if parts.username or parts.password or parts.fragment:
        raise errors.Invalid(f"`{field}` may hold neither a name nor a password nor a fragment.", field=field)
    if parts.scheme == "http" and not settings.NOTIFY_NETWORKS:
        raise errors.Invalid(f"`{field}` must begin with https://: what is sent there is nobody else's.", field=field)
    literal = _literal(host)
    if literal is not None and not may_call(literal, plain=parts.scheme == "http"):
        raise errors.Invalid(f"`{field}` {_why(host, literal)}", field=field)
    return parts


def resolved(parts: SplitResult) -> list[str]:
    """The addresses to connect to, in order. Raises `Refused` where none of them may be called."""
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host} cannot be found: {getattr(error, 'strerror', None) or error}.") from error
    known = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    allowed = [str(one) for one in known if may_call(one, plain=parts.scheme == "http")]
    if not allowed:
        raise Refused(f"The address {_why(host, known[0])}")
    return allowed


def may_call(address: Address, *, plain: bool = False) -> bool:
    """Whether this address is on the Internet, or in a network that settings allow; without TLS only the latter."""
    inner = _inner(address)
    if any(one.version == network.version and one in network for one in (address, inner) for network in _networks()):
        return True
    return not plain and all(_is_public(one) for one in (address, inner))


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not site_local


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does: either way one arrives there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, address))[1]


def _literal(host: str) -> Address | None:
    """The address that a host is already. `localhost` is one, too."""
    try:
        return ipaddress.ip_address("127.0.0.1" if host.lower().rstrip(".") == "localhost" else host)
    except ValueError:
        return None


def _networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return list(settings.NOTIFY_NETWORKS)


def _why(host: str, address: Address) -> str:
    where = host if host == str(address) else f"{host} ({address})"
    return (
        f"{where} is inside a private network or not encrypted; COCKPIT_NOTIFY_NETWORKS lists those that may be called."
    )
