"""Renders the tables of docs/ that come from the code; `python -m tests.unit.docs.tables` writes them there."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import AliasChoices, SecretStr
from pydantic_settings import BaseSettings

import gateway.settings
import ranker_svc.settings
import router_svc.settings
from gateway.metrics import GatewayMetrics
from ranker_svc.metrics import RankerMetrics
from router_svc.metrics import RouterMetrics
from services.settings import ServiceSettings
from services.telemetry.metrics import HttpMetrics
from services.telemetry.process import ServiceMetrics
from services.telemetry.tracing import TracingSettings

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
MIB = 1024 * 1024

SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": gateway.settings.Settings,
    "router": router_svc.settings.Settings,
    "ranker": ranker_svc.settings.Settings,
}
METRICS: dict[str, Callable[[CollectorRegistry], object]] = {
    "every service": lambda registry: (HttpMetrics(registry, "any"), ServiceMetrics(registry, "any")),
    "gateway": GatewayMetrics,
    "router": RouterMetrics,
    "ranker": RankerMetrics,
}
SUFFIX = {"counter": "_total"}


class RecordingRegistry(CollectorRegistry):
    """A registry that remembers its collectors: a labelled metric without samples tells its labels nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Any] = []

    def register(self, collector: Any) -> None:
        self.collectors.append(collector)
        super().register(collector)


def settings_rows(cls: type[BaseSettings]) -> list[str]:
    """One row for each field: environment variables, default, meaning."""
    prefix = cls.model_config.get("env_prefix", "")
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or f"{prefix}{name.upper()}"]
        default = field.get_default(call_default_factory=True)  # type: ignore[call-arg]
        variables = ", ".join(f"`{each}`" for each in names)
        rows.append(f"| {variables} | {shown(name, default)} | {cell(field.description or '')} |")
    return rows


def shown(name: str, default: object) -> str:
    """A default as readers see it: paths inside the repository from its root, whole MiB said so."""
    if default is None or default == () or (isinstance(default, SecretStr) and not default.get_secret_value()):
        return "none"
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    text = str(default)
    if text.startswith(str(ROOT)):
        text = Path(text).relative_to(ROOT).as_posix()
    if name.endswith("_bytes") and isinstance(default, int) and default % MIB == 0:
        return f"`{text}` ({default // MIB} MiB)"
    return f"`{text}`"


def metrics_rows(make: Callable[[CollectorRegistry], object]) -> list[str]:
    """One row for each metric: exposed name, type, labels, meaning."""
    registry = RecordingRegistry()
    make(registry)
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for collector in registry.collectors:
        # Those of prometheus_client itself, and collectors, describe nothing; what they collect tells all.
        ready_made = not hasattr(collector, "_labelnames")
        for family in collector.collect() if ready_made else collector.describe():
            names = sorted({each for sample in family.samples for each in sample.labels}) if ready_made else ()
            declared = getattr(family if ready_made else collector, "_labelnames", ())
            labels = ", ".join(f"`{label}`" for label in names or declared)
            name = family.name + SUFFIX.get(family.type, "")
            rows.append(f"| `{name}` | {family.type} | {labels} | {cell(family.documentation)} |")
    return rows


def cell(text: str) -> str:
    """Text on one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def section_rows(page: str, heading: str) -> list[str]:
    """The lines of the first table under a `## heading` of a page; none where there is no such heading."""
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return [] if match is None else first_table(match[1].splitlines())


def first_table(lines: Iterable[str]) -> list[str]:
    """The first run of lines that begin with a bar."""
    rows: list[str] = []
    for line in lines:
        if line.startswith("|"):
            rows.append(line)
        elif rows:
            break
    return rows


def cells(row: str) -> list[str]:
    """The cells of a row, without code marks."""
    return [part.strip().replace("`", "") for part in re.split(r"(?<!\\)\|", row)[1:-1]]


def expected() -> dict[tuple[str, str], list[str]]:
    """For every page and heading, the table that belongs under it."""
    tables = {("settings.md", name.capitalize()): settings_rows(cls) for name, cls in SETTINGS.items()}
    tables[("settings.md", "Traces")] = settings_rows(TracingSettings)
    for name, make in METRICS.items():
        tables[("operations/metrics.md", heading_of(name))] = metrics_rows(make)
    return tables


def heading_of(name: str) -> str:
    """The heading of the table of a key of METRICS."""
    return f"Metrics of {name}" if name == "every service" else f"Metrics of the {name}"


def documented_metrics(service: str) -> set[str]:
    """The metrics that the page names for a service, those of every service included."""
    page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
    headings = (heading_of("every service"), heading_of(service))
    return {cells(row)[0] for heading in headings for row in section_rows(page, heading)[2:]}


def write() -> None:
    """Replace the tables in the pages."""
    for (name, heading), rows in expected().items():
        path = DOCS / name
        page = path.read_text(encoding="utf-8")
        before, mark, after = page.partition(f"\n## {heading}\n")
        old = first_table(after.splitlines())
        if not mark or not old:
            raise SystemExit(f"{name} has no table under {heading}")
        path.write_text(before + mark + after.replace("\n".join(old), "\n".join(rows), 1), encoding="utf-8")


if __name__ == "__main__":
    write()
