"""Every metric of the gateway, beside the HTTP metrics that all services share."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.contracts import Decision

STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class GatewayMetrics:
    """Counters and histograms on a registry of the service's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "winnow_gateway_decisions_total", "Decisions recorded.", ["verdict", "route"], registry=registry
        )
        self.verdicts = Counter(
            "winnow_gateway_verdicts_total", "Verdicts on single issues.", ["issue", "verdict"], registry=registry
        )
        self.escalations = Counter(
            "winnow_gateway_escalations_total", "Issues that the router escalated.", ["issue"], registry=registry
        )
        self.degraded = Counter(
            "winnow_gateway_degraded_total",
            "Decisions in which a fail mode of the policy spoke, by what was missing.",
            ["reason"],
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "winnow_gateway_stage_duration_seconds",
            "Wall time of the gateway's own stages: upload, router, record.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "winnow_gateway_spool_bytes", "Bytes of the spool that are promised to videos in flight.", registry=registry
        )
        self.in_flight = Gauge(
            "winnow_gateway_decisions_in_flight", "Decisions being worked on, uploads included.", registry=registry
        )

    def count(self, decision: Decision, *, degraded_reason: str | None) -> None:
        """Count a decision that was recorded."""
        self.decisions.labels(decision.verdict, decision.route).inc()
        for issue in decision.issues:
            self.verdicts.labels(issue.id, issue.verdict).inc()
            if issue.escalated:
                self.escalations.labels(issue.id).inc()
        if degraded_reason is not None:
            self.degraded.labels(degraded_reason).inc()
