"""Short hashes that name a state: equal where everything that was hashed is equal."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

from services.settings import ServiceSettings


def fingerprint(document: object) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of a document made of dicts, lists, strings, numbers and None.

    Raises:
        TypeError, ValueError: it holds something else.
    """
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def shaping_settings(settings: ServiceSettings, *, without: Collection[str]) -> dict[str, Any]:
    """The service's own settings that may change an answer, as JSON values.

    What every service has (host, port, logs, deadlines) changes none. A setting counts unless it is named: forgetting
    one costs a cache hit, the other way round it would cost a wrong answer.

    Raises:
        ValueError: `without` names something that is no setting of this service.
    """
    unknown = set(without) - set(type(settings).model_fields)
    if unknown:
        raise ValueError(f"no settings: {', '.join(sorted(unknown))}")
    shared = {
        name
        for base in type(settings).__mro__
        if issubclass(base, ServiceSettings) and base.__module__ == ServiceSettings.__module__
        for name in base.model_fields
    }
    return settings.model_dump(mode="json", exclude=shared | set(without))
