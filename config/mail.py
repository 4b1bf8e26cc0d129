"""The mail server, from one address.

`smtp://user:password@host:587` upgrades to TLS, `smtps://` speaks it from the start, `smtp+plain://` does neither (a relay on
this machine), `console:` prints what would be sent.
"""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_SMTP: Final[dict[str, tuple[int, dict[str, bool]]]] = {
    "smtp": (587, {"EMAIL_USE_TLS": True}),
    "smtps": (465, {"EMAIL_USE_SSL": True}),
    "smtp+plain": (25, {}),
}
# Seconds for each answer of the mail server: a mail takes ten of them, and a notice is put off for longer than that.
_TIMEOUT: Final = 5


def settings_of(url: str) -> dict[str, Any]:
    """Return Django's settings for `url`; an empty one sends nothing.

    Raises:
        ImproperlyConfigured: the address cannot be read.
    """
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme == "console":
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    if parts.scheme not in _SMTP or not parts.hostname:
        raise ImproperlyConfigured("EMAIL_URL must be smtp://user:password@host:587, smtps://…, smtp+plain://host or console:")
    port, security = _SMTP[parts.scheme]
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_TIMEOUT": _TIMEOUT,
        **security,
    }
