"""API keys: made, rotated, revoked, and recognised on every call.

A key is cached in the process with the generation of the `keys` counter, which a trigger raises whenever a key or its
project changes. Single charges compare that generation inside their own transaction, other calls before they begin, so a
revoked key is refused by the next call of every process. A batch that has begun is finished.
"""

import hashlib
import ipaddress
import re
import secrets
import string
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from billing.events import Caller
from billing.models import ApiKey, Environment, Project, Scope
from billing.models.fields import save_with_reason
from config.base.errors import DomainError
from config.base.models import Generation

PREFIX = "md_live"
_ALPHABET = string.ascii_letters + string.digits
_TOKEN = re.compile(rf"{PREFIX}_([A-Za-z0-9]{{1,32}})_([A-Za-z0-9]{{1,64}})")
_LAST_USED_EVERY = timedelta(minutes=1)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Unauthorized(DomainError):
    """Send a live key as `Authorization: Bearer md_live_…`."""

    code = "unauthorized"


class Forbidden(DomainError):
    """Use a key with the scope that the call needs, from a network that it allows."""

    code = "forbidden"


class AlreadyRotated(DomainError):
    """Rotate the key that replaced it."""

    code = "already_rotated"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key with its secret, which exists only here."""

    key: ApiKey
    token: str


@dataclass(slots=True)
class _Known:
    """A key as this process remembers it."""

    secret_hash: bytes
    caller: Caller
    expires_at: datetime | None
    networks: tuple[Network, ...]
    last_used_at: datetime | None


_known: dict[str, _Known] = {}


def issue(
    *,
    project: Project,
    name: str,
    environment: Environment = Environment.PRODUCTION,
    scopes: list[Scope],
    now: datetime,
    created_by: User | None = None,
    cidrs: list[str] | None = None,
    expires_at: datetime | None = None,
    rate_limit_per_minute: int | None = None,
) -> Issued:
    """Make a key; its token is shown to whoever asked and stored nowhere."""
    public_id, secret = _random(12), _random(32)
    key = ApiKey.objects.create(
        project=project,
        environment=environment,
        name=name,
        public_id=public_id,
        secret_hash=_hash(secret),
        scopes=[str(scope) for scope in scopes],
        cidrs=cidrs or [],
        rate_limit_per_minute=rate_limit_per_minute,
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
    )
    return Issued(key, f"{PREFIX}_{public_id}_{secret}")


def rotate(*, key_id: int, overlap: timedelta, now: datetime, created_by: User | None = None) -> Issued:
    """Make the successor of a key; the old one goes on working for `overlap`, so that nobody has to hurry.

    Raises AlreadyRotated: at most two keys of one line live at a time.
    """
    with transaction.atomic():
        old = ApiKey.objects.select_for_update().get(pk=key_id)
        if old.replaced_by_id or old.revoked_at:
            raise AlreadyRotated("This key has been replaced or revoked already. Rotate the key that is in use now.")
        issued = issue(
            project=old.project,
            name=old.name,
            environment=Environment(old.environment),
            scopes=[Scope(scope) for scope in old.scopes],
            now=now,
            created_by=created_by,
            cidrs=old.cidrs,
            rate_limit_per_minute=old.rate_limit_per_minute,
        )
        old.replaced_by = issued.key
        old.expires_at = min(filter(None, (old.expires_at, now + overlap)))
        old.save(update_fields=["replaced_by", "expires_at"])
        return issued


def revoke(*, key_id: int, reason: str, now: datetime) -> ApiKey:
    """End a key at once."""
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(pk=key_id)
        if key.revoked_at is None:
            key.revoked_at = now
            save_with_reason(key, "revoked_at", reason=reason)
        return key


def authenticate(*, token: str, address: str, now: datetime) -> Caller:
    """Return who holds `token`, as far as this process knows; `Caller.generation` says when it knew.

    Raises Unauthorized, Forbidden (network).
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        what = "This is not an API key: they look" if token else "Send an API key as 'Authorization: Bearer …': it looks"
        raise Unauthorized(f"{what} like md_live_<id>_<secret>. Make one in the admin under API keys.")
    public_id, secret = match.groups()
    known = _known.get(public_id) or _load(public_id)
    if known is None or not constant_time_compare(known.secret_hash, _hash(secret)):
        raise Unauthorized("This API key is unknown or has been revoked. Make one in the admin under API keys.")
    if known.expires_at and known.expires_at <= now:
        raise Unauthorized("This API key has expired. Use the one that replaced it.")
    if known.networks and not _is_inside(address, known.networks):
        raise Forbidden(f"This API key may not be used from {address}. Add the network to the key in the admin.")
    _note_use(known, now)
    return known.caller


def authenticate_afresh(*, token: str, address: str, now: datetime) -> Caller:
    """As `authenticate`, after asking the database whether any key has changed."""
    forget_unless(Generation.objects.filter(name="keys").values_list("value", flat=True).first() or 0)
    return authenticate(token=token, address=address, now=now)


def forget_unless(generation: int) -> None:
    """Drop what this process remembers of keys that it learned at another generation."""
    for public_id, known in list(_known.items()):
        if known.caller.generation != generation:
            _known.pop(public_id, None)


def forget_all() -> None:
    """Drop all that this process remembers of keys."""
    _known.clear()


def caller_of(key: ApiKey, *, generation: int | None = None) -> Caller:
    """Return whom `key` speaks for."""
    return replace(
        project_caller(key.project, environment=Environment(key.environment), actor=f"key:{key.public_id}"),
        api_key_id=key.pk,
        scopes=frozenset(key.scopes),
        rate_limit_per_minute=key.rate_limit_per_minute,
        generation=generation,
    )


def project_caller(project: Project, *, environment: Environment, actor: str) -> Caller:
    """Return a caller for work done on a project's behalf without a key: imports, the demo company."""
    return Caller(
        project_id=project.pk,
        project_key=project.key,
        environment=environment,
        team_id=project.team_id,
        cost_center=project.cost_center.code if project.cost_center else "",
        actor=actor,
    )


def _load(public_id: str) -> _Known | None:
    # The generation first: a change between the two reads then shows as stale, never as fresh.
    generation = Generation.objects.filter(name="keys").values_list("value", flat=True).first() or 0
    key = ApiKey.objects.select_related("project__cost_center").filter(public_id=public_id, revoked_at=None).first()
    if key is None:
        return None
    known = _Known(
        secret_hash=bytes(key.secret_hash),
        caller=caller_of(key, generation=generation),
        expires_at=key.expires_at,
        networks=tuple(ipaddress.ip_network(cidr, strict=False) for cidr in key.cidrs),
        last_used_at=key.last_used_at,
    )
    _known[public_id] = known
    return known


def _note_use(known: _Known, now: datetime) -> None:
    if known.last_used_at is None or now - known.last_used_at >= _LAST_USED_EVERY:
        known.last_used_at = now
        assert known.caller.api_key_id is not None
        with transaction.atomic():
            # A row that somebody is editing is passed over: no call waits for that.
            free = ApiKey.objects.select_for_update(skip_locked=True).filter(pk=known.caller.api_key_id)
            ApiKey.objects.filter(pk__in=free.values("pk")).update(last_used_at=now)


def _is_inside(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def _hash(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), key=_hash_key(), digest_size=32).digest()


@cache
def _hash_key() -> bytes:
    """A key of its own, made of SECRET_KEY: whoever reads the database cannot tell secrets from it."""
    return salted_hmac("billing.api_key", "", algorithm="sha256").digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
