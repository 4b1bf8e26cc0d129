"""Billing's nouns, one file each."""

from billing.models.api_key import ApiKey, Scope
from billing.models.check import CheckRun
from billing.models.customer import Customer
from billing.models.environment import Environment
from billing.models.hold import Hold, HoldStatus
from billing.models.idempotency import IdempotencyKey, Operation
from billing.models.ledger import EntryKind, LedgerEntry
from billing.models.lot import Lot, LotKind
from billing.models.owner import CostCenter, Project, Team
from billing.models.payment import Payment, PaymentSource
from billing.models.rerating import Basis, CostAdjustment, Rerating
from billing.models.run import AgentJob, JobStatus, PipelineRun
from billing.models.seal import Seal
from billing.models.unpriced import UnpricedGroup
from billing.models.usage import CostStatus, UsageRecord
from billing.models.wallet import Wallet, WalletStatus

__all__ = [
    "AgentJob",
    "ApiKey",
    "Basis",
    "CheckRun",
    "CostAdjustment",
    "CostCenter",
    "CostStatus",
    "Customer",
    "EntryKind",
    "Environment",
    "Hold",
    "HoldStatus",
    "IdempotencyKey",
    "JobStatus",
    "LedgerEntry",
    "Lot",
    "LotKind",
    "Operation",
    "Payment",
    "PaymentSource",
    "PipelineRun",
    "Project",
    "Rerating",
    "Scope",
    "Seal",
    "Team",
    "UnpricedGroup",
    "UsageRecord",
    "Wallet",
    "WalletStatus",
]
