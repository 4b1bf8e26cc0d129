"""Billing's nouns, one file each."""

from billing.models.alert import Alert, AlertChannel, AlertDelivery, AlertKind, AlertState, ChannelKind, DeliveryOutcome
from billing.models.api_key import ApiKey, Scope
from billing.models.auto_topup import AutoTopUp, AutoTopUpState
from billing.models.book_currency import BookCurrency
from billing.models.budget import Budget, BudgetException, BudgetFold, BudgetWindow, ExceptionState
from billing.models.check import CheckRun, RuleBoundary
from billing.models.customer import Customer
from billing.models.environment import Environment
from billing.models.hold import Hold, HoldStatus
from billing.models.idempotency import IdempotencyKey, Operation
from billing.models.launch import Launch, LaunchKind
from billing.models.ledger import EntryKind, LedgerEntry
from billing.models.lot import Lot, LotKind
from billing.models.money_back import Dispute, DisputeState, RefundState, TopUpRefund
from billing.models.movement_request import MovementKind, MovementRequest, RequestState
from billing.models.notice import BillingNotice, BillingNoticeKind, BillingNoticeOutcome
from billing.models.owner import CostCenter, Project, Team
from billing.models.pack import CreditPack, PackPrice
from billing.models.payment import Payment, PaymentSource
from billing.models.rerating import Basis, CostAdjustment, Rerating
from billing.models.run import AgentJob, JobStatus, PipelineRun
from billing.models.seal import Seal
from billing.models.stripe_balance import BalanceTransaction, Payout, PlatformFee, SettlementSweep
from billing.models.stripe_customer import StripeCustomer
from billing.models.stripe_event import EventOrigin, EventQueue, EventState, EventSweep, StripeEvent
from billing.models.topup import TopUp, TopUpChannel, TopUpStatus
from billing.models.unapplied_payment import UnappliedKind, UnappliedPayment, UnappliedState
from billing.models.unpriced import UnpricedGroup
from billing.models.usage import CostStatus, UsageRecord
from billing.models.wallet import Wallet, WalletStatus

__all__ = [
    "AgentJob",
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertKind",
    "AlertState",
    "ApiKey",
    "AutoTopUp",
    "AutoTopUpState",
    "BalanceTransaction",
    "Basis",
    "BillingNotice",
    "BillingNoticeKind",
    "BillingNoticeOutcome",
    "BookCurrency",
    "Budget",
    "BudgetException",
    "BudgetFold",
    "BudgetWindow",
    "ChannelKind",
    "CheckRun",
    "CostAdjustment",
    "CostCenter",
    "CostStatus",
    "CreditPack",
    "Customer",
    "DeliveryOutcome",
    "Dispute",
    "DisputeState",
    "EntryKind",
    "Environment",
    "EventOrigin",
    "EventQueue",
    "EventState",
    "EventSweep",
    "ExceptionState",
    "Hold",
    "HoldStatus",
    "IdempotencyKey",
    "JobStatus",
    "Launch",
    "LaunchKind",
    "LedgerEntry",
    "Lot",
    "LotKind",
    "MovementKind",
    "MovementRequest",
    "Operation",
    "PackPrice",
    "Payment",
    "PaymentSource",
    "Payout",
    "PipelineRun",
    "PlatformFee",
    "Project",
    "RefundState",
    "RequestState",
    "Rerating",
    "RuleBoundary",
    "Scope",
    "Seal",
    "SettlementSweep",
    "StripeCustomer",
    "StripeEvent",
    "Team",
    "TopUp",
    "TopUpChannel",
    "TopUpRefund",
    "TopUpStatus",
    "UnappliedKind",
    "UnappliedPayment",
    "UnappliedState",
    "UnpricedGroup",
    "UsageRecord",
    "Wallet",
    "WalletStatus",
]
