"""The one table from a refusal's code to its HTTP status.

It lies here and not beside the NinjaAPI because a batch answers each rejected event with the problem that the single
call would have answered with.
"""

from typing import Any, Final

from billing.events import Refused
from config.base import problem

STATUS: Final[dict[str, int]] = {
    "invalid_signature": 400,
    "malformed_body": 400,
    "unauthorized": 401,
    "insufficient_credits": 402,
    "wallet_frozen": 402,
    "forbidden": 403,
    "not_found": 404,
    "unknown_budget": 404,
    "unknown_customer": 404,
    "unknown_event": 404,
    "unknown_event_type": 404,
    "unknown_hold": 404,
    "unknown_pack": 404,
    "unknown_project": 404,
    "unknown_topup": 404,
    "method_not_allowed": 405,
    "budget_kept": 409,
    "hold_ended": 409,
    "in_progress": 409,
    "payment_already_credited": 409,
    "record_dropped": 409,
    "length_required": 411,
    "too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_mismatch": 422,
    "invalid_request": 422,
    "no_price": 422,
    "pack_not_on_sale": 422,
    "refund_exceeds_charge": 422,
    "stripe_refused": 422,
    "budget_exceeded": 429,
    "rate_limited": 429,
    "internal_error": 500,
    "stripe_not_set_up": 503,
    "stripe_unavailable": 503,
    "unavailable": 503,
}


def of(refused: Refused, *, request_id: str) -> dict[str, Any]:
    """Return the problem that `refused` is answered with."""
    return problem.describe(
        code=refused.code, status=STATUS[refused.code], detail=refused.detail, request_id=request_id, figures=refused.figures
    )
