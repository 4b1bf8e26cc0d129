"""The replay: does the stored evidence still give the stored recommendation, to the last byte?"""

from dataclasses import dataclass

from pricing.advisor.evidence import Evidence, canonical, digest
from pricing.advisor.policy import Policy
from pricing.advisor.recommend import recommend
from pricing.models import Proposal


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it, and what that means."""

    is_same: bool
    words: str


def replay(proposal: Proposal) -> Replay | None:
    """Advise again on what was stored; None where nothing was stored to advise on."""
    if not proposal.evidence or not proposal.policy or not proposal.recommendation:
        return None
    if digest(proposal.evidence) != proposal.evidence_hash:
        return Replay(is_same=False, words="The stored evidence is not what its hash was made of.")
    try:
        again = recommend(Evidence.from_json(proposal.evidence), Policy.from_json(proposal.policy)).as_json()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return Replay(is_same=False, words=f"This release cannot advise on evidence of that time ({type(error).__name__}: {error}).")
    if canonical(again) == canonical(proposal.recommendation):
        return Replay(is_same=True, words="The same evidence and policy give the same recommendation, byte for byte.")
    return Replay(is_same=False, words=f"This release advises otherwise on the same evidence: {again['headline']}")
