"""Going through what has become due: expired lots, one wallet a transaction, so that nobody waits for the whole sweep."""

import logging
import time
from datetime import datetime, timedelta

from django.db import DatabaseError

from billing.models import Lot, LotKind
from billing.services import ledger

log = logging.getLogger(__name__)


def expire_due_lots(*, now: datetime) -> int:
    """Write off what is left in lots past their date; return how many wallets lost credits."""
    due = Lot.objects.filter(is_open=True, expires_at__lte=now).exclude(kind=LotKind.OVERDRAFT)
    swept = 0
    began = time.monotonic()
    for wallet_id in due.order_by("wallet_id").values_list("wallet_id", flat=True).distinct():
        try:
            swept += ledger.expire(wallet_id=wallet_id, now=now + timedelta(seconds=time.monotonic() - began)) is not None
        except DatabaseError:
            log.exception("wallet %s could not be swept; the next sweep tries again", wallet_id)
    return swept
