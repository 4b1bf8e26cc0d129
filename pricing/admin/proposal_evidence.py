"""What a proposal of the Advisor stands on, as its page shows it: both windows, the models in them, the policy, the replay."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.base.admin import credits_, lines, link, moment, names, share, short_money, table
from config.base.exact import CONTEXT
from pricing.admin import proposal_replay
from pricing.advisor.evidence import Evidence, ModelUse, Window
from pricing.models import PriceVersion, ProviderRate
from pricing.queries.proposal_page import ProposalPage
from pricing.rating import UNIT_WORDS


def lay_out(page: ProposalPage) -> dict[str, Any] | None:
    """Return what `admin/pricing/proposal_evidence.html` shows; None where a person proposed."""
    found, policy, proposal = page.evidence, page.policy, page.proposal
    if found is None:
        return None
    windows = [("Before", found.baseline)] if found.baseline else []
    windows.append(("Now", found.current))
    return {
        "as_of": moment(found.as_of),
        "hash": proposal.evidence_hash,
        "notes": found.notes,
        "windows": _windows(found, windows),
        "models": [(words, _models(window, found.currency)) for words, window in windows],
        "policy": _policy(page) if policy else "",
        "versions": _versions(found),
        "rates": _rates(found),
        "replay": proposal_replay.replay(proposal),
    }


def _versions(found: Evidence) -> SafeString | str:
    numbers = dict(PriceVersion.objects.filter(pk__in=found.price_version_ids).values_list("pk", "number"))
    named = sorted((numbers.get(pk, pk), pk) for pk in found.price_version_ids)
    shown = ((link(f"v{number}", "pricing_priceversion_change", pk),) for number, pk in named)
    return format_html_join(", ", "{}", shown) or "-"


def _rates(found: Evidence) -> list[SafeString]:
    """Name every rate that the costs were made of; one that is not there any more by its number."""
    rates = {rate.pk: rate for rate in ProviderRate.objects.filter(pk__in=found.rate_ids).select_related("series__provider_model")}
    return [link(rates.get(pk, f"Rate {pk}"), "pricing_providerrate_change", pk) for pk in found.rate_ids]


def _windows(found: Evidence, windows: list[tuple[str, Window]]) -> SafeString:
    def cells(read: Any) -> list[Any]:
        return [read(window) for _, window in windows]

    def in_money(value: Decimal | None) -> SafeString:
        return short_money(value, found.currency)

    rows = [
        ("From", *cells(lambda w: _when(w.start))),
        ("To", *cells(lambda w: _when(w.end))),
        ("Events", *cells(lambda w: f"{w.events:,}")),
        ("Without an accepted output", *cells(lambda w: f"{w.failed:,}")),
        ("Retries and fallbacks", *cells(lambda w: f"{w.retries:,} and {w.fallbacks:,}")),
        ("Without a known cost", *cells(lambda w: f"{w.unpriced:,} ({share(_ratio(w.unpriced, w.events))})")),
        ("Credits", *cells(lambda w: credits_(w.credits))),
        ("Value", *cells(lambda w: in_money(w.value))),
        ("Provider cost", *cells(lambda w: in_money(w.cost))),
        ("Cost per event, mean", *cells(lambda w: in_money(_ratio(w.cost, w.events - w.unpriced)))),
        ("Cost per event, p50", *cells(lambda w: in_money(w.cost_p50))),
        ("Cost per event, p95", *cells(lambda w: in_money(w.cost_p95))),
    ]
    return table(("", *(words for words, _ in windows)), rows, figures=range(1, len(windows) + 1))


def _when(at: datetime) -> SafeString:
    """Show a time that breaks between day and hour where two of them stand side by side on a phone."""
    return format_html('<span class="md-figure">{}</span> <span class="md-figure">{}</span>', *moment(at).split(" "))


def _models(window: Window, currency: str) -> SafeString:
    """Show what each model consumed; what is said of the model stands with its first unit."""
    rows = [
        (
            lines([use.model, _called(use)]) if unit == next(iter(use.units)) else use.model,
            UNIT_WORDS[unit][1] if unit in UNIT_WORDS else unit,
            credits_(used.quantity),
            short_money(used.cost, currency),
        )
        for use in window.models
        for unit, used in use.units.items()
    ]
    return table(("Model", "Unit", "Quantity", "Cost"), rows, figures=(2, 3), empty="No priced usage.")


def _called(use: ModelUse) -> str:
    how = names(filter(None, [use.provider, use.service_tier, "batch" if use.batch else ""]))
    return f"{how}: {use.requests:,} request{'' if use.requests == 1 else 's'}"


def _policy(page: ProposalPage) -> SafeString:
    policy = page.policy
    assert policy is not None
    rows = [
        ("Target margin", share(policy.target_margin)),
        ("Left alone while this near to it", share(policy.tolerance)),
        ("Moves by at most", share(policy.max_step)),
        ("Rests after a change", f"{policy.cooldown_days} days"),
        ("Events at least", f"{policy.minimum_events:,}"),
        ("Without a known cost at most", share(policy.max_unpriced)),
        ("Value of a credit that nothing was paid for", short_money(policy.credit_value, page.currency)),
    ]
    return table(("Policy", ""), rows, figures=(1,))


def _ratio(part: Decimal | int, whole: int) -> Decimal | None:
    return CONTEXT.divide(Decimal(part), Decimal(whole)) if whole > 0 else None
