"""The pages hang together: every link leads somewhere, every page is in the index, records are short and numbered."""

import re
from pathlib import Path

import pytest

from tests.unit.docs.tables import DOCS

PAGES = sorted({*DOCS.glob("*.md"), *DOCS.glob("*/*.md")} - {*DOCS.glob("decisions/*")})
RECORDS = sorted((DOCS / "decisions").glob("*.md"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", [*PAGES, *RECORDS], ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    targets = LINK.findall(path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_index_has_every_page() -> None:
    index = _links(DOCS / "README.md")
    results = {
        f"results/{name}" for name in _links(DOCS / "results" / "README.md")
    }  # reports have an index of their own
    wanted = {path.relative_to(DOCS).as_posix() for path in (*PAGES, *RECORDS)} - {"README.md"}
    assert "results/README.md" in index
    assert wanted - index - results == set()


def _links(page: Path) -> set[str]:
    return set(LINK.findall(page.read_text(encoding="utf-8")))


def test_records_are_numbered_without_gaps_and_short() -> None:
    assert [path.name[:4] for path in RECORDS] == [f"{number:04d}" for number in range(1, len(RECORDS) + 1)]
    assert RECORDS
    for path in RECORDS:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, path.name
        assert all(f"## {part}\n" in text for part in ("Context", "Choice", "Rejected", "Consequences")), path.name
