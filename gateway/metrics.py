"""Every metric of the gateway, beside those that all services share."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.contracts import Decision
from services.policy import Policy
from services.telemetry.labels import LabelBudget

# Seconds: a record takes milliseconds, an upload over a phone or a refined video on a CPU tens of seconds.
STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Bytes: from 64 KiB to 1 GiB by factors of 4; the default limit of a video is 512 MiB.
UPLOAD_BUCKETS_BYTES = tuple(float(65_536 * 4**step) for step in range(8))


class GatewayMetrics:
    """Counters and histograms on a registry of the service's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._label = LabelBudget()
        self.decisions = Counter(
            "winnow_gateway_decisions_total", "Decisions recorded.", ["verdict", "route"], registry=registry
        )
        self.verdicts = Counter(
            "winnow_gateway_verdicts_total", "Verdicts on single issues.", ["issue", "verdict"], registry=registry
        )
        self.escalations = Counter(
            "winnow_gateway_escalations_total",
            "Decisions recorded in which an issue was escalated, cached ones included.",
            ["issue"],
            registry=registry,
        )
        self.degraded = Counter(
            "winnow_gateway_degraded_total",
            "Decisions in which a fail mode of the policy spoke, by what was missing.",
            ["reason"],
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "winnow_gateway_stage_duration_seconds",
            "Wall time of the gateway's own stages.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.cache_requests = Counter(
            "winnow_gateway_cache_requests_total",
            "Lookups in the result cache.",
            ["result"],
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "winnow_gateway_spool_bytes", "Bytes of the spool that are promised to videos in flight.", registry=registry
        )
        self.spool_limit_bytes = Gauge(
            "winnow_gateway_spool_limit_bytes", "Bytes that the spool may promise in all.", registry=registry
        )
        self.spool_free_bytes = Gauge(
            "winnow_gateway_spool_free_bytes", "Free bytes of the disk that holds the spool.", registry=registry
        )
        self.upload_bytes = Histogram(
            "winnow_gateway_upload_bytes",
            "Size of the videos that arrived whole.",
            buckets=UPLOAD_BUCKETS_BYTES,
            registry=registry,
        )
        self.evidence = Counter(
            "winnow_gateway_evidence_total",
            "Videos of decisions that were to be kept, by what came of it, and those whose days were over; one that is "
            "`delayed` by a storage that fails is counted again at its end.",
            ["outcome"],
            registry=registry,
        )
        self._policy = Gauge(
            "winnow_gateway_policy_info",
            "1; the policy in force.",
            ["policy", "version", "hash"],
            registry=registry,
        )

    def show_policy(self, policy: Policy) -> None:
        """Show which policy is in force, and no other one."""
        self._policy.clear()
        self._policy.labels(policy.name, policy.version, policy.content_hash).set(1)

    def received(self, stage: Literal["upload", "fetch"], *, seconds: float, size: int) -> None:
        """Count a video that arrived whole, in bytes, from the client or from its URL."""
        self.stage_seconds.labels(stage).observe(seconds)
        self.upload_bytes.observe(size)

    def count(self, decision: Decision, *, degraded_reason: str | None) -> None:
        """Count a decision that was recorded."""
        self.decisions.labels(decision.verdict, decision.route).inc()
        for issue in decision.issues:
            label = self._label(issue.id)
            self.verdicts.labels(label, issue.verdict).inc()
            if issue.escalated:
                self.escalations.labels(label).inc()
        if degraded_reason is not None:
            self.degraded.labels(degraded_reason).inc()
