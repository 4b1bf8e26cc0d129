"""Reconciliation: what Stripe booked beside what is known here, as finance signs it, and each payout down to its credits."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from billing.minor_units import UnknownCurrency, to_major, written
from billing.models import Lot, Payout, TopUp
from billing.queries import stripe_modes
from config.base.admin import ExportForm, money, too_long_for_a_sheet
from config.base.admin.exports import COLUMN
from config.base.admin.records import refuse_writing
from config.base.database import snapshot
from config.base.export import FILES, UnknownColumn, chosen
from pricing.queries import workspace
from reports.admin import comparison, signing
from reports.admin.period_form import Period, PeriodForm, presets
from reports.models import BreakState, ReconciliationSignOff
from reports.queries import reconciliation as queries
from reports.queries.reconciliation import Statement
from reports.reconciliation import Line

TITLE: Final = "Reconciliation"
VIEW: Final = "reports.view_reconciliation"
_PAYOUTS_A_PAGE: Final = 50
_LINES_A_PAGE: Final = 100
_BREAKS: Final = 20
_SIGNATURES: Final = 6
_HEADINGS: Final = (
    *("Time", "Category", "Currency", "Stripe's transaction", "About", "Stripe's amount", "Ours", "Our amount", "Difference", "Matched"),
    *("Payout", "Top-up", "Customer", "Paid for, in the books", "Revenue", "Breakage", "Given back", "Moved", "Left"),
)


class Reconciliation:
    """The page, its files, and the page of a payout; who may view the reconciliation may open them."""

    def __init__(self, model_admin: "ModelAdmin[Any]") -> None:
        self.model_admin = model_admin

    def urls(self) -> list[URLPattern]:
        guarded = self.model_admin.admin_site.admin_view
        return [
            path("reconciliation/", guarded(self.page), name="reports_reconciliation"),
            path("reconciliation/file/<str:kind>/", guarded(self.export), name="reports_reconciliation_export"),
            path("reconciliation/payouts/<int:pk>/", guarded(self.payout), name="reports_reconciliation_payout"),
        ]

    def page(self, request: HttpRequest) -> HttpResponseBase:
        """Show a period; one that cannot be read shows what is wrong with it and no figures."""
        _let_in(request)
        today = timezone.localdate()
        form = PeriodForm(request.GET, today=today)
        is_valid = form.is_valid()
        asked = form.period() if is_valid else None
        context = self._around(request, TITLE) | {
            "form": form,
            "presets": [(words, period.query, period == asked) for words, period in presets(today)],
        }
        if asked:
            try:
                context |= self._told(request, asked, context["actions_list"])
            except queries.TooMuchToCompare as refusal:
                form.add_error(None, refusal.detail)
        return render(request, "admin/reports/reconciliation.html", context)

    def payout(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Show what a payout took along, each with its top-up and what became of the credits."""
        _let_in(request)
        payout = Payout.objects.filter(pk=pk).first()
        if payout is None:
            raise Http404
        try:
            lines = queries.lines_of_payout(payout, now=timezone.now())
        except queries.TooMuchToCompare as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(reverse("admin:reports_reconciliation"))
        shown = Paginator(lines, _LINES_A_PAGE).get_page(request.GET.get("page"))
        parts = list(payout.transactions.exclude(source=payout.stripe_id).values_list("amount_minor", "fee_minor", "net_minor"))
        gross, fees, net = (sum(column) for column in zip(*parts, strict=True)) if parts else (0, 0, 0)
        context = self._around(request, f"Payout {payout.stripe_id}") | {
            "payout": payout,
            "amount": written(payout.amount_minor, payout.currency),
            "sums": [(words, written(minor, payout.currency)) for words, minor in (("Gross", gross), ("Fees", fees), ("Net", net))],
            "difference": written(payout.amount_minor - net, payout.currency) if payout.amount_minor != net else "",
            "lines": shown,
            "rows": list(_chain(list(shown), links=True)),
            "back": reverse("admin:reports_reconciliation"),
        }
        return render(request, "admin/reports/payout.html", context)

    def export(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Answer with every line that the page's figures are made of, as a file with the columns that are asked for."""
        _let_in(request)
        form = PeriodForm(request.GET, today=timezone.localdate())
        page = reverse("admin:reports_reconciliation")
        if kind not in FILES or not form.is_valid():
            # The page says what is wrong with the period.
            return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}")
        period = form.period()
        now, is_live = timezone.now(), signing.chosen_mode(request.GET)
        try:
            places = chosen(_HEADINGS, request.GET.getlist(COLUMN))
            statement = queries.statement(since=period.since, until=period.until, now=now, is_live=is_live)
        except UnknownColumn as error:
            return _back(request, page + period.query, str(error))
        except queries.TooMuchToCompare:
            return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}")
        if kind == "xlsx" and (words := too_long_for_a_sheet(len(statement.lines))):
            return _back(request, page + period.query, words)
        mode = "" if is_live else "-test"
        filename = f"reconciliation{mode}-{period.first:%Y%m%d}-{period.last:%Y%m%d}.{kind}"
        rows = ([row[place] for place in places] for row in _cells(statement))
        headings = [_HEADINGS[place] for place in places]
        return FILES[kind](rows=rows, headings=headings, about=_about(request, period, statement, now), filename=filename)

    def _around(self, request: HttpRequest, title: str) -> dict[str, Any]:
        admin: Any = self.model_admin
        return {
            **admin.admin_site.each_context(request),
            "title": title,
            "actions_list": admin._get_actions_navigation(admin.actions_list, admin.get_actions_list(request)),
        }

    def _told(self, request: HttpRequest, period: Period, actions: list[Any]) -> dict[str, Any]:
        with snapshot():
            told = _told(request, period)
        return told | {
            "actions_list": signing.carrying(actions, period=period, statement=told["statement"]),
            "modes": signing.modes(request, period),
            "is_live": told["statement"].is_live,
            "mode": signing.mode_word(is_live=told["statement"].is_live),
        }


