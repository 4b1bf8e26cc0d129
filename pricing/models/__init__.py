"""What is stored: the workspace, event types, what they cost in credits, and what providers charge us."""

from pricing.models.event_type import EventType
from pricing.models.given_advice import GivenAdvice
from pricing.models.price_rule import PriceRule, Segment
from pricing.models.price_version import PriceVersion
from pricing.models.proposal import OPEN, Proposal, ProposalSource, ProposalState
from pricing.models.proposal_edit import ProposalEdit
from pricing.models.proposal_notice import NoticeKind, NoticeOutcome, ProposalNotice
from pricing.models.provider_model import ProviderModel
from pricing.models.provider_rate import ProviderRate, RateSeries
from pricing.models.rate_import import ChangeState, RateChange, RateImport, RateStatement
from pricing.models.workspace import SpentRefundPolicy, Workspace

__all__ = [
    "OPEN",
    "ChangeState",
    "EventType",
    "GivenAdvice",
    "NoticeKind",
    "NoticeOutcome",
    "PriceRule",
    "PriceVersion",
    "Proposal",
    "ProposalEdit",
    "ProposalNotice",
    "ProposalSource",
    "ProposalState",
    "ProviderModel",
    "ProviderRate",
    "RateChange",
    "RateImport",
    "RateSeries",
    "RateStatement",
    "Segment",
    "SpentRefundPolicy",
    "Workspace",
]
