"""The inbox: every event that Stripe sent, once, as it came.

An event is stored before it is answered and worked off by a task. Whoever takes one puts it off first, so that a worker
that is killed delays it and loses nothing. What fails too often becomes a dead letter, which a person may try again; so
may what was put aside, when it turns out to be ours after all. What is done stays done.
"""

import json
from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q

from config.base.models import never_truncated


class EventState(models.TextChoices):
    DUE = "due", "Waits"
    DONE = "done", "Done"
    IGNORED = "ignored", "Nothing to do"  # a type or an object that is not ours
    DEAD = "dead", "Dead letter"


class EventQueue(models.TextChoices):
    DEPOSITS = "deposits", "Deposits"  # where every event begins: what it tells goes into the books, and nobody is asked
    STRIPE = "stripe", "Asks Stripe"  # what is left of it needs an answer from Stripe, which may take its time


class EventOrigin(models.TextChoices):
    WEBHOOK = "webhook", "Webhook"
    SWEEPER = "sweeper", "Asked for"  # Stripe was asked what had been missed


class StripeEvent(models.Model):
    """One event of Stripe's."""

    event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=100)
    api_version = models.CharField(max_length=40, blank=True)
    is_live = models.BooleanField()
    object_id = models.CharField(max_length=255, blank=True, help_text="What it is about.")
    origin = models.CharField(max_length=7, choices=EventOrigin.choices)
    # As it was signed. JSONB would refuse the NUL that a name may hold, and reorder what was signed.
    body = models.TextField()
    happened_at = models.DateTimeField(help_text="By Stripe's clock.")
    received_at = models.DateTimeField()
    state = models.CharField(max_length=7, choices=EventState.choices, default=EventState.DUE)
    queue = models.CharField(
        max_length=8, choices=EventQueue.choices, default=EventQueue.DEPOSITS, help_text="Deposits wait for no answer of Stripe's."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(help_text="Nobody takes it before; whoever takes it puts it off first.")
    done_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=500, blank=True, help_text="What it did, or why nothing.")
    last_error = models.TextField(blank=True)
    retried_by = models.CharField(max_length=80, blank=True, help_text="Who had it tried again last.")
    retried_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "Stripe event"
        permissions = (("retry_stripeevent", "Can try a Stripe event again"),)
        indexes = (
            models.Index(fields=("queue", "attempts", "due_at"), condition=Q(state="due"), name="stripe_event_waits"),
            models.Index(fields=("id",), condition=Q(state="dead"), name="stripe_event_dead"),
            models.Index(fields=("object_id",), name="stripe_event_about"),
            models.Index(fields=("received_at", "id"), name="stripe_event_by_time"),
            models.Index(fields=("type", "received_at", "id"), name="stripe_event_by_type"),
        )
        constraints = (
            models.CheckConstraint(condition=Q(state__in=EventState.values), name="stripe_event_state_is_known"),
            models.CheckConstraint(condition=Q(queue__in=EventQueue.values), name="stripe_event_queue_is_known"),
            models.CheckConstraint(condition=Q(origin__in=EventOrigin.values), name="stripe_event_origin_is_known"),
            models.CheckConstraint(condition=Q(state__in=["due", "dead"]) ^ Q(done_at__isnull=False), name="stripe_event_done_is_whole"),
            models.CheckConstraint(condition=Q(retried_by="") ^ Q(retried_at__isnull=False), name="stripe_event_retry_has_its_person"),
        )
        triggers = (
            pgtrigger.Trigger(
                name="arrived_as_it_is",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "((OLD.event_id, OLD.type, OLD.body, OLD.is_live, OLD.happened_at, OLD.received_at) IS DISTINCT FROM"
                    " (NEW.event_id, NEW.type, NEW.body, NEW.is_live, NEW.happened_at, NEW.received_at)"
                    " OR OLD.state = 'done' OR OLD.state = 'ignored' AND NEW.state <> 'due')"
                ),
                func="RAISE EXCEPTION 'What Stripe sent is kept as it came, and what is done stays done.';",
            ),
            pgtrigger.Protect(name="is_kept", operation=pgtrigger.Delete),
            never_truncated(),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def object(self) -> dict[str, Any]:
        """What the event is about, as Stripe wrote it then."""
        found: dict[str, Any] = json.loads(self.body)["data"]["object"]
        return found


class EventSweep(models.Model):
    """How far Stripe has been asked for events, in its test mode and in its live one.

    Not the time of the newest event here: when some of an hour arrived and others did not, that would hide the hole.
    """

    is_live = models.BooleanField(unique=True)
    reached_at = models.DateTimeField(help_text="Whatever had happened by then is in the inbox.")

    def __str__(self) -> str:
        return f"{'Live' if self.is_live else 'Test'} mode, until {self.reached_at}"
