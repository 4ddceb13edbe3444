"""Labels whose values come from requests: a bound on how many there are."""


class LabelBudget:
    """Lets the first `limit` distinct values be labels and calls every further one `other`.

    Issue ids come from the operator's policy; a caller that sends others must not be able to fill the memory of the
    service, or of Prometheus, with series. Called on the event loop alone.

    Args:
        limit: most values.
        other: stands for all others.
    """

    def __init__(self, limit: int = 512, other: str = "other") -> None:
        self._limit = limit
        self._other = other
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """The label for a value."""
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return self._other
        self._known.add(value)
        return value
