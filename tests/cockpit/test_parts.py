"""Components take values and know no app: what they draw and say for ordinary and for odd values."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from cockpit.assets import PLOTLY, PackageFinder
from cockpit.templatetags import drawing
from cockpit.templatetags.charts import chart
from cockpit.templatetags.drawing import Segment

START = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)


def rendered(markup: str, address: str = "/runs/?state=failed&cursor=abc", **values: object) -> str:
    request = RequestFactory().get(address)
    template = Template("{% load formatting drawing parts %}" + markup)
    return template.render(Context({"request": request, "csrf_token": "key", **values})).strip()


def test_a_state_is_a_shape_a_word_and_a_hue_and_a_wrong_hue_is_a_bug():
    waiting = rendered('{% state "wait" word %}', word="waiting on <rhea>")
    assert waiting == '<span class="state wait">waiting on &lt;rhea&gt;</span>'
    with pytest.raises(TemplateSyntaxError, match="takes one of bad, busy, ok, still, wait, warn, not 'red'"):
        rendered('{% state "red" "alarm" %}')


def test_addresses_keep_what_they_do_not_change_and_start_at_the_newest():
    assert rendered('{% query agent="desk" %}') == "/runs/?state=failed&amp;agent=desk"
    assert rendered("{% query state=None %}") == "/runs/"
    assert 'href="/runs/?state=failed&amp;cursor=next"' in rendered('{% pages "next" %}')
    assert 'href="/runs/?state=failed">Newest' in rendered("{% pages None %}")
    assert rendered("{% pages None %}", "/runs/") == ""


def test_chips_mark_the_filter_in_force_and_show_its_count():
    markup = rendered(
        '{% chips "state" choices "State" %}', choices=[("running", "Running", 1240), ("failed", "Failed")]
    )
    assert '<a class="chip" href="/runs/?state=failed" aria-current="true">Failed</a>' in markup
    assert '<a class="chip" href="/runs/">All</a>' in markup
    assert '<span class="n">1,240</span>' in markup


def test_a_confirmation_says_what_it_does_and_does_not_and_carries_its_keys():
    act = '{% confirm "end" "/end/" "Cancel" "Cancel this run" "Ends it." does_not="Undoes nothing." word="cancel" %}'
    markup, again = rendered(act), rendered(act)
    for part in ("Ends it.", "Undoes nothing.", 'value="key"', 'pattern="cancel"', 'name="reason"', "required"):
        assert part in markup
    assert markup != again  # every rendering has a request id of its own
    assert 'name="reason"' not in rendered('{% confirm "a" "/" "b" "c" reason="none" %}')


def test_a_sparkline_draws_nothing_where_nothing_is_known():
    drawn = drawing.sparkline([0, 10, None, 5, None, 4, 4], "runs")
    assert drawn["lines"] == ["2.0,20.0 16.0,2.0", "72.0,12.8 86.0,12.8"]
    assert drawn["dots"] == [(44.0, 11.0)]
    assert drawn["summary"] == "runs: latest 4, highest 10"
    assert drawing.sparkline([None], "runs")["summary"] == "runs: nothing yet"


def test_a_timeline_gives_each_part_its_share_and_goes_on_until_now():
    segments = [
        Segment(START + timedelta(seconds=10), None, "waiting", "wait"),
        Segment(START, START + timedelta(seconds=5), "asking"),
    ]
    drawn = drawing.timeline(segments, START + timedelta(seconds=20), "work")
    assert [(bar["x"], bar["width"]) for bar in drawn["bars"]] == [(0.0, 25.0), (50.0, 50.0)]
    assert drawn["open"]
    assert rendered('{% timeline none now "nothing" %}', none=[], now=START).count("<svg") == 0


def test_unknown_confidence_is_drawn_and_told_as_unknown():
    assert "unknown" in rendered('{% meter None "unknown" %}')
    known = rendered('{% meter 0.62 "self_reported" right=0.58 sample=212 %}').replace("\N{NO-BREAK SPACE}", " ")
    assert "says 62 %, right 58 % of such times" in known
    assert "self-reported by the model" in known


@pytest.mark.parametrize(
    ("used", "reserved", "hue", "bars"),
    [
        (10, 0, "act", (10.0, 0)),
        (70, 20, "warn", (70.0, 20.0)),
        (90, 30, "bad", (90.0, 10.0)),
        (150, 5, "bad", (100.0, 0)),
    ],
)
def test_a_share_never_leaves_its_bar_and_says_when_it_is_too_much(used, reserved, hue, bars):
    drawn = drawing.share(used, 100, "Today", reserved)
    assert (drawn["hue"], (drawn["used"], drawn["held"])) == (hue, bars)


def test_a_chart_has_its_figures_as_a_table():
    figure = {"data": [{"name": "desk", "x": ["a", "b"], "y": [1, 2]}, {"name": "refunds", "x": ["b"], "y": [3]}]}
    made = chart(figure, "Cost")
    assert (made["columns"], made["rows"]) == (["desk", "refunds"], [("a", [1, None]), ("b", [2, 3])])


def test_the_charts_script_comes_out_of_its_wheel():
    found = finders.find(PLOTLY)
    assert found
    assert Path(found).stat().st_size > 1_000_000
    assert [path for path, _ in PackageFinder().list(None)] == ["plotly.min.js"]
    assert PackageFinder().check() == []


def test_static_text_goes_compressed_to_whom_can_read_it_and_plain_to_others(client):
    plain = client.get("/static/css/tokens.css")
    small = client.get("/static/css/tokens.css", headers={"accept-encoding": "gzip, br"})
    assert gzip.decompress(small.content) == plain.content == Path("static/css/tokens.css").read_bytes()
    assert (small["Content-Encoding"], small["Vary"], small["Content-Type"]) == (
        "gzip",
        "Accept-Encoding",
        'text/css; charset="utf-8"',
    )
    assert int(small["Content-Length"]) == len(small.content) < len(plain.content) / 2
    unchanged = client.get("/static/css/tokens.css", headers={"if-none-match": small["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    part = client.get("/static/css/tokens.css", headers={"range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, plain.content[:10])
    assert client.head("/static/css/tokens.css").content == b""