def _let_in(request: HttpRequest) -> None:
    refuse_writing(request)
    if not request.user.has_perm(VIEW):
        raise PermissionDenied


def _back(request: HttpRequest, page: str, words: str) -> HttpResponseRedirect:
    messages.error(request, words)
    return HttpResponseRedirect(page)


def _told(request: HttpRequest, period: Period) -> dict[str, Any]:
    now, is_live = timezone.now(), signing.chosen_mode(request.GET)
    asked: Any = {"since": period.since, "until": period.until, "is_live": is_live}
    statement = queries.statement(**asked, now=now)
    breaks = queries.breaks(**asked)
    signed = queries.last_sign_off(**asked)
    explained = frozenset(breaks.filter(state=BreakState.EXPLAINED).values_list("subject", flat=True))
    open_count = breaks.filter(state__in=queries.OPEN_STATES).count()
    before = period.before
    earlier = queries.statement(since=before.since, until=before.until, is_live=is_live, now=now)
    payouts = Paginator(queries.payouts(**asked), _PAYOUTS_A_PAGE).get_page(request.GET.get("page"))
    day = f"happened_at_from={period.first.isoformat()}&happened_at_to={period.last.isoformat()}&is_live__exact={int(is_live)}"
    mode = signing.mode_word(is_live=is_live)
    files = [(kind.upper(), reverse("admin:reports_reconciliation_export", args=[kind])) for kind in FILES]
    return {
        "period": period,
        "before": before,
        "verdict": comparison.verdict(statement, open_count=open_count, explained=explained, signed=signed, now=now),
        "line_count": len(statement.lines),
        "figures": comparison.figures(statement.figures, earlier.figures),
        "balances": [_balance(balance) for balance in statement.balances],
        "statement": statement,
        "breaks": list(breaks[:_BREAKS]),
        "break_count": breaks.count(),
        "open_count": open_count,
        "all_breaks": f"{reverse('admin:reports_reconciliationbreak_changelist')}?{day}",
        "payouts": payouts,
        "payout_rows": [_payout(payout) for payout in payouts],
        "signed": signed,
        "has_changed": signed is not None and signed.digest != statement.digest,
        "digest": statement.digest,
        "signatures": _signatures(is_live=is_live),
        "files": [(name, f"{href}{period.query}&mode={mode}") for name, href in files],
        "export": ExportForm(_HEADINGS, files, (("from", period.first.isoformat()), ("to", period.last.isoformat()), ("mode", mode))),
    }


def _balance(balance: queries.Balance) -> tuple[str, ...]:
    minor = (balance.opening_minor, balance.movements_minor, balance.payouts_minor, balance.closing_minor)
    return balance.currency, *(written(one, balance.currency) for one in minor)


