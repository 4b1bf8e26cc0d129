"""Requests for movements by hand: which wait, and what one would do to its wallets if it were approved now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from billing.errors import DecisionRefused, InsufficientCredits, InvalidRequest, RefundExceedsCharge, WalletFrozen
from billing.metering import FROZEN
from billing.models import EntryKind, LedgerEntry, MovementKind, MovementRequest, RequestState, Wallet
from billing.queries import wallets
from config.base.database import snapshot
from config.base.errors import DomainError
from config.base.exact import ZERO, plain

# What whoever asks must be allowed to do, and must still be allowed to when it is approved.
PERMISSION = {
    MovementKind.GRANT: "billing.grant_credits",
    MovementKind.ADJUSTMENT: "billing.adjust_wallet",
    MovementKind.TRANSFER: "billing.transfer_credits",
    MovementKind.REFUND: "billing.refund_event",
}
DECIDE = "billing.decide_movement"


@dataclass(frozen=True, slots=True)
class Effect:
    """One wallet before and after."""

    wallet: Wallet
    balance: Decimal
    change: Decimal

    @property
    def after(self) -> Decimal:
        return self.balance + self.change


@dataclass(frozen=True, slots=True)
class Preview:
    """What approving would do as things stand; `obstacle` says why it would be refused, empty if it would not."""

    effects: tuple[Effect, ...]
    obstacle: str


def waiting() -> "QuerySet[MovementRequest]":
    """Return the requests that wait for a decision."""
    return MovementRequest.objects.filter(state=RequestState.REQUESTED)


def waiting_of(wallet: Wallet) -> "QuerySet[MovementRequest]":
    """Return those that would move credits of `wallet`, the newest first."""
    concerned = MovementRequest.objects.filter(wallet=wallet) | MovementRequest.objects.filter(to_wallet=wallet)
    return concerned.filter(state=RequestState.REQUESTED).select_related("requested_by").order_by("-pk")


def refundable(usage_record_id: int) -> Decimal:
    """Return the credits of an event's charge that have not been given back."""
    charges = LedgerEntry.objects.filter(transaction_id=usage_record_id, kind=EntryKind.CHARGE)
    back = LedgerEntry.objects.filter(reverses__in=charges)
    taken, given = (rows.aggregate(sum=Coalesce(Sum("credits"), ZERO))["sum"] for rows in (charges, back))
    left: Decimal = -taken - given
    return left


def preview(request: MovementRequest, *, now: datetime) -> Preview:
    """Work out what approving `request` would do now. Reads only; the approval itself decides under the wallets' locks."""
    with snapshot():
        effects = tuple(_effects(request))
        refusal = _past_author(request) or _obstacle(request, now)
    return Preview(effects, refusal.detail if refusal else "")


def author_may_not(request: MovementRequest) -> str:
    """Say why it cannot be approved in its author's name any more; empty if it can."""
    if request.requested_by.has_perm(PERMISSION[MovementKind(request.kind)]):
        return ""
    return (
        f"{request.requested_by} asked for this and may not do it any more. "
        "Reject it; who may can ask for it in their own name, and another person approves that."
    )


def _past_author(request: MovementRequest) -> DomainError | None:
    words = author_may_not(request)
    return DecisionRefused(words) if words else None


def _effects(request: MovementRequest) -> Iterator[Effect]:
    sign = -1 if request.kind == MovementKind.TRANSFER else 1
    found = {wallet.pk: wallet for wallet in Wallet.objects.select_related("customer").filter(pk__in=_wallets(request))}
    yield Effect(found[request.wallet_id], found[request.wallet_id].balance, sign * request.credits)
    if request.to_wallet_id is not None:
        yield Effect(found[request.to_wallet_id], found[request.to_wallet_id].balance, request.credits)


def _wallets(request: MovementRequest) -> list[int]:
    return [pk for pk in (request.wallet_id, request.to_wallet_id) if pk is not None]


def _obstacle(request: MovementRequest, now: datetime) -> DomainError | None:
    """Return what the movement would be refused with if it were made now."""
    if request.expires_at and request.expires_at <= now:
        return InvalidRequest("expires_at", "must lie in the future")
    if request.kind == MovementKind.REFUND:
        return _refund_obstacle(request)
    taken = request.credits if request.kind == MovementKind.TRANSFER else -request.credits
    if taken <= 0:
        return None
    wallet = Wallet.objects.select_related("customer").get(pk=request.wallet_id)
    state = wallets.state_of(wallet, now=now)
    if request.kind == MovementKind.TRANSFER and state.is_frozen:
        return WalletFrozen(FROZEN.detail)
    free = state.free(now)
    return InsufficientCredits(f"{plain(taken)} credits were asked for and {plain(free)} are free.") if taken > free else None


def _refund_obstacle(request: MovementRequest) -> DomainError | None:
    assert request.usage_record_id is not None
    left = refundable(request.usage_record_id)
    if request.credits <= left:
        return None
    return RefundExceedsCharge(f"{plain(left)} credits of this charge have not been refunded yet. Refund at most that.")
