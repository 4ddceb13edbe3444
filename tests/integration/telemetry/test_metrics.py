"""The metrics that the running services expose after real traffic: well formed, documented, and bounded."""

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.contracts import PolicySlice, RouteRequest
from services.contracts.policy_slice import IssuePolicy
from services.telemetry.labels import LabelBudget
from tests.integration.telemetry.conftest import Stack, digest
from tests.integration.telemetry.test_exporter import body
from tests.servers import binary
from tests.unit.docs.tables import DOCS, ROOT, documented_metrics, section_rows

RULES = ROOT / "deploy/prometheus/rules.yml"
SERVICES = ("gateway", "router", "ranker")
FINITE = ("service", "method", "stage", "verdict", "escalated", "result", "cause", "state")
BY_ISSUE = {
    "router": ("winnow_router_risk", "winnow_router_escalations_total"),
    "ranker": ("winnow_ranker_probability",),
}
MOST_ISSUES = 512 + 1


@pytest.fixture(scope="module")
def used(stack: Stack) -> Stack:
    """Every kind of request was made once: filtered, refined, refused."""
    stack.moderate(mode="full")
    stack.moderate(issues=["weapon_threat"])
    stack.gateway.post("/v1/decisions", files={"video": ("clip.mp4", b"not a video", "video/mp4")})
    stack.gateway.get("/v1/decisions/dec_unknown")
    return stack


@pytest.fixture(scope="session")
def promtool() -> str:
    return binary("promtool", "prometheus")


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing(service: str, used: Stack, promtool: str) -> None:
    command = [promtool, "check", "metrics"]
    text = used.metrics(service)
    checked = subprocess.run(command, check=False, input=text, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_rules_are_right_and_name_metrics_that_exist(promtool: str) -> None:
    for command in (["check", "rules", RULES], ["test", "rules", Path(__file__).with_name("rules_test.yml")]):
        done = subprocess.run([promtool, *command], check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    text = RULES.read_text(encoding="utf-8")
    named = {re.sub("_(bucket|sum|count)$", "", each) for each in re.findall(r"(?<![:\w])winnow_\w+(?!\w*:)", text)}
    known = set[str]().union(*map(documented_metrics, SERVICES))
    assert named - known == set()


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_is_on_the_page_and_every_metric_of_the_page_is_there(service: str, used: Stack) -> None:
    exposed = {name(family) for family in families(used.metrics(service))}
    documented = documented_metrics(service)
    assert exposed == documented


@pytest.mark.parametrize("service", SERVICES)
def test_the_values_of_labels_are_those_of_the_page(service: str, used: Stack) -> None:
    page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
    known = set(re.findall("`([^`]+)`", "".join(section_rows(page, "Labels and their values"))))
    found = {
        (label, value)
        for family in families(used.metrics(service))
        for sample in family.samples
        for label, value in sample.labels.items()
        if label in FINITE
    }
    assert {label for label, _ in found} >= {"service", "method", "stage"}
    assert {(label, value) for label, value in found if value not in known} == set()


def test_series_do_not_grow_with_what_clients_send(used: Stack) -> None:
    before = {service: series(used.metrics(service)) for service in SERVICES}
    for service in SERVICES:
        with httpx.Client(base_url=used.url(service), trust_env=False, timeout=60) as client:
            for number in range(40):
                junk(client, number)
    _many_issues(used)
    grown = {service: series(used.metrics(service)) - before[service] for service in SERVICES}
    # The gateway knows its policy's issues alone: what grows there is a status or a route seen for the first time.
    assert len(grown["gateway"]) < 200
    for service, by_issue in BY_ISSUE.items():
        after = used.metrics(service)
        for metric in by_issue:
            labels = {
                sample.labels["issue"]
                for family in families(after)
                if name(family) == metric
                for sample in family.samples
            }
            assert 300 < len(labels) <= MOST_ISSUES
            assert "other" in labels
        others = [each for each in grown[service] if "issue=" not in each]
        assert len(others) < 200, others
    told = "".join(used.metrics(service) for service in SERVICES)
    assert "junk" not in told
    assert used.clip.name not in told


def junk(client: httpx.Client, number: int) -> None:
    """Requests that differ in everything that a client chooses."""
    mark = f"junk{number}"
    headers = {"X-Request-Id": mark, "Authorization": f"Bearer {mark}", "User-Agent": mark, "Content-Type": f"x/{mark}"}
    client.get(f"/{mark}/path", headers=headers)
    client.get(f"/v1/decisions/{mark}", headers=headers)
    client.request(f"JUNK{number}", "/v1/decisions", headers=headers)
    client.post("/v1/decisions", content=mark.encode(), headers=headers)
    client.post("/v1/route", content=mark.encode(), headers=headers)
    client.post("/v1/rank", content=mark.encode(), headers={**headers, "Winnow-Deadline-Ms": mark})


def _many_issues(used: Stack) -> None:
    asked = body()
    with httpx.Client(trust_env=False, timeout=120) as client:
        for batch in range(4):
            ids = [f"made_up_{batch}_{number}" for number in range(200)]
            asked["issues"] = [{"id": each, "name": each, "definition": "None."} for each in ids]
            assert client.post(f"{used.url('ranker')}/v1/rank", json=asked).status_code == 200
            issues = tuple(IssuePolicy(id=each, name=each, definition="None.", router_threshold=0.0) for each in ids)
            request = RouteRequest(
                sha256=digest(used.clip), policy=PolicySlice(policy_hash=secrets.token_hex(6), issues=issues)
            )
            files = {
                "request": (None, request.model_dump_json(), "application/json"),
                "video": ("clip.mp4", used.clip.read_bytes(), "video/mp4"),
            }
            answer = client.post(f"{used.url('router')}/v1/route", files=files)
            assert answer.status_code == 200, answer.text
            assert len(json.loads(answer.content)["issues"]) == 200


def test_what_operators_ask_is_there(used: Stack) -> None:
    gateway, router, ranker = (used.metrics(service) for service in SERVICES)
    assert 'winnow_ready{service="gateway"} 1.0' in gateway
    assert 'winnow_gateway_decisions_total{route="refined"' in gateway
    assert "winnow_gateway_upload_bytes_count" in gateway
    assert 'winnow_gateway_policy_info{hash="' in gateway
    assert 'winnow_router_bank_seeds{issue="smoking"} 1.0' in router
    assert 'winnow_router_decode_failures_total{code="not_a_video"}' in router
    assert 'winnow_router_queue_wait_seconds_count{stage="embed"}' in router
    assert f'winnow_router_ranker_circuit{{replica="127.0.0.1:{used.ports.ranker}",state="closed"}} 1.0' in router
    assert 'winnow_ranker_probability_count{issue="arson"}' in ranker
    assert 'winnow_ranker_model_info{engine="deterministic"' in ranker
    for text, service in ((gateway, "gateway"), (router, "router"), (ranker, "ranker")):
        assert f'winnow_build_info{{service="{service}",version="' in text
        assert f'winnow_admission_places_taken{{service="{service}"}} 0.0' in text
        assert "process_resident_memory_bytes" in text


def test_a_budget_of_labels() -> None:
    label = LabelBudget(limit=2)
    assert [label(value) for value in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


def families(text: str) -> Iterator[Metric]:
    return text_string_to_metric_families(text)


def name(family: Metric) -> str:
    """As it stands in the text: the parser takes `_total` away."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def series(text: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")}
