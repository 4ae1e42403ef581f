"""How mail leaves the cockpit, out of one address: `smtp://`, `smtps://`, `file:///folder` or `console:`.

Without one it is written into a folder: nothing leaves the machine before somebody says through which server.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

BACKENDS = "django.core.mail.backends"
PORTS = {"smtp": 587, "smtps": 465}
TAKES = (
    "EMAIL_URL is smtp://user:password@host:587 (encrypted with STARTTLS), smtps://user:password@host:465, "
    "smtp+plain://host:25, file:///folder or console:"
)


@dataclass(frozen=True, slots=True)
class Mail:
    """Django's settings of mail."""

    backend: str
    folder: str | None = None
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    starts_tls: bool = False
    is_tls: bool = False


def read(url: str, *, folder: Path) -> Mail:
    """What the address says; one that says nothing known is refused in a sentence, without its password."""
    if not url:
        return Mail(f"{BACKENDS}.filebased.EmailBackend", folder=str(folder))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SystemExit(f"{TAKES}.") from None
    if parts.scheme == "console":
        return Mail(f"{BACKENDS}.console.EmailBackend")
    if parts.scheme == "file" and parts.path:
        return Mail(f"{BACKENDS}.filebased.EmailBackend", folder=unquote(parts.path))
    if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not parts.hostname:
        raise SystemExit(f"{TAKES}; not {parts.scheme or 'a word'}.")
    return Mail(
        f"{BACKENDS}.smtp.EmailBackend",
        host=parts.hostname,
        port=port or PORTS.get(parts.scheme, 25),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starts_tls=parts.scheme == "smtp",
        is_tls=parts.scheme == "smtps",
    )
