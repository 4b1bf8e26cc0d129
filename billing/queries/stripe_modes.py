"""Stripe's two modes: real money, and play money for tests. What is told of one says nothing about the other."""

from django.conf import settings

from billing.models import BalanceTransaction, Payout, TopUp, TopUpStatus


def is_live_key(api_key: str) -> bool:
    """Say whether a secret or restricted key is of the live mode."""
    return "_live_" in api_key


def here() -> list[bool]:
    """Return the modes of which money has moved here, real money first, as `is_live`."""
    kinds = (BalanceTransaction.objects.all(), Payout.objects.all(), TopUp.objects.filter(status=TopUpStatus.PAID))
    first = [rows.filter(is_live=is_live).order_by().values("is_live")[:1] for rows in kinds for is_live in (True, False)]
    return sorted(set(first[0].union(*first[1:], all=True).values_list("is_live", flat=True)), reverse=True)


def usual() -> bool:
    """Return the mode that is meant where nobody says one, as `is_live`: that of the configured key.

    Without a key it is real money, unless only play money has moved here: then nobody sells, and files are what comes.
    """
    if settings.STRIPE_API_KEY:
        return is_live_key(settings.STRIPE_API_KEY)
    return here() != [False]


def words(*, is_live: bool) -> str:
    return "real money" if is_live else "Stripe's test mode"
