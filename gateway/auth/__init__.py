"""Who may ask the gateway: API keys with scopes, or, without keys, this machine alone."""

from gateway.auth.access import access_of
from gateway.auth.ring import KeyRing
from gateway.auth.scopes import needs

__all__ = ["KeyRing", "access_of", "needs"]
