"""The forms of auto top-up on the customer's page, and the panel beside them. Each says in plain words what will happen."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from billing import minor_units
from billing.admin.pack import offer
from billing.admin.words import AUTO_TOPUP_COLOURS, TOPUP_COLOURS, actor, charged
from billing.models import AutoTopUp, Customer, TopUp
from billing.queries import packs_on_sale
from billing.queries.auto_topups import AutoTopUpView
from billing.services import auto_topup_terms, saved_cards, stripe_gateway
from billing.services.auto_topup_terms import Terms
from config.base.admin import Choice, CreditsField, Dialog, MoneyField, ReasonDialog, Shown, badge, credits_, lines, link, moment, table
from config.base.exact import plain
from pricing.queries import workspace


class AutoTopUpDialog(ReasonDialog):
    threshold = CreditsField(label="Top up below", help_text="Available credits below which the saved card is charged.")
    pack = Choice(required=False, help_text="What is bought each time.")
    amount = MoneyField(required=False, help_text="Instead of a pack: what is charged each time. It buys credits at their list value.")
    day_cap = MoneyField(label="At most a day", help_text="In the currency of what is bought. Days begin at midnight, workspace time.")
    month_cap = MoneyField(label="At most a month", help_text="Nothing is charged above either cap, however low the wallet is.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        auto = AutoTopUp.objects.select_related("pack").filter(wallet__customer=self.subject).first()
        on_sale = packs_on_sale.load(now=timezone.now())
        prices = {f"{pack.key}/{price.currency}": offer(pack, price) for pack in on_sale for price in pack.prices.all()}
        if auto and auto.pack:  # one that is not sold any more stays what was agreed, and is refused with words
            prices.setdefault(f"{auto.pack.key}/{auto.currency}", f"{auto.pack} in {auto.currency}, not on sale")
        self.fields["pack"].choices = [("", "An amount" if prices else "No pack is on sale: an amount"), *prices.items()]
        self.fields["amount"].label = f"Amount in {workspace.load().currency}"
        for name, value in _agreed(auto) if auto else ():
            self.fields[name].initial = value

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "pack" in given and "amount" in given and bool(given["pack"]) == bool(given["amount"]):
            raise ValidationError("Choose a pack, or leave it at an amount and say which.")
        return given


class CardLinkDialog(Dialog):
    pass


def _agreed(auto: AutoTopUp) -> Iterator[tuple[str, Any]]:
    yield "threshold", plain(auto.threshold)
    yield "pack", f"{auto.pack.key}/{auto.currency}" if auto.pack else ""
    for name, minor in (("amount", auto.amount_minor), ("day_cap", auto.day_cap_minor), ("month_cap", auto.month_cap_minor)):
        if minor is not None:
            yield name, plain(minor_units.to_major(minor, auto.currency))


def hidden(auto: AutoTopUp | None) -> tuple[str, ...]:
    """Return the buttons that do not fit how it stands."""
    if auto is None:
        return ("change_auto_topup", "stop_auto_topup", "start_auto_topup")
    return ("set_up_auto_topup", "start_auto_topup" if auto.is_on else "stop_auto_topup")


def set_up(request: HttpRequest, form: AutoTopUpDialog, customer: Customer) -> AutoTopUp:
    """Agree on what the form says."""
    given = form.cleaned_data
    pack, _, currency = given["pack"].partition("/")
    terms = Terms(
        threshold=given["threshold"],
        currency=currency or workspace.load().currency,
        day_cap=given["day_cap"],
        month_cap=given["month_cap"],
        pack=pack,
        amount=given["amount"] or None,
    )
    return auto_topup_terms.set_up(
        wallet_id=customer.wallet.pk, terms=terms, actor=actor(request), reason=given["reason"], now=timezone.now()
    )


def make_card_link(request: HttpRequest, customer: Customer) -> Shown:
    """Show the address of a page where the customer saves a card."""
    return_url = request.build_absolute_uri(reverse("saved"))
    url = saved_cards.link(customer=customer, return_url=return_url, now=timezone.now())
    return Shown("admin/billing/card_link.html", {"url": url, "customer": customer, "is_live": stripe_gateway.gateway().is_live})


def panel(view: AutoTopUpView) -> SafeString | str:
    """Show how it stands; nothing where it was never set up and no card is saved."""
    auto, used = view.auto, view.used
    if auto is None or used is None:
        return table(("What", "How it stands"), [("Saved card", view.card)]) if view.card else ""
    state = badge(auto.state, auto.get_state_display(), AUTO_TOPUP_COLOURS)
    said = [words for words in (auto.why, view.waits_for) if words]
    rows: list[tuple[str, Any]] = [
        ("State", lines([state, *said])),
        ("Tops up below", credits_(auto.threshold)),
        ("Buys", auto.pack or charged(auto.amount_minor or 0, auto.currency)),
        ("Used today", _share(used.day_minor, auto.day_cap_minor, auto.currency)),
        ("Used this month", _share(used.month_minor, auto.month_cap_minor, auto.currency)),
        ("Saved card", view.card or "None yet: make a link to save one"),
    ]
    if auto.next_attempt_at and auto.is_on:
        rows.append(("Not before", moment(auto.next_attempt_at)))
    changes = link("Who changed it, and why", "billing_autotopup_history", auto.pk)
    rows.append(("Agreed on", lines([f"{moment(auto.set_up_at)} by {auto.set_up_by.removeprefix('user:')}", changes])))
    return table(("What", "How it stands"), rows)


def attempts(topups: tuple[TopUp, ...]) -> SafeString | str:
    """Show what it ordered last."""
    rows = [
        (
            link(moment(topup.created_at), "billing_topup_change", topup.pk),
            charged(topup.amount_minor, topup.currency),
            lines([badge(topup.status, topup.get_status_display(), TOPUP_COLOURS), *([topup.failure] if topup.failure else [])]),
        )
        for topup in topups
    ]
    return table(("Charged by itself", "Amount", "Status"), rows, figures=(1,)) if rows else ""


def _share(minor: int, cap: int, currency: str) -> str:
    used, at_most = (f"{minor_units.to_major(one, currency):,f}" for one in (minor, cap))
    return f"{used} of {at_most} {currency}"
