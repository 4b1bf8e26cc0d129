import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from config.roles import Role
from pricing.admin import panels
from pricing.advisor.recommend import recommend
from pricing.definition import Definition
from pricing.models import PriceRule, PriceVersion, Proposal, ProposalState
from pricing.services import prices, proposals
from tests import people
from tests.billing.admin import dialogs
from tests.pricing.proposals import POLICY, a_backtest, a_definition, a_persons_proposal, a_rule, an_advised_proposal, some_evidence

pytestmark = pytest.mark.django_db
PRICERS = {Role.FINANCE, Role.PRODUCT_MANAGER, Role.ADMINISTRATOR}
SCRIPT = "<script>alert(1)</script>"


def page_of(proposal: Proposal) -> str:
    return reverse("admin:pricing_proposal_change", args=[proposal.pk])


def read(browser: Client, proposal: Proposal) -> str:
    response = browser.get(page_of(proposal))
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """Return what a reader sees, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def buttons(html: str) -> set[str]:
    """Return which of the page's buttons are there."""
    return set(re.findall(r"/proposal/\d+/(apply|reject|submit|edit|withdraw)", html))


def tomorrow() -> datetime:
    return (timezone.now() + timedelta(days=1)).replace(second=0, microsecond=0)


def typed(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M}"


def send(browser: Client, button: str, proposal: Proposal, **fields: Any) -> Any:
    return dialogs.send(browser, f"pricing_proposal_{button}", proposal, **fields)


def overtake(rule: PriceRule) -> PriceVersion:
    """Publish another version, which makes what was proposed before stale."""
    return prices.publish_version(
        rule=rule, credits_per_event=Decimal(6), effective_from=tomorrow(), reason="Another thought", actor=None, now=timezone.now()
    )


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


@pytest.fixture
def author() -> User:
    return people.a_person(Role.FINANCE, name="anna")


