"""The committed reports are about the bundled models, and the pages that repeat their figures repeat them right."""

import json
from pathlib import Path
from typing import Any

import pytest

import ranker_svc
from services.calibration import checkpoint_fingerprint, load_calibrators
from services.policy import default_policy_path, load_policy
from tests.unit.docs.tables import DOCS

RESULTS = DOCS / "results"
RANKER = Path(ranker_svc.__path__[0]) / "models" / "demo"
ROUTED = "ranker's probability, routed traffic"


def report(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def shown(figure: dict[str, float], digits: int) -> str:
    return f"{figure['value']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


@pytest.mark.parametrize("name", ["evaluation", "openmoji"])
def test_a_report_is_of_the_bundled_models(name: str) -> None:
    models = report(name)["models"]
    assert models["policy"] == load_policy(default_policy_path()).content_hash
    assert models["ranker"] == checkpoint_fingerprint(RANKER)
    fitted = load_calibrators(RANKER / "calibrators")["demo-p2"].fitted_for
    assert (models["encoder"], models["bank"]) == (fitted.encoder, fitted.bank_revision)


def test_the_calibrator_is_the_reported_one() -> None:
    assert report("calibration")["calibrator"] == load_calibrators(RANKER / "calibrators")["demo-p2"].model_dump()
    fitted = load_calibrators(RANKER / "calibrators")["demo-p2"].fitted_for
    assert fitted.policy_hash == load_policy(default_policy_path()).content_hash


def test_the_readme_and_the_cards_repeat_the_report() -> None:
    found = report("evaluation")
    recalls = [shown(each, 2) for each in found["router_recall"].values()]
    assert len(recalls) == 3
    passed, roc = shown(found["pass_rate"], 3), found["quality"][ROUTED]["overall"]["roc_auc"]
    caught = found["groups"]["kind"]["violation"]["found"]
    root = DOCS.parent
    readme = (root / "README.md").read_text(encoding="utf-8")
    router = (root / "router_svc" / "models" / "demo" / "README.md").read_text(encoding="utf-8")
    ranker = (root / "ranker_svc" / "models" / "demo" / "README.md").read_text(encoding="utf-8")
    for text in (*recalls, passed):
        assert text in readme
        assert text in router
    assert shown(roc, 2) in readme
    assert shown(caught, 2) in readme
    for name in ("pr_auc", "roc_auc", "max_f1"):
        assert shown(found["quality"][ROUTED]["overall"][name], 3) in ranker
    assert shown(found["calibration"]["error"], 3) in ranker
