"""How settings are read: an environment variable, or a file named by the same variable with `_FILE` behind it.

Apart from `settings.py` because `manage.py up` reads the same settings before Django is configured.
"""

import json
import os
import secrets
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def setting(name: str, default: str = "") -> str:
    """The value of `name`, of the file in `name_FILE`, or `default`; an unreadable file is named in one sentence."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise SystemExit(f"{name}_FILE names {path}, which cannot be read: {error.strerror}.") from error
    return os.environ.get(name, default)


def switch(name: str, *, default: bool = False) -> bool:
    """A yes-or-no setting; anything else is refused by name."""
    value = setting(name, "yes" if default else "no").lower()
    if value not in {"yes", "no", "1", "0", "true", "false"}:
        raise SystemExit(f"{name} is {value!r}; it takes yes or no.")
    return value in {"yes", "1", "true"}


def number(name: str, value: str) -> int:
    """A setting that is a whole number from 1 on; anything else is refused by name."""
    if not value.isdecimal() or int(value) < 1:
        raise SystemExit(f"{name} is {value!r}; it takes a whole number from 1 on.")
    return int(value)


def networks(name: str, value: str) -> list[IPv4Network | IPv6Network]:
    """A setting that lists networks with commas; what is none is refused by name."""
    try:
        return [ip_network(one.strip()) for one in value.split(",") if one.strip()]
    except ValueError as error:
        raise SystemExit(f"{name} is {value!r}; it takes networks such as 10.0.0.0/8, with commas: {error}.") from error


def data_dir() -> Path:
    """The folder where an installation keeps its state; `var/` beside manage.py unless told otherwise."""
    return Path(setting("COCKPIT_DATA_DIR", str(ROOT / "var"))).resolve()


def running() -> dict[str, Any]:
    """What `manage.py up` wrote about the cockpit running on this data folder; empty when none has run."""
    try:
        found: dict[str, Any] = json.loads((data_dir() / "run" / "cockpit.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def secret(name: str, *, folder: Path | None = None) -> str:
    """A secret of this installation, made on first use and kept in `<data dir>/keys/` readable by its owner only."""
    path = (folder or data_dir()) / "keys" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
        ):
            file.write(secrets.token_urlsafe(48))
        return path.read_text().strip()
    except OSError as error:
        raise SystemExit(
            f"{path} cannot be read or made ({error.strerror}); "
            "name a folder of your own with --data-dir or COCKPIT_DATA_DIR."
        ) from error


def write_privately(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only: nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
