"""The packs that can be bought at a moment, the smallest first, with their prices."""

from datetime import datetime

from django.db.models import Q

from billing.models import CreditPack


def load(*, now: datetime) -> tuple[CreditPack, ...]:
    """Return the packs on sale; `prices` of each are read with them."""
    running = Q(active_until__isnull=True) | Q(active_until__gt=now)
    return tuple(CreditPack.objects.filter(running, active_from__lte=now).prefetch_related("prices"))
