"""A reviewer works through forty mixed requests by keys alone, reading each: acts, acts that a person does, acts in
doubt, acts that ask for too much, questions of agents, samples, and what takes a second factor. Three are planted.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from playwright.sync_api import Locator, Page, expect

from agents import signals
from agents.contracts import Action, Stance, Verdict
from agents.models import AuditEntry, Run, Step, StepPayload, Team, User
from approvals.models import Approval, Decision, Plant
from approvals.sampling import drawing
from tests import factories, showing
from tests.api import stage
from tests.approvals import questions, scripted

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

REQUESTS, PLANTED, GUARDED = 40, frozenset({7, 18, 33}), frozenset({6, 30})
AMOUNT, TOO_MUCH = "18.40", "184.00"


def order_of(number: int) -> int:
    return 4700 + number


def because(number: int) -> str:
    """What the customer wrote, which tells what would be right."""
    return f"Order {order_of(number)}, €{AMOUNT}: it arrived broken."


def run(number: int) -> Run:
    """Of an agent of its own, so that each request stands alone in the queue."""
    return questions.run(factories.agent(f"clerk-{number}"), objective=because(number))


def act(number: int, *, amount: str = AMOUNT, **fields: Any) -> Action:
    order = order_of(number)
    given: dict[str, Any] = {
        "arguments": {"order": str(order), "amount": amount},
        "preview": ({"what": f"order {order} paid", "before": f"€{amount}", "after": "€0.00"},),
        "says": f"Refund €{amount} for order {order}",
    }
    return questions.action(run(number), **given | fields)


def hold(act: Action, **detail: Any) -> Approval:
    """As a policy holds it that says what it takes."""
    with transaction.atomic():
        questions.store(act)
        signals.step_held.send(Step, action=act, verdict=Verdict(Stance.HOLD, "policy", "Money moves.", detail))
    return questions.latest(act)


def plain(number: int) -> None:
    hold(act(number))


def guarded(number: int) -> None:
    """What takes a second factor; the others of its turn take none."""
    hold(act(number), level=2 if number in GUARDED else 1)


def manual(number: int) -> None:
    hold(act(number, tier=4, says=f"Send a letter about order {order_of(number)}"))


def doubted(number: int) -> None:
    step = act(number)
    with transaction.atomic():
        questions.store(step, state=Step.State.IN_DOUBT)
        signals.step_doubted.send(Step, action=step)


def too_much(number: int) -> None:
    """Ten times what the customer paid, by a tool whose arguments can be edited."""
    arguments = {"order": order_of(number), "amount": TOO_MUCH}
    hold(act(number, amount=TOO_MUCH, name="payments.refund", arguments=arguments))


def wondering(number: int) -> None:
    """An agent asks, sometimes with answers to choose from, and waits for the answer."""
    options = {"options": ["Yes.", "No."]} if number % 16 == 4 else {}
    ask = ("ask_person", {"question": f"May order {order_of(number)} go out again?", **options})
    agent, olga = factories.agent(f"clerk-{number}"), User.objects.get(username="olga")
    scripted.start(agent, olga, ask, ("test.echo", {"text": "{steps.0.answer}"}), objective=because(number))


def sampled(number: int) -> None:
    """An agent has acted alone; whether a person looks at it is drawn afterwards."""
    fields = {"tier": 2, "writes": True, "says": f"Write to the customer of order {order_of(number)}"}
    step = factories.step(run(number), name="test.mail", confidence=0.9, **fields)
    StepPayload.objects.create(run_id=step.run_id, seq=step.seq, input={"arguments": {"to": "Lindenhof"}})


TURNS: tuple[Callable[[int], None], ...] = (plain, plain, manual, doubted, wondering, too_much, guarded, sampled)


@pytest.fixture
def forty(team: Team, olga: User, rhea: User) -> None:
    """All of them, in one queue."""
    drawing.draw()  # what is done from now on may be sampled
    showing.app_of(rhea)
    teo, door = factories.person("teo", "reviewer", of=team), stage.token("planter", "governance", of=team)
    for number in range(REQUESTS):
        if number not in PLANTED:
            TURNS[number % len(TURNS)](number)
            continue
        earlier = hold(act(number))
        questions.settle(earlier, by=teo)
        wrong = {"arguments": {"order": str(4800 + number), "amount": AMOUNT}, "wrong": "It is another order."}
        door.post(f"/approvals/{earlier.pk}/plant", wrong)
    drawing.draw(lambda: 0.0)
    assert Approval.objects.open().count() == REQUESTS


def found(pattern: str, text: str) -> str:
    """What the text says there; nothing where it does not."""
    match = re.search(pattern, text)
    return match[1] if match else ""


def answer(page: Page) -> str:
    """Read what is asked and answer it: it must be for the order that the customer wrote of, and for no more."""
    question, keys = page.locator(".question"), page.keyboard
    heading, facts = question.locator("h2").inner_text(), question.locator(".facts").inner_text()
    named, amount = found(r"order (\d{4})", heading), found(r"€([\d.]+)", heading)
    if named != found(r"Order (\d{4})", facts):
        keys.press(question.locator(".choice.reject kbd").inner_text())
        expect(question.get_by_label("Why", exact=True)).to_be_focused()
        keys.type("Wrong t")
        keys.press("Tab")
        keys.type("Another order than the one it names.")
    elif amount and amount != found(r"Order \d{4}, €([\d.]+)", facts):
        keys.press(question.locator(".choice.edit kbd").inner_text())
        expect(question.get_by_label("order")).to_be_focused()
        keys.press("Tab")
        expect(question.get_by_label("amount")).to_be_focused()
        keys.press("Control+a")
        keys.type(AMOUNT)
    elif question.locator(".choice.outcome").count():
        tell(question, page)
    else:
        keys.press("1")
        expect(question.get_by_label("Reason")).to_be_focused()
    keys.press("Control+Enter")
    if question.locator("[name=factor_code]").count():
        expect(question.get_by_label("Code")).to_be_focused()  # the browser asks for it before it sends anything
        keys.type(showing.code())
        keys.press("Control+Enter")
    return named


def tell(question: Locator, page: Page) -> None:
    """Choose the first of the answers that an agent offers; else write what there is to say."""
    page.keyboard.press("1")
    option = question.locator("[name=option]").first
    if option.count():
        expect(option).to_be_focused()
        page.keyboard.press("Space")
        return
    expect(question.locator("[name=outcome]")).to_be_focused()
    page.keyboard.type("Done by hand.")


def test_forty_mixed_requests_by_keys_alone(page: Page, sign_in, forty: None, rhea: User) -> None:
    sign_in(rhea)
    page.goto("/approvals/")
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)
    seen = []
    for left in range(REQUESTS, 0, -1):
        expect(page.locator("#queue .entry")).to_have_count(left, timeout=15_000)
        heading = page.locator(".question h2")
        named = answer(page)
        seen.append(named)
        if left > 1:
            expect(heading).not_to_contain_text(named, timeout=15_000)
    expect(page.get_by_text("Nobody waits for you")).to_be_visible(timeout=15_000)
    assert len(set(seen)) == REQUESTS  # each once, none lost
    assert not Approval.objects.open().exists()
    each_was_answered_as_it_asked(Decision.objects.filter(by=rhea).select_related("approval"))


def each_was_answered_as_it_asked(given: Any) -> None:
    assert len(given) == REQUESTS
    by_kind: dict[str, list[Decision]] = {}
    for one in given:
        number = int(found(r"(\d{4})", one.approval.says)) % 100
        kind = "planted" if number in PLANTED else TURNS[number % len(TURNS)].__name__
        by_kind.setdefault(kind, []).append(one)
    answers = {kind: {(one.answer, one.code) for one in of} for kind, of in by_kind.items()}
    approved, told = {("approve", "")}, {("outcome", "")}
    assert answers == {
        "plain": approved,
        "guarded": approved,
        "sampled": approved,
        "too_much": {("edit", "")},
        "manual": told,
        "doubted": told,
        "wondering": told,
        "planted": {("reject", "wrong_target")},
    }
    assert [one.caught for one in Plant.objects.all()] == [True] * len(PLANTED)
    assert {one.arguments["amount"] for one in by_kind["too_much"]} == {AMOUNT}
    assert {one.approval.kind for one in by_kind["sampled"]} == {"sample"}
    assert sum(one.approval.level == 2 for one in by_kind["guarded"]) == len(GUARDED)
    assert AuditEntry.objects.filter(verb="person.factor_shown", outcome="done").count() == 1  # it stays fresh
    for one in by_kind["wondering"]:
        asked = scripted.drive(one.approval.run)
        heard = asked.payloads.get(seq=2).output
        assert (asked.state, heard) == ("completed", {"text": (one.outcome or {})["answer"]})
    assert {one.outcome["answer"] for one in by_kind["wondering"] if one.outcome} == {"Yes.", "Done by hand."}
