"""Under which key a result is kept: everything that shapes it, hashed. Pure."""

from services.contracts import Context, RouteRequest, RouterState
from services.fingerprint import fingerprint

VERSION = 1
"""Of the key and of the entry: a gateway that keeps them otherwise finds nothing of this one."""

JUDGED = ("title", "description", "tags", "language")
"""Fields of the context that a judgement may rest on. The others are kept with a decision and shown to no model."""


def key_of(request: RouteRequest, state: RouterState, *, tenant: str = "") -> str:
    """64 hex digits over the video's bytes, the context, the mode, the policy slice, the state of router and ranker.

    Args:
        request: as the router would be asked.
        state: what holds now.
        tenant: whose result it is; results of one are not given to another.
    """
    return fingerprint(
        {
            "version": VERSION,
            "tenant": tenant,
            "sha256": request.sha256,
            "context": _judged(request.context),
            "mode": request.mode,
            "policy": request.policy.model_dump(mode="json"),
            "state": state.model_dump(mode="json"),
        }
    )


def _judged(context: Context) -> dict[str, object]:
    return context.model_dump(mode="json", include=set(JUDGED))
