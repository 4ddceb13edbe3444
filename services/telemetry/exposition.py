"""How metrics are written for a scraper: the text format that it asks for, with the names as they are."""

from collections.abc import Callable
from functools import partial

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


def exposition_for(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What renders a registry for an `Accept` header, and the content type of the result.

    prometheus_client 0.26 writes a colon in the name of an OpenMetrics sample as an underscore, and leaves it in HELP
    and TYPE (client_python issue 1177): vLLM's metrics would have other names for a Prometheus than in vLLM's manual.
    Escaped as UTF-8 they come out right, and so does every other name that Prometheus has always allowed.
    """
    encode, content_type = choose_encoder(accept)
    if isinstance(encode, partial) and encode.keywords.get("escaping") == "underscores":
        return partial(encode, escaping="allow-utf-8"), content_type
    return encode, content_type
