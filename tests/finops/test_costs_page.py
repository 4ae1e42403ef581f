"""The costs page tells a manager what was spent, in the same figures as its downloads; the stranger sees none of it."""

import csv
import json
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from io import StringIO

import pytest
from django.test import Client
from django.utils import timezone

from agents.contracts import Usage
from agents.models import Agent, AgentMinute, User
from cockpit.templatetags.formatting import count, money
from tests import factories
from tests.finops import books

pytestmark = pytest.mark.django_db


class Tables(HTMLParser):
    """Every table of a page: its headings, then its rows, cell by cell as a person reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"} and self.cell is not None:
            self.tables[-1][-1].append(plain("".join(self.cell)))
            self.cell = None

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)


def table(html: str, *headings: str) -> list[list[str]]:
    """The rows of the table that begins with these headings."""
    reader = Tables()
    reader.feed(html)
    return next(rows[1:] for rows in reader.tables if tuple(rows[0][: len(headings)]) == headings)


def plain(written: str) -> str:
    return " ".join(written.split())


@pytest.fixture
def desk(agent: Agent) -> Agent:
    return agent


@pytest.fixture
def spending(desk: Agent) -> list[Agent]:
    """An agent with priced, estimated, simulated and unpriced calls today, and a cheaper one."""
    now = timezone.now()
    refunds = factories.agent("refunds", of=desk.team, use_case="refunds")
    run = factories.run(desk, objective="Ticket 882 arrived broken")
    books.spend(desk, "1.25", run_id=run.id, seq=1, at=now)
    books.spend(desk, "0.031", run_id=run.id, seq=2, at=now, kind="estimated")
    books.spend(desk, None, run_id=run.id, seq=3, at=now, provider="self", model="llama", usage=Usage())
    books.spend(refunds, "0.40", at=now, provider="simulated", model="sim-large")
    return [desk, refunds]


def page(client: Client, who: User, query: str = "") -> str:
    client.force_login(who)
    answer = client.get(f"/costs/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_max_reads_what_was_spent_by_whom_and_what_is_not_in_the_sum(
    client: Client, max_: User, spending: list[Agent]
) -> None:
    html = page(client, max_)
    lines = table(html, "Agent", "Cost")
    assert [line[:2] for line in lines[:2]] == [["desk", "$1.28"], ["refunds simulated", "$0.40"]]
    assert lines[0][2] == "76.2 %"
    assert lines[0][3:6] == ["$0.031", "3", "1"]
    assert lines[2][:2] == ["Total", "$1.68"]
    text = plain(html)
    assert "1 call below has no known price" in text
    assert "1 × llama of self" in text
    assert "$0.40 of the $1.68 below is simulated money" in text
    assert "Ticket 882 arrived broken" in text


def test_a_sentence_compares_with_the_equally_long_time_before(client: Client, max_: User, desk: Agent) -> None:
    now = timezone.now()
    books.spend(desk, "3", at=now - timedelta(minutes=30))
    assert "<b>$3.00</b> in the last hour, for 1 call; nothing with a price was spent" in plain(
        page(client, max_, "?range=1h")
    )
    books.spend(desk, "2", at=now - timedelta(minutes=90))
    assert "50.0 % more than the $2.00 of the equally long time before." in plain(page(client, max_, "?range=1h"))
    books.spend(desk, "10", at=now - timedelta(minutes=90))
    books.spend(desk, "33", at=now - timedelta(minutes=30))
    assert ", 3 times the $12.00 of the equally long time before." in plain(page(client, max_, "?range=1h"))


def test_what_others_recorded_is_told_apart_from_what_was_worked_out(client: Client, max_: User, desk: Agent) -> None:
    books.spend(desk, "3", at=timezone.now(), kind="recorded")
    assert "$3.00 of it is as recorded by whoever made the calls." in plain(page(client, max_))


def test_spending_less_than_before_is_said(client: Client, max_: User, desk: Agent) -> None:
    now = timezone.now()
    books.spend(desk, "3", at=now - timedelta(minutes=30))
    books.spend(desk, "12", at=now - timedelta(minutes=90))
    assert "75.0 % less than the $12.00 of the equally long time before." in plain(page(client, max_, "?range=1h"))


@pytest.mark.parametrize("person", ["olga", "rhea", "max_", "governor"])
def test_every_role_may_read_the_costs_of_its_teams(
    client: Client, request: pytest.FixtureRequest, spending: list[Agent], person: str
) -> None:
    assert "$1.28" in page(client, request.getfixturevalue(person))


@pytest.mark.parametrize("where", ["", "?agent=desk", "?group_by=model", "?part=headline", "costs.csv", "costs.json"])
def test_the_stranger_sees_none_of_it(client: Client, stranger: User, spending: list[Agent], where: str) -> None:
    html = page(client, stranger, where)
    assert "1.25" not in html
    assert "llama" not in html
    assert "refunds" not in html
    assert "882" not in html


def test_the_stranger_finds_no_panel_of_an_agent_of_others(client: Client, stranger: User, desk: Agent) -> None:
    client.force_login(stranger)
    assert client.get("/costs/agents/desk/").status_code == 404
    assert client.get("/costs/agents/nobody/").status_code == 404


def test_who_is_not_signed_in_is_asked_to(client: Client, spending: list[Agent]) -> None:
    for path in ("/costs/", "/costs/costs.csv", "/costs/costs.json", "/costs/agents/desk/"):
        assert client.get(path)["Location"].startswith("/login/")


@pytest.mark.parametrize(
    "query", ["", "?group_by=model", "?group_by=day&range=30d", "?agent=desk&group_by=use_case", "?range=1h"]
)
def test_the_csv_is_the_table_on_screen(client: Client, max_: User, spending: list[Agent], query: str) -> None:
    group_by = "agent" if "group_by" not in query else query.split("group_by=")[1].split("&")[0]
    screen = table(page(client, max_, query), group_by.replace("_", " ").capitalize(), "Cost")
    answer = client.get(f"/costs/costs.csv{query}")
    assert answer["Content-Type"].startswith("text/csv")
    assert f'filename="costs-by-{group_by}-' in answer["Content-Disposition"]
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    for row, line in zip(rows, screen, strict=True):
        name, tag, _ = line[0].partition(" simulated")
        assert row[group_by] == name.removesuffix(" partly")
        assert bool(tag) == (Decimal(row["simulated_usd"]) > 0 and name != "Total")
        known = None if row["amount_usd"] == "unpriced" else Decimal(row["amount_usd"])
        assert plain(money(known)) == line[1]
        assert [row["calls"], row["unpriced_calls"].replace("0", "—", row[group_by] != "Total")] == line[4:6]
        tokens = [None if row[name] == "unknown" else int(row[name]) for name in ("tokens_in", "tokens_out")]
        assert [count(number) for number in tokens] == line[6:8]


def test_the_json_is_the_table_on_screen_with_its_question(client: Client, max_: User, spending: list[Agent]) -> None:
    page(client, max_)
    found = json.loads(client.get("/costs/costs.json?agent=desk&range=24h").content)
    assert (found["group_by"], found["filters"]) == ("agent", {"agent": "desk"})
    assert [(item["name"], item["amount_usd"], item["calls"]) for item in found["items"]] == [("desk", "1.281", 3)]
    assert found["total"]["amount_usd"] == "1.281"
    assert (found["total"]["estimated_usd"], found["total"]["unpriced_calls"]) == ("0.031", 1)


def test_a_name_that_looks_like_a_formula_is_text_in_a_spreadsheet(client: Client, max_: User, desk: Agent) -> None:
    books.spend(desk, "1", at=timezone.now(), model="=HYPERLINK(1)")
    page(client, max_)
    lines = client.get("/costs/costs.csv?group_by=model").content.decode().splitlines()
    assert lines[1].startswith("'=HYPERLINK(1),1.00,")


def test_the_file_says_unpriced_where_a_spreadsheet_would_read_zero(client: Client, max_: User, desk: Agent) -> None:
    books.spend(desk, None, at=timezone.now(), usage=Usage())
    page(client, max_)
    lines = client.get("/costs/costs.csv").content.decode().splitlines()
    assert lines[1] == "desk,unpriced,,0.00,0.00,0.00,1,1,unknown,unknown"
    assert json.loads(client.get("/costs/costs.json").content)["items"][0]["amount_usd"] is None


def test_an_hour_of_nothing_is_zero_and_not_unpriced(client: Client, max_: User, desk: Agent) -> None:
    books.spend(desk, "2", at=timezone.now() - timedelta(days=2))
    top = plain(page(client, max_, "?part=headline"))
    assert "<b>$0.00 <small>/ h</small></b>" in top
    assert "<b>$2.00</b>" in top


def test_the_headline_is_one_live_fragment(client: Client, max_: User, spending: list[Agent]) -> None:
    html = page(client, max_, "?agent=desk&part=headline")
    assert html.lstrip().startswith('<section id="headline"')
    assert "$1.28" in html
    assert "<html" not in html


def test_what_an_agent_spent_is_set_against_the_runs_it_completed(
    client: Client, max_: User, spending: list[Agent]
) -> None:
    AgentMinute.objects.create(agent=spending[0], minute=timezone.now() - timedelta(minutes=5), runs_completed=4)
    html = page(client, max_)
    assert ["desk", "$0.32", "$1.28", "4", "0"] in [line[:5] for line in table(html, "Agent", "Each")]
    assert "no run completed" in html
    assert "Cost per completed run" not in page(
        client, max_, "?model=gpt-4o"
    )  # that would be part of the spending only


def test_a_filter_narrows_everything_and_can_be_taken_away(client: Client, max_: User, spending: list[Agent]) -> None:
    html = page(client, max_, "?agent=refunds&group_by=model")
    assert [line[:2] for line in table(html, "Model", "Cost")] == [["sim-large simulated", "$0.40"], ["Total", "$0.40"]]
    assert "agent: refunds" in html
    assert 'href="?group_by=model&amp;range=7d"' in html


def test_each_line_leads_to_its_runs(client: Client, max_: User, spending: list[Agent]) -> None:
    assert "/runs/?q=agent%3Adesk+since%3A7d" in page(client, max_)


def test_before_the_first_call_the_page_says_what_will_be_here(client: Client, max_: User, olga: User) -> None:
    html = page(client, max_)
    assert "Nothing was spent yet" in html
    assert "Start a run" not in html  # a manager may not
    assert "Start a run" in page(client, olga)


def test_a_filter_that_hides_everything_says_so(client: Client, max_: User, spending: list[Agent]) -> None:
    html = page(client, max_, "?model=gpt-9")
    assert "Nothing was spent here" in html
    assert "Clear the filters" in html
    assert "Nothing was spent yet" not in html


def test_spending_of_another_time_is_one_press_away(client: Client, max_: User, desk: Agent) -> None:
    books.spend(desk, "7", at=books.NOON.replace(year=2024))
    html = page(client, max_)
    assert "The ledger has some from 20 Nov 2024." in html
    found = page(client, max_, "?group_by=agent&from=2024-11-20&to=2024-11-20")
    assert "group_by=agent&amp;from=2024-11-20&amp;to=2024-11-20" in html
    assert table(found, "Agent", "Cost")[0][:2] == ["desk", "$7.00"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?group_by=colour", "it can be agent, team, use_case, model, provider, release, day, hour"),
        ("?range=fortnight", "it can be 1h, 24h, 7d, 30d"),
        ("?from=yesterday", "is a day such as 2026-11-01"),
        ("?agent=%00", "holds a NUL character"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered_with_what_would(
    client: Client, max_: User, query: str, sentence: str
) -> None:
    client.force_login(max_)
    answer = client.get(f"/costs/{query}")
    assert answer.status_code == 422
    assert sentence in answer.content.decode()


def test_a_hundred_lines_are_shown_and_the_rest_is_one_so_that_it_adds_up(
    client: Client, max_: User, desk: Agent
) -> None:
    for number in range(120):
        books.spend(desk, "0.01", at=timezone.now(), model=f"model-{number:03}")
    lines = table(page(client, max_, "?group_by=model"), "Model", "Cost")
    assert len(lines) == 101
    assert lines[99][:2] == ["21 others", "$0.21"]
    assert lines[100][:2] == ["Total", "$1.20"]


def test_the_panel_of_an_agent_shows_its_week(client: Client, max_: User, spending: list[Agent]) -> None:
    AgentMinute.objects.create(agent=spending[0], minute=timezone.now() - timedelta(minutes=5), runs_completed=4)
    html = plain(page(client, max_, "agents/desk/"))
    assert html.count("$1.28") == 3
    assert "<b>$0.32</b>" in html
    assert "4 completed, 0 failed" in html
    assert "1 calls without a known price" in html


def test_the_panel_of_an_agent_that_did_nothing_is_quiet(client: Client, max_: User, desk: Agent) -> None:
    assert "no run completed" in page(client, max_, "agents/desk/")


def test_the_page_asks_the_database_a_fixed_number_of_questions(
    client: Client, max_: User, spending: list[Agent], django_assert_max_num_queries: object
) -> None:
    page(client, max_)
    for number in range(10):
        books.spend(factories.agent(f"more-{number}", of=spending[0].team), "0.02", at=timezone.now())
    with django_assert_max_num_queries(16):  # type: ignore[operator]  # pytest-django's own fixture
        client.get("/costs/")