def _payout(payout: Any) -> dict[str, Any]:
    difference = payout.amount_minor - payout.parts_minor
    return {
        "row": payout,
        "href": reverse("admin:reports_reconciliation_payout", args=[payout.pk]),
        "amount": written(payout.amount_minor, payout.currency),
        "parts": payout.parts,
        "status": payout.status.replace("_", " "),
        "difference": written(difference, payout.currency) if difference and payout.is_automatic else "",
    }


def _signatures(*, is_live: bool) -> list[dict[str, Any]]:
    rows = ReconciliationSignOff.objects.filter(is_live=is_live).select_related("signed_by").order_by("-pk")[:_SIGNATURES]
    mode = f"&mode={signing.mode_word(is_live=is_live)}"
    return [{"row": row, "period": (period := _period_of(row)), "query": period.query + mode} for row in rows]


def _period_of(row: ReconciliationSignOff) -> Period:
    return Period(timezone.localdate(row.since), timezone.localdate(row.until - timedelta(seconds=1)))


def _chain(lines: list[Line], *, links: bool) -> Iterator[dict[str, Any]]:
    """Yield each line with its top-up, and what became of what was sold; asked for the whole list at once."""
    wanted = {line.topup_id for line in lines if line.topup_id}
    topups = TopUp.objects.select_related("wallet__customer").in_bulk(wanted)
    became = queries.became(wanted)
    lots: dict[int, list[int]] = {}
    if links:
        for pk, payment in Lot.objects.filter(payment__topup__in=wanted).order_by("pk").values_list("pk", "payment__topup"):
            lots.setdefault(payment, []).append(pk)
    currency = workspace.load().currency
    for line in lines:
        topup = topups.get(line.topup_id or 0)
        found = became.get(line.topup_id or 0)
        yield {
            "line": line,
            "category": line.category.value.capitalize(),
            "stripe": written(line.stripe_minor, line.currency) if line.stripe_minor is not None else "-",
            "ours": written(line.our_minor, line.currency) if line.our_minor is not None else "-",
            "topup": topup,
            "lots": lots.get(line.topup_id or 0, []),
            "became": found,
            "credits": _in_words(found, currency) if found else (),
        }


def _in_words(found: queries.Became, currency: str) -> tuple[tuple[str, str], ...]:
    parts = (
        ("Revenue", found.revenue),
        ("Breakage", found.breakage),
        ("Given back", found.given_back),
        ("Moved", found.moved),
        ("Left", found.left),
    )
    return tuple((words, money(value, currency)) for words, value in parts if value)


def _cells(statement: Statement) -> Iterator[list[Any]]:
    for row in _chain(list(statement.lines), links=False):
        line, topup, became = row["line"], row["topup"], row["became"]
        stripe, ours = _major(line.stripe_minor, line.currency), _major(line.our_minor, line.currency)
        yield [
            line.at,
            row["category"],
            line.currency,
            line.stripe_id,
            line.source,
            stripe,
            line.known,
            ours,
            _major((line.stripe_minor or 0) - (line.our_minor or 0), line.currency),
            "yes" if line.is_matched else "no",
            line.payout,
            f"topup_{topup.pk}" if topup else "",
            topup.wallet.customer.external_id if topup else "",
            *((became.paid, became.revenue, became.breakage, became.given_back, became.moved, became.left) if became else ("",) * 6),
        ]


def _major(minor: int | None, currency: str) -> Decimal | str | None:
    if minor is None:
        return None
    try:
        return to_major(minor, currency)
    except UnknownCurrency:
        return written(minor, currency)


def _about(request: HttpRequest, period: Period, statement: Statement, now: datetime) -> dict[str, str]:
    before = period.before
    earlier = queries.statement(since=before.since, until=before.until, now=now)
    about = {
        "File": TITLE,
        "Drawn at": timezone.localtime().isoformat(timespec="seconds"),
        "Drawn by": request.user.get_username(),
        "Time zone": timezone.get_current_timezone_name(),
        "Money": stripe_modes.words(is_live=statement.is_live).capitalize(),
        "Period": str(period),
        "Digest": statement.digest,
    }
    for line in comparison.figures(statement.figures, earlier.figures):
        about[f"{line['currency']} {line['category'].lower()}"] = comparison.in_words(line, before)
    for currency, opening, movements, payouts, closing in map(_balance, statement.balances):
        about[f"{currency} balance"] = f"opening {opening}, movements {movements}, payouts {payouts}, closing {closing}"
    return about
