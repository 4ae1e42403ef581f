"""Forms as a browser sees and sends them, without one: what a page offers is what is posted, its CSRF token included.

For tests that go through pages. A field that is not in the page cannot be filled in, and one that is disabled is not
sent; so a form that lost a field fails here as it would before a person.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse
from django.test import Client

from agents.models import User


@dataclass
class Control:
    """One field: a value it is sent with, and whether it is, as the page stands."""

    name: str
    value: str
    is_sent: bool
    kind: str = "text"


@dataclass
class Form:
    """A form of a page, with its fields in their order."""

    browser: "Browser"
    action: str
    method: str
    controls: list[Control] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """What can be filled in or chosen."""
        return {one.name for one in self.controls}

    def values(self, name: str) -> list[str]:
        """What the fields of that name hold or offer."""
        return [one.value for one in self.controls if one.name == name]

    def submit(self, **chosen: str) -> HttpResponse:
        """Send it with these fields filled in or chosen; the others go as they stand. Dots are written `__`."""
        wanted = {name.replace("__", "."): value for name, value in chosen.items()}
        missing = wanted.keys() - self.names
        assert not missing, f"{self.action} has no field {', '.join(sorted(missing))}; it has {sorted(self.names)}."
        data: dict[str, list[str]] = {}
        for one in self.controls:
            if one.name not in wanted and one.is_sent:
                data.setdefault(one.name, []).append(one.value)
        for name, value in wanted.items():
            offered = [one.value for one in self.controls if one.name == name and one.kind in ("radio", "option")]
            assert not offered or value in offered, f"{name} offers {offered}, not {value!r}."
            data[name] = [value]
        answer: HttpResponse = self.browser.client.post(self.action, data)
        return answer


class Browser:
    """Somebody who is signed in and looks at pages; posts are checked for their CSRF token, as in earnest."""

    def __init__(self, person: User) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(person)

    def read(self, path: str) -> str:
        """The text of a page, which must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.content.decode())

    def form(self, path: str, action: str) -> Form:
        """The one form of a page that is sent to an address that ends so."""
        (found,) = [one for one in self.forms(path) if one.action.endswith(action)]
        return found

    def forms(self, path: str) -> Iterator[Form]:
        """All that can be sent from a page."""
        reader = _Reader(self)
        reader.feed(self.read(path))
        yield from reader.forms


class _Reader(HTMLParser):
    def __init__(self, browser: Browser) -> None:
        super().__init__()
        self.browser, self.forms = browser, list[Form]()
        self._is_in_form = False
        self._fieldsets: list[bool] = []  # whether each that is open is disabled
        self._select: tuple[str, list[Control]] | None = None
        self._text: Control | None = None

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "form":
            self._is_in_form = True
            self.forms.append(Form(self.browser, given.get("action") or "", given.get("method", "get")))
        elif tag == "fieldset":
            self._fieldsets.append("disabled" in given)
        elif tag == "option" and self._select:
            name, options = self._select
            options.append(Control(name, given.get("value", ""), "selected" in given, "option"))
        elif self._is_in_form and given.get("name") and "form" not in given and not self._is_off(given):
            self._control(tag, given)

    def _is_off(self, given: dict[str, Any]) -> bool:
        return "disabled" in given or any(self._fieldsets)

    def _control(self, tag: str, given: dict[str, Any]) -> None:
        name = given["name"]
        if tag == "select":
            self._select = name, []
        elif tag == "textarea":
            self._text = Control(name, "", True)
            self.forms[-1].controls.append(self._text)
        elif tag == "input":
            kind = given.get("type", "text")
            is_sent = "checked" in given if kind in ("checkbox", "radio") else True
            self.forms[-1].controls.append(Control(name, given.get("value") or "", is_sent, kind))

    def handle_data(self, data: str) -> None:
        if self._text:
            self._text.value += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_in_form = False
        elif tag == "fieldset" and self._fieldsets:
            self._fieldsets.pop()
        elif tag == "textarea":
            self._text = None
        elif tag == "select" and self._select:
            _, options = self._select
            if options and not any(one.is_sent for one in options):
                options[0].is_sent = True
            self.forms[-1].controls.extend(options)
            self._select = None
