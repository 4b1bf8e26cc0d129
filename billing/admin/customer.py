"""Customers: one page with the wallet, its lots and what happened last, and everything that may be done to it."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.enums import ActionVariant

from billing.admin import auto_topup_dialogs, customer_view
from billing.admin.auto_topup_dialogs import AutoTopUpDialog, CardLinkDialog
from billing.admin.topup_link import LinkDialog, make_link
from billing.admin.wallet_dialogs import AdjustDialog, FreezeDialog, GrantDialog, LowBalanceDialog, OverdraftDialog, TransferDialog
from billing.admin.words import WALLET_COLOURS, moved_or_asked, person
from billing.models import AutoTopUp, AutoTopUpState, Customer, MovementKind, WalletStatus
from billing.queries import customer_page
from billing.services import auto_topup_terms, customers, movement_requests
from config.base.admin import KeysetAdmin, Shown, TrackedAdmin, badge, credits_, dialog, moment
from config.base.exact import plain


@admin.register(Customer)
class CustomerAdmin(KeysetAdmin, TrackedAdmin):
    list_display = ("external_id", "name", "project", "environment", "plan", "balance_figure", "held_figure", "wallet_state", "since")
    list_filter = (
        ("project", RelatedDropdownFilter),
        ("environment", ChoicesDropdownFilter),
        ("wallet__status", ChoicesDropdownFilter),
    )
    list_select_related = ("project", "wallet")
    search_fields = ("external_id__startswith", "name__istartswith", "email__exact")
    search_help_text = "Beginning of the customer id or name"
    readonly_fields = ("project", "environment", "external_id", "hidden_email", "metadata", "since")
    fieldsets = ((None, {"fields": (("external_id", "name"), ("project", "environment"), ("plan", "email"), ("since", "metadata"))}),)
    when_empty = "Apps make their customers by PUT /customers/{customer}."
    change_form_outer_before_template = "admin/billing/customer_page.html"
    actions_detail = (
        "topup_link",
        "grant_credits",
        {"title": "More", "icon": "more_horiz", "items": [
            "set_up_auto_topup", "change_auto_topup", "stop_auto_topup", "start_auto_topup", "card_link",
            "adjust_wallet", "transfer_credits", "set_overdraft_limit", "set_low_balance", "freeze_wallet", "release_wallet",
        ]},
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Apps make their customers by PUT /customers/{customer}."""
        return False

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Customer]":
        rows: QuerySet[Customer] = super().get_queryset(request).select_related("project", "wallet")
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Customer]", search_term: str
    ) -> tuple["QuerySet[Customer]", bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        found = Q(external_id__startswith=text) | Q(name__istartswith=text)
        if _may_see_contacts(request):
            found |= Q(email__iexact=text)
        return queryset.filter(found), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        customer = self.get_object(request, object_id)
        if customer is not None and self.has_view_permission(request, customer):
            page = customer_page.load(customer, now=timezone.now())
            extra_context = {**(extra_context or {}), **customer_view.context(page, request), "title": str(customer)}
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if _may_see_contacts(request):
            return fieldsets
        shown = {"email": "hidden_email"}
        return [(title, {**options, "fields": [_replaced(line, shown) for line in options["fields"]]}) for title, options in fieldsets]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show what was changed, to those who may see contact data: an earlier e-mail address is one as well."""
        if not _may_see_contacts(request):
            raise PermissionDenied
        response: HttpResponse = super().history_view(request, object_id, extra_context)
        return response

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not _may_see_contacts(request):
            raise PermissionDenied
        return super().history_form_view(request, object_id, version_id, extra_context)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Offer to freeze what is active, and to release what is frozen; to set up what is not there, and to stop what runs."""
        customer = self.get_object(request, str(object_id))
        frozen = customer is not None and customer.wallet.status == WalletStatus.FROZEN
        auto = AutoTopUp.objects.filter(wallet__customer=object_id).first()
        hidden = ("freeze_wallet" if frozen else "release_wallet", *auto_topup_dialogs.hidden(auto))
        return [action for action in super().get_actions_detail(request, object_id) if not action.action_name.endswith(hidden)]

    @dialog(
        "Grant credits",
        form=GrantDialog,
        permission="billing.grant_credits",
        submit="Grant credits",
        icon="redeem",
        variant=ActionVariant.PRIMARY,
    )
    def grant_credits(self, request: HttpRequest, form: GrantDialog, customer: Customer) -> str:
        given = form.cleaned_data
        moved = movement_requests.move(
            kind=MovementKind.GRANT,
            wallet_id=customer.wallet.pk,
            credits=given["credits"],
            reason=given["reason"],
            expires_at=given["expires_at"],
            requested_by=person(request),
            now=timezone.now(),
        )
        return moved_or_asked(moved, f"{plain(given['credits'])} credits were granted to {customer}.")

    @dialog(
        "Copy top-up link",
        form=LinkDialog,
        permission="billing.make_topup_link",
        submit="Make the link",
        description="A page of Stripe's where the customer pays. The link is shown once, in the next step.",
        icon="add_card",
    )
    def topup_link(self, request: HttpRequest, form: LinkDialog, customer: Customer) -> Shown:
        return make_link(request, form, customer)

    @dialog("Adjust balance", form=AdjustDialog, permission="billing.adjust_wallet", submit="Adjust", icon="tune")
    def adjust_wallet(self, request: HttpRequest, form: AdjustDialog, customer: Customer) -> str:
        given = form.cleaned_data
        moved = movement_requests.move(
            kind=MovementKind.ADJUSTMENT,
            wallet_id=customer.wallet.pk,
            credits=given["credits"],
            reason=given["reason"],
            requested_by=person(request),
            now=timezone.now(),
        )
        return moved_or_asked(moved, f"The balance of {customer} was adjusted by {plain(given['credits'])} credits.")

    @dialog("Transfer credits", form=TransferDialog, permission="billing.transfer_credits", submit="Transfer", icon="swap_horiz")
    def transfer_credits(self, request: HttpRequest, form: TransferDialog, customer: Customer) -> str:
        given = form.cleaned_data
        moved = movement_requests.move(
            kind=MovementKind.TRANSFER,
            wallet_id=customer.wallet.pk,
            to_wallet_id=given["to"].wallet.pk,
            credits=given["credits"],
            reason=given["reason"],
            requested_by=person(request),
            now=timezone.now(),
        )
        return moved_or_asked(moved, f"{plain(given['credits'])} credits were transferred from {customer} to {given['to']}.")

    @dialog("Set overdraft limit", form=OverdraftDialog, permission="billing.set_wallet_limits", submit="Set limit", icon="trending_down")
    def set_overdraft_limit(self, request: HttpRequest, form: OverdraftDialog, customer: Customer) -> str:
        limit = form.cleaned_data["limit"]
        customers.set_overdraft_limit(wallet_id=customer.wallet.pk, limit=limit, reason=form.cleaned_data["reason"], now=timezone.now())
        return f"{customer} may owe up to {plain(limit)} credits."

    @dialog("Set low-balance mark", form=LowBalanceDialog, permission="billing.set_wallet_limits", submit="Set mark", icon="notifications")
    def set_low_balance(self, request: HttpRequest, form: LowBalanceDialog, customer: Customer) -> str:
        threshold = form.cleaned_data["threshold"]
        customers.set_low_balance_threshold(wallet_id=customer.wallet.pk, threshold=threshold, reason=form.cleaned_data["reason"])
        if threshold is None:
            return f"The wallet of {customer} never counts as low."
        return f"The wallet of {customer} counts as low below {plain(threshold)} available credits."

    @dialog(
        "Freeze wallet",
        form=FreezeDialog,
        permission="billing.freeze_wallet",
        submit="Freeze",
        description="A frozen wallet pays for nothing. Top-ups, refunds and releases still arrive.",
        icon="ac_unit",
        variant=ActionVariant.DANGER,
    )
    def freeze_wallet(self, request: HttpRequest, form: FreezeDialog, customer: Customer) -> str:
        customers.set_status(wallet_id=customer.wallet.pk, status=WalletStatus.FROZEN, reason=form.cleaned_data["reason"])
        return f"The wallet of {customer} is frozen."

    @dialog("Release wallet", form=FreezeDialog, permission="billing.freeze_wallet", submit="Release", icon="lock_open")
    def release_wallet(self, request: HttpRequest, form: FreezeDialog, customer: Customer) -> str:
        customers.set_status(wallet_id=customer.wallet.pk, status=WalletStatus.ACTIVE, reason=form.cleaned_data["reason"])
        return f"The wallet of {customer} pays again."

    @dialog(
        "Set up auto top-up",
        form=AutoTopUpDialog,
        permission="billing.set_auto_topup",
        submit="Set up",
        description="When the wallet runs low, the saved card is charged. Without one it waits: make a link to save a card.",
        icon="autorenew",
    )
    def set_up_auto_topup(self, request: HttpRequest, form: AutoTopUpDialog, customer: Customer) -> str:
        auto = auto_topup_dialogs.set_up(request, form, customer)
        if auto.state == AutoTopUpState.WAITING:
            return f"{customer} is topped up by itself once a card is saved. Make a link to save one."
        return f"{customer} is topped up by itself below {plain(auto.threshold)} credits."

    @dialog("Change auto top-up", form=AutoTopUpDialog, permission="billing.set_auto_topup", submit="Change", icon="edit")
    def change_auto_topup(self, request: HttpRequest, form: AutoTopUpDialog, customer: Customer) -> str:
        auto = auto_topup_dialogs.set_up(request, form, customer)
        return f"The terms were changed. State: {auto.get_state_display().lower()}."

    @dialog(
        "Stop auto top-up",
        form=FreezeDialog,
        permission="billing.set_auto_topup",
        submit="Stop",
        description="Nothing more is charged by itself. A top-up that Stripe has been told of is finished.",
        icon="stop_circle",
        variant=ActionVariant.DANGER,
    )
    def stop_auto_topup(self, request: HttpRequest, form: FreezeDialog, customer: Customer) -> str:
        auto_topup_terms.switch_off(wallet_id=customer.wallet.pk, reason=form.cleaned_data["reason"])
        return f"{customer} is not topped up by itself any more."

    @dialog(
        "Start auto top-up again",
        form=FreezeDialog,
        permission="billing.set_auto_topup",
        submit="Start again",
        description="As if nothing had failed: the saved card is charged as soon as the wallet is low. Caps go on counting.",
        icon="play_circle",
    )
    def start_auto_topup(self, request: HttpRequest, form: FreezeDialog, customer: Customer) -> str:
        auto = auto_topup_terms.start_again(wallet_id=customer.wallet.pk, reason=form.cleaned_data["reason"], now=timezone.now())
        return f"Auto top-up of {customer}: {auto.get_state_display().lower()}."

    @dialog(
        "Link to save a card",
        form=CardLinkDialog,
        permission="billing.set_auto_topup",
        submit="Make the link",
        description="A page of Stripe's where the customer saves a card, which replaces the saved one.",
        icon="credit_card",
    )
    def card_link(self, request: HttpRequest, form: CardLinkDialog, customer: Customer) -> Shown:
        return auto_topup_dialogs.make_card_link(request, customer)

    @admin.display(description="balance")
    def balance_figure(self, customer: Customer) -> SafeString:
        return credits_(customer.wallet.balance)

    @admin.display(description="held")
    def held_figure(self, customer: Customer) -> SafeString:
        return credits_(customer.wallet.held)

    @admin.display(description="wallet")
    def wallet_state(self, customer: Customer) -> SafeString:
        return badge(customer.wallet.status, customer.wallet.get_status_display(), WALLET_COLOURS)

    @admin.display(description="customer since")
    def since(self, customer: Customer) -> str:
        return moment(customer.created_at)

    @admin.display(description="e-mail")
    def hidden_email(self, customer: Customer) -> str:
        return "Hidden: your role does not include contact data." if customer.email else "-"


def _may_see_contacts(request: HttpRequest) -> bool:
    return request.user.has_perm("billing.view_contact_data")


def _replaced(line: Any, by: dict[str, str]) -> Any:
    return by.get(line, line) if isinstance(line, str) else tuple(by.get(name, name) for name in line)