class TestPageOfTheAdvisor:
    def test_tells_what_why_and_on_what(self, manager: Client) -> None:
        text = words(read(manager, an_advised_proposal()))
        for told in (
            "Raise chat.reply by 12.5 %: its margin fell from 60 % to 46.4 %.",
            "Margin now 46.4 % was 60 %, target 60 %",
            "4 credits per chat.reply",
            "4.5 credits per chat.reply",
            "+12.5 % 4.5 credits 0.04365 USD",
            "Money at 0.0097 USD a credit",
            "Most of it is the provider&#x27;s price.",
            "Retries rose from 2 % to 4 % of events. Look at the time-outs.",
            "held back Rounded to halves of a credit.",
            "3 pay more, 0 pay less, 2 pay the same.",
            "2026-10-23 00:00:00 to 2026-11-20 00:00:00, 1,600 events",
            "16 (1 %)",
        ):
            assert told in text, told

    def test_the_drift_adds_up(self, manager: Client) -> None:
        table = read(manager, an_advised_proposal()).partition('id="drift"')[2].partition("</table>")[0]
        first, *parts, last = (Decimal(amount) for amount in re.findall(r">\s*\+?(-?[\d.]+) USD", table))
        assert len(parts) == 7
        assert first + sum(parts) == last == Decimal("0.018")

    def test_the_drift_adds_up_though_it_is_rounded(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        found = an_advised_proposal(a_rule("image.generate")).recommendation
        assert found is not None
        third = "-0.000333333333"
        found["drift"] |= {
            "total": "-0.000999999999",
            "parts": [{"name": name, "amount": third, "share": None, "sentence": ""} for name in ("tokens", "cache", "retries")],
        }
        proposal = an_advised_proposal(a_rule("image.edit"), recommendation=found)
        table = read(manager, proposal).partition('id="drift"')[2].partition("</table>")[0]
        amounts = [Decimal(amount) for amount in re.findall(r">\s*\+?(-?[\d.]+) USD", table)]
        assert sum(amounts[:-1]) == amounts[-1]
        assert amounts[1:-1] == [Decimal("-0.00033"), Decimal("-0.00034"), Decimal("-0.00033")]

    def test_leads_to_its_customers(self, manager: Client) -> None:
        assert '<a class="md-link" href="/admin/billing/customer/?q=user_0">user_0</a>' in read(manager, an_advised_proposal())

    def test_folds_what_is_more_than_a_glance(self, manager: Client) -> None:
        page = read(manager, an_advised_proposal(backtest=a_backtest(customers=70)))
        assert "40 more customers" in page
        assert "user_49" in page

    def test_says_when_a_sample_was_taken_and_when_nothing_was(self, manager: Client) -> None:
        assert "a sample was rated" in read(manager, an_advised_proposal(backtest=a_backtest(sampled=True)))
        assert "No backtest yet" in read(manager, an_advised_proposal(a_rule("image.edit"), backtest=None))

    def test_reads_its_page_in_a_fixed_number_of_queries(self, manager: Client) -> None:
        few, many = an_advised_proposal(), an_advised_proposal(a_rule("image.edit"), backtest=a_backtest(customers=50))
        read(manager, few)
        counts = []
        for proposal in (few, many):
            with CaptureQueriesContext(connection) as queries:
                read(manager, proposal)
            counts.append(len(queries))
        assert counts[0] == counts[1]


class TestPageOfAPerson:
    def test_needs_no_evidence(self, manager: Client, author: User) -> None:
        text = words(read(manager, a_persons_proposal(author)))
        assert "Change chat.reply/default: 4 → 4.5 per event (+12.5 %)" in text
        assert "The new model costs more" in text
        assert "Money at 0.01 USD a credit: the workspace&#x27;s credit value." in text
        assert "No backtest yet" in text
        assert "Evidence" not in text
        assert "Guardrails" not in text

    def test_the_first_price_of_a_rule(self, manager: Client, author: User) -> None:
        rule = a_rule()
        bare = PriceRule.objects.create(event_type=rule.event_type, segment="plan", segment_key="pro")
        text = words(read(manager, a_persons_proposal(author, bare, base_version=None)))
        assert "Change chat.reply/plan/pro: its first price" in text
        assert "No price: events fall to a wider rule" in text

    def test_several_figures_at_once(self, manager: Client, author: User) -> None:
        definition = a_definition("5", minimum="5", rounding_step="0.5", rounding_mode="up")
        text = words(read(manager, a_persons_proposal(author, definition=definition)))
        assert "3 figures change" in text
        assert "new up, in steps of 0.5" in text

    def test_shows_what_people_typed_as_text(self, manager: Client, author: User) -> None:
        rule = a_rule(segment="plan", segment_key=f"pro{SCRIPT}")
        component = {"unit": "output", "credits": "1", "per": 1000, "model_class": SCRIPT, "models": [SCRIPT]}
        definition = a_definition(components=[component])
        proposal = a_persons_proposal(author, rule, reason=f"Because {SCRIPT}", definition=definition)
        for html in (
            read(manager, proposal),
            manager.get(reverse("admin:pricing_proposal_changelist")).content.decode(),
            dialogs.opened(manager, "pricing_proposal_apply", proposal),
            manager.get(reverse("admin:pricing_proposal_edit", args=[proposal.pk])).content.decode(),
        ):
            assert SCRIPT not in html
        assert "Because &lt;script&gt;" in read(manager, proposal)


class TestButtons:
    def test_are_there_for_those_who_decide(self, manager: Client) -> None:
        assert buttons(read(manager, an_advised_proposal())) == {"apply", "reject", "edit"}

    def test_an_author_may_withdraw_and_is_told_who_decides(self, author: User, client: Client) -> None:
        people.a_person(Role.PRODUCT_MANAGER, name="bea")
        client.force_login(author, backend=people.BACKEND)
        page = read(client, a_persons_proposal(author))
        assert buttons(page) == {"edit", "withdraw"}
        assert "You proposed this price, so somebody else decides: bea." in page

    def test_an_author_alone_is_told_whom_to_ask(self, author: User, client: Client) -> None:
        client.force_login(author, backend=people.BACKEND)
        assert "nobody else can: ask an administrator" in read(client, a_persons_proposal(author))

    def test_whoever_edited_it_does_not_decide(self, author: User, client: Client) -> None:
        people.a_person(Role.PRODUCT_MANAGER, name="bea")
        proposal = an_advised_proposal()
        change(proposal, author)
        client.force_login(author, backend=people.BACKEND)
        page = read(client, proposal)
        assert buttons(page) == {"edit"}
        assert "You edited this price, so somebody else decides: bea." in page

    def test_support_only_looks(self, author: User) -> None:
        page = read(people.signed_in(Role.SUPPORT), a_persons_proposal(people.a_person(name="carl")))
        assert buttons(page) == set()
        assert "anna can decide." in page

    def test_a_stale_one_says_what_to_do(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        version = overtake(proposal.rule)
        page = read(manager, proposal)
        assert f"Version {version.number}</a> has come since, so this cannot be applied. Reject it" in page
        assert buttons(page) == {"reject"}

    def test_of_a_draft_are_its_authors(self, author: User, client: Client, manager: Client) -> None:
        proposal = a_persons_proposal(author, state=ProposalState.DRAFT)
        assert buttons(read(manager, proposal)) == set()
        client.force_login(author, backend=people.BACKEND)
        assert buttons(read(client, proposal)) == {"submit", "edit", "withdraw"}

    def test_are_gone_once_it_is_decided(self, manager: Client, author: User) -> None:
        proposal = an_advised_proposal()
        proposals.reject(proposal=proposal, reason="Customers would leave", actor=author, now=timezone.now())
        page = read(manager, proposal)
        assert buttons(page) == set()
        assert "Rejected: the price stayed as it was" in page
        assert re.search("Customers would leave . anna, ", words(page))


class TestApplying:
    def test_publishes_the_price(self, manager: Client, author: User) -> None:
        proposal = a_persons_proposal(author)
        response = send(manager, "apply", proposal, effective_from=typed(tomorrow()), reason="It does")
        assert dialogs.went_through(response)
        proposal.refresh_from_db()
        version = proposal.version
        assert version is not None
        assert (version.credits_per_event, version.effective_from) == (Decimal("4.5"), tomorrow())
        assert (str(version.created_by), str(version.approved_by)) == ("anna", "product_manager")
        page = words(read(manager, proposal))
        assert "It does" in page
        assert "Version 2 holds from" in page

    def test_suggests_when_it_was_wished(self, manager: Client, author: User) -> None:
        wished = (timezone.now() + timedelta(days=9)).replace(minute=0, second=0, microsecond=0)
        html = dialogs.opened(manager, "pricing_proposal_apply", a_persons_proposal(author, effective_from=wished))
        assert f'value="{typed(wished)}"' in html

    def test_else_suggests_a_day_of_notice(self, manager: Client, author: User) -> None:
        past = timezone.now() - timedelta(days=1)
        html = dialogs.opened(manager, "pricing_proposal_apply", a_persons_proposal(author, effective_from=past))
        assert f'value="{typed(tomorrow().replace(minute=0))}"' in html
        assert "From then on: 4 → 4.5 per event (+12.5 %)." in words(html)

    def test_a_refusal_keeps_what_was_typed(self, manager: Client, author: User) -> None:
        proposal = a_persons_proposal(author)
        response = send(manager, "apply", proposal, effective_from=typed(timezone.now()), reason="Right now please")
        html = response.content.decode()
        assert "let the new version start at" in html
        assert "Right now please" in html
        assert not dialogs.went_through(response)
        assert proposal.rule.versions.count() == 1

    def test_a_stale_one_is_refused_in_the_dialog(self, manager: Client, author: User) -> None:
        proposal = a_persons_proposal(author)
        overtake(proposal.rule)
        response = send(manager, "apply", proposal, effective_from=typed(tomorrow() + timedelta(days=3)), reason="Still good")
        html = response.content.decode()
        assert "has come since this was proposed" in html
        assert "Still good" in html
        assert proposal.rule.versions.count() == 2

    def test_nobody_approves_their_own(self, author: User, client: Client) -> None:
        client.force_login(author, backend=people.BACKEND)
        proposal = a_persons_proposal(author)
        response = send(client, "apply", proposal, effective_from=typed(tomorrow()), reason="I like it")
        assert "You proposed this price" in response.content.decode()
        assert proposal.rule.versions.count() == 1

    def test_what_was_decided_meanwhile_stays(self, manager: Client, author: User) -> None:
        proposal = an_advised_proposal()
        html = dialogs.opened(manager, "pricing_proposal_apply", proposal)
        proposals.reject(proposal=proposal, reason="No", actor=author, now=timezone.now())
        once = re.search(r'name="once" value="([^"]+)"', html)
        assert once
        form = {"once": once[1], "effective_from": typed(tomorrow()), "reason": "Yes"}
        response = manager.post(dialogs.address("pricing_proposal_apply", proposal), form, headers=dialogs.HTMX)
        assert "was rejected by anna meanwhile" in response.content.decode()

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("button", ["apply", "reject", "withdraw", "submit", "edit"])
    def test_is_for_those_who_price(self, role: Role, button: str, author: User) -> None:
        address = reverse(f"admin:pricing_proposal_{button}", args=[an_advised_proposal().pk])
        client = people.signed_in(role)
        expected = 200 if role in PRICERS else 403
        statuses = client.get(address, headers=dialogs.HTMX).status_code, client.post(address, {}, headers=dialogs.HTMX).status_code
        assert statuses == (expected, expected)


class TestRejecting:
    def test_asks_why(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        assert not dialogs.went_through(send(manager, "reject", proposal, reason=" "))
        assert dialogs.went_through(send(manager, "reject", proposal, reason="Too much at once"))
        proposal.refresh_from_db()
        assert (proposal.state, proposal.decision_reason) == (ProposalState.REJECTED, "Too much at once")


class TestWithdrawing:
    def test_is_its_authors(self, author: User, client: Client, manager: Client) -> None:
        proposal = a_persons_proposal(author)
        assert "Only its author" in send(manager, "withdraw", proposal, reason="Not mine").content.decode()
        client.force_login(author, backend=people.BACKEND)
        assert dialogs.went_through(send(client, "withdraw", proposal, reason="Another idea"))
        assert "Withdrawn by its author" in read(client, proposal)


class TestSubmitting:
    def test_lets_a_draft_wait_for_a_decision(self, author: User, client: Client) -> None:
        client.force_login(author, backend=people.BACKEND)
        proposal = a_persons_proposal(author, state=ProposalState.DRAFT)
        assert dialogs.went_through(send(client, "submit", proposal))
        proposal.refresh_from_db()
        assert proposal.state == ProposalState.PROPOSED


def change(proposal: Proposal, editor: User, credits: str = "5") -> Proposal:
    definition = Definition.from_json(a_definition(credits))
    return proposals.edit(
        proposal=proposal, definition=definition, effective_from=None, reason="A round figure", actor=editor, now=timezone.now()
    )


class TestEditing:
    def address(self, proposal: Proposal) -> str:
        return reverse("admin:pricing_proposal_edit", args=[proposal.pk])

    def a_form(self, **fields: Any) -> dict[str, Any]:
        rows = {f"{rows}-{name}_FORMS": 0 for rows in ("components", "tiers") for name in ("TOTAL", "INITIAL")}
        price = {"credits_per_event": "5", "minimum": "0", "rounding_step": "0.000001", "rounding_mode": "half_up"}
        return {**rows, **price, "effective_from": "", "reason": "A round figure", **fields}

    def test_begins_with_what_was_proposed(self, manager: Client) -> None:
        component = {"unit": "output", "credits": "0.75", "per": 1000, "model_class": "", "models": []}
        page = manager.get(self.address(an_advised_proposal(definition=a_definition(components=[component])))).content.decode()
        assert 'value="4.5"' in page
        assert 'name="components-0-credits" value="0.75"' in page

    def test_keeps_both_prices_and_who_did_it(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        response = manager.post(self.address(proposal), self.a_form())
        assert response.headers["Location"] == page_of(proposal)
        proposal.refresh_from_db()
        assert (proposal.definition["credits_per_event"], str(proposal.edited_by)) == ("5", "product_manager")
        page = words(read(manager, proposal))
        assert "Change chat.reply/default: 4 → 5 per event (+25 %)" in page
        assert "First proposed: 4.5 credits per chat.reply" in page
        assert "The Advisor proposed: Raise chat.reply by 12.5 %" in page
        assert "Edited by product_manager" in page
        assert "A round figure" in page

    def test_previews_and_changes_nothing(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        page = manager.post(self.address(proposal), self.a_form(preview="1")).content.decode()
        assert "5 credits per chat.reply" in page
        assert "A round figure" in page
        assert not proposal.edits.exists()

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"credits_per_event": "-1"}, "greater than or equal to 0"),
            ({"credits_per_event": "4"}, "is this very price already"),
            ({"reason": ""}, "required"),
            ({"effective_from": "soon"}, "valid date"),
        ],
    )
    def test_a_refusal_loses_nothing(self, fields: dict[str, str], message: str, manager: Client) -> None:
        proposal = an_advised_proposal()
        response = manager.post(self.address(proposal), self.a_form(**fields))
        page = response.content.decode()
        assert response.status_code == 200
        assert message in page
        assert fields.get("credits_per_event", "5") in page
        assert not proposal.edits.exists()

    def test_of_a_stale_one_is_refused(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        overtake(proposal.rule)
        page = manager.post(self.address(proposal), self.a_form()).content.decode()
        assert "has come since this was proposed" in page
        assert "A round figure" in page


class TestReplay:
    def a_real_one(self, **fields: Any) -> Proposal:
        rule = a_rule()
        evidence = some_evidence(rule.versions.get())
        advice = recommend(evidence, POLICY)
        assert advice.definition is not None
        given = {"definition": advice.definition.as_json(), "recommendation": advice.as_json(), "reason": advice.headline}
        return an_advised_proposal(rule, **given | fields)

    def test_gives_the_same_bytes(self, manager: Client) -> None:
        page = read(manager, self.a_real_one())
        assert "The same evidence and policy give the same recommendation, byte for byte." in page

    def test_shows_no_sentence_twice(self, manager: Client) -> None:
        proposal = self.a_real_one()
        found = proposal.recommendation
        assert found is not None
        page = read(manager, proposal)
        told = [*found["rationale"], *(guard["sentence"] for guard in found["guardrails"])]
        assert {sentence: page.count(escape(sentence)) for sentence in told} == dict.fromkeys(told, 1)

    def test_tells_when_it_comes_out_otherwise(self, manager: Client) -> None:
        assert "This release advises otherwise on the same evidence" in read(manager, an_advised_proposal())

    def test_tells_when_the_evidence_is_not_what_was_hashed(self, manager: Client) -> None:
        assert "not what its hash was made of" in read(manager, an_advised_proposal(evidence_hash="0" * 64))

    def test_tells_when_it_cannot_be_done(self, manager: Client) -> None:
        page = read(manager, an_advised_proposal(policy=POLICY.as_json() | {"target_margin": "1"}))
        assert "This release cannot advise on evidence of that time (ValueError: no price meets" in page


class TestPanels:
    @pytest.fixture(autouse=True)
    def _a_panel(self) -> Iterator[None]:
        panel = lambda proposal: "Came out as predicted" if proposal.version else ""  # noqa: E731
        panels.ON_PROPOSAL.append(panel)
        yield
        panels.ON_PROPOSAL.remove(panel)

    def test_of_rooms_above_are_shown_where_they_have_something_to_say(self, manager: Client, author: User) -> None:
        proposal = a_persons_proposal(author)
        assert "Came out as predicted" not in read(manager, proposal)
        send(manager, "apply", proposal, effective_from=typed(tomorrow()), reason="It does")
        assert "Came out as predicted" in read(manager, proposal)


class TestList:
    def rows(self, browser: Client, query: str = "") -> list[str]:
        response = browser.get(reverse("admin:pricing_proposal_changelist") + query)
        assert response.status_code == 200
        return [str(row.rule) for row in response.context["cl"].result_list]

    def test_shows_what_waits_first(self, manager: Client, author: User) -> None:
        old = a_persons_proposal(author, a_rule("a.first"))
        decided = a_persons_proposal(author, a_rule("b.second"))
        proposals.withdraw(proposal=decided, reason="No", actor=author, now=timezone.now())
        a_persons_proposal(author, a_rule("c.third"))
        assert self.rows(manager) == ["c.third/default", "a.first/default", "b.second/default"]
        assert self.rows(manager, "?state__exact=withdrawn") == ["b.second/default"]
        assert self.rows(manager, "?source__exact=advisor") == []
        assert self.rows(manager, f"?rule__event_type__id__exact={old.rule.event_type_id}") == ["a.first/default"]
        assert self.rows(manager, "?q=c.th") == ["c.third/default"]

    def test_says_what_changes_and_what_is_stale(self, manager: Client, author: User) -> None:
        overtake(an_advised_proposal().rule)
        html = words(manager.get(reverse("admin:pricing_proposal_changelist")).content.decode())
        assert "4 → 4.5 per event (+12.5 %)" in html
        assert "Stale" in html

    def test_reads_no_evidence(self, manager: Client) -> None:
        an_advised_proposal()
        with CaptureQueriesContext(connection) as queries:
            self.rows(manager)
        assert not any('"backtest"' in query["sql"] for query in queries)

    def test_without_rows_says_where_they_come_from(self, manager: Client) -> None:
        assert "manage.py advise" in manager.get(reverse("admin:pricing_proposal_changelist")).content.decode()
