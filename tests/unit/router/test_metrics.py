"""What the router's metrics decide by themselves: bank changes, circuits, labels."""

from prometheus_client import CollectorRegistry

from router_svc.metrics import RouterMetrics
from services.clients.replicas import Circuit, CoolDown, ReplicaSet
from services.contracts import BankStatus, IssueRisk


def status(revision: str, **seeds: int) -> BankStatus:
    return BankStatus(revision=revision, encoder="e", seeds=seeds, vectors=sum(seeds.values()))


def test_the_bank_is_shown_and_its_changes_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = RouterMetrics(registry)
    for each in (status("1", arson=2, theft=1), status("1", arson=2, theft=1), status("2", arson=3)):
        metrics.show_bank(each)
    value = registry.get_sample_value
    assert value("winnow_router_bank_revision_changes_total") == 1
    assert value("winnow_router_bank_seeds", {"issue": "arson"}) == 3
    assert value("winnow_router_bank_seeds", {"issue": "theft"}) == 0


def test_a_video_is_counted_by_its_risks() -> None:
    registry = CollectorRegistry()
    metrics = RouterMetrics(registry)
    risky = IssueRisk(id="arson", risk=0.72, threshold=0.7, escalated=True)
    harmless = IssueRisk(id="theft", risk=0.1, threshold=0.7, escalated=False)
    metrics.routed([risky, harmless], "deadline")
    metrics.routed([harmless], "not_escalated")
    value = registry.get_sample_value
    assert value("winnow_router_videos_total", {"escalated": "true"}) == 1
    assert value("winnow_router_videos_total", {"escalated": "false"}) == 1
    assert value("winnow_router_escalations_total", {"issue": "arson"}) == 1
    assert value("winnow_router_rank_missing_total", {"reason": "deadline"}) == 1
    assert value("winnow_router_rank_missing_total", {"reason": "not_escalated"}) is None
    assert value("winnow_router_risk_bucket", {"issue": "arson", "le": "0.7"}) == 0
    assert value("winnow_router_risk_bucket", {"issue": "arson", "le": "0.75"}) == 1


def test_the_circuit_of_a_replica_is_one_of_three_states() -> None:
    now = 0.0
    replicas = ReplicaSet([("a:1", None)], cool_down=CoolDown(first_s=1.0), clock=lambda: now)
    (replica,) = replicas.replicas
    registry = CollectorRegistry()
    metrics = RouterMetrics(registry)

    def circuits() -> dict[str, Circuit]:
        return {"a:1": replicas.circuit(replica)}

    def state() -> list[str]:
        names = ("closed", "open", "trial")
        labels = [{"replica": "a:1", "state": name} for name in names]
        values = [registry.get_sample_value("winnow_router_ranker_circuit", each) for each in labels]
        return [name for name, value in zip(names, values, strict=True) if value == 1]

    metrics.watch(spool_bytes=lambda: 1, free_bytes=lambda: 2, circuits=circuits)
    assert state() == ["closed"]
    replicas.failed(replica, at_once=True)
    assert state() == ["open"]
    now = 2.0
    assert state() == ["trial"]
    replicas.succeeded(replica)
    assert state() == ["closed"]
    assert registry.get_sample_value("winnow_router_spool_bytes") == 1


def test_a_router_that_escalated_nothing_has_a_pass_rate_of_zero() -> None:
    registry = CollectorRegistry()
    RouterMetrics(registry)
    assert registry.get_sample_value("winnow_router_videos_total", {"escalated": "true"}) == 0


def test_the_seeds_of_issues_beyond_the_budget_of_labels_are_added_up() -> None:
    registry = CollectorRegistry()
    RouterMetrics(registry).show_bank(status("1", **{f"issue_{number}": 2 for number in range(515)}))
    assert registry.get_sample_value("winnow_router_bank_seeds", {"issue": "other"}) == 6
