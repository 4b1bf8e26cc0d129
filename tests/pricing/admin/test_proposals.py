import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from config.roles import Role
from pricing.admin import asking
from pricing.models import PriceRule, Proposal, ProposalState, Workspace
from pricing.services import proposals
from tests import people
from tests.billing.admin import dialogs
from tests.pricing.admin.proposal_pages import buttons, change, overtake, page_of, read, send, tomorrow, typed, words
from tests.pricing.proposals import a_definition, a_persons_proposal, a_rule, an_advised_proposal

pytestmark = pytest.mark.django_db
PRICERS = {Role.FINANCE, Role.PRODUCT_MANAGER, Role.ADMINISTRATOR}


@pytest.fixture
def manager() -> Client:
    return people.signed_in(Role.PRODUCT_MANAGER)


@pytest.fixture
def author() -> User:
    return people.a_person(Role.FINANCE, name="anna")


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
        assert f"Version {version.number}</a> has come since, so this cannot be applied. Let the Advisor advise again" in page
        assert buttons(page) == {"reject", "advise_again"}

    def test_one_on_outdated_evidence_says_what_changed_before_anybody_presses(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        Workspace.objects.update_or_create(pk=1, defaults={"target_margin": Decimal("0.7")})
        page = read(manager, proposal)
        assert "The policy has changed: the target margin is 70.0 % instead of 60.0 %. Let the Advisor advise again" in page
        assert buttons(page) == {"reject", "advise_again"}
        assert "Stale" in words(manager.get(reverse("admin:pricing_proposal_changelist")).content.decode())

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
    @pytest.mark.parametrize("button", ["apply", "reject", "withdraw", "submit", "edit", "undo", "advise_again"])
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


class TestDialogs:
    @pytest.mark.parametrize(
        ("button", "told"),
        [("reject", "The price stays as it is, and the proposal is closed for good."), ("withdraw", "You take your proposal")],
    )
    def test_say_what_they_do(self, manager: Client, button: str, told: str) -> None:
        assert told in words(dialogs.opened(manager, f"pricing_proposal_{button}", an_advised_proposal()))


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


class TestAdvisingAgain:
    def test_asks_the_advisor(self, manager: Client, asked: list[PriceRule]) -> None:
        proposal = an_advised_proposal()
        overtake(proposal.rule)
        assert dialogs.went_through(send(manager, "advise_again", proposal))
        assert asked == [proposal.rule]

    def test_is_for_what_is_stale(self, manager: Client, author: User, asked: list[PriceRule]) -> None:
        response = send(manager, "advise_again", an_advised_proposal())
        assert "stands on has changed: decide on it as it is" in response.content.decode()
        persons = a_persons_proposal(author, a_rule("image.edit"))
        overtake(persons.rule)
        assert not dialogs.went_through(send(manager, "advise_again", persons))
        assert not asked

    def test_leads_from_what_was_replaced_to_what_came_next(self, manager: Client, author: User) -> None:
        first = an_advised_proposal()
        first.state = ProposalState.SUPERSEDED
        first.save()
        second = an_advised_proposal(first.rule)
        assert f'Next for this rule: <a class="md-link" href="{page_of(second)}">' in read(manager, first)

    @pytest.fixture
    def asked(self) -> Iterator[list[PriceRule]]:
        """The rules that the room above was asked about."""
        rules: list[PriceRule] = []

        def ask(rule: PriceRule) -> str:
            rules.append(rule)
            return "It looks."

        before, asking.HOW[:] = list(asking.HOW), [ask]
        yield rules
        asking.HOW[:] = before


def hidden(html: str) -> str:
    """Return the fingerprint in a form."""
    found = re.search(r'name="seen" value="([0-9a-f]{64})"', html)
    assert found
    return found[1]


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
        assert "Change chat.reply/default: 4 → 5 per event (+25.0 %)" in page
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

    def test_over_somebody_elses_edit_shows_it_first(self, manager: Client, author: User) -> None:
        proposal = an_advised_proposal()
        seen = hidden(manager.get(self.address(proposal)).content.decode())
        change(proposal, author, "6")
        page = manager.post(self.address(proposal), self.a_form(seen=seen)).content.decode()
        assert "was edited since you opened it. By anna it is now: 6 credits per chat.reply" in page
        assert "A round figure" in page
        assert proposal.edits.count() == 1
        response = manager.post(self.address(proposal), self.a_form(seen=hidden(page)))
        assert response.headers["Location"] == page_of(proposal)
        assert proposal.edits.count() == 2

    def test_of_a_stale_one_is_refused(self, manager: Client) -> None:
        proposal = an_advised_proposal()
        overtake(proposal.rule)
        page = manager.post(self.address(proposal), self.a_form()).content.decode()
        assert "has come since this was proposed" in page
        assert "A round figure" in page


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
