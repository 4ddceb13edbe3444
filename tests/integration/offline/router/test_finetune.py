"""Fine-tuning of the bundled router and of a model that open_clip knows by name, on toy videos."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from offline.commands.router import app
from offline.manifest import Labelled, read_manifest
from offline.router.finetune import CHECKPOINT, finetune
from offline.router.lessons import FinetuneRecipe, rate_at
from offline.router.tower import Learning, Tower, export
from offline.stages import ROUTER_MODEL
from services.encoder.open_clip import load_encoder, load_parts

RECIPE = FinetuneRecipe(steps=6, batch=16, tower_rate=1e-3, head_rate=1e-3, frames=2, held_out=0.2, warm_up=0.0)
PICTURE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def rows(manifest: Path) -> list[Labelled]:
    return read_manifest(manifest)


def tune(rows: list[Labelled], out: Path, learning: Learning = Learning(), **changes: Any) -> list[float]:  # noqa: B008
    quiet = Console(file=io.StringIO(), width=150)
    recipe = replace(RECIPE, **changes)
    return finetune(str(ROUTER_MODEL), None, rows, out, learning, recipe, quiet, workers=0, save_every=3)


@pytest.fixture(scope="module")
def tuned(rows: list[Labelled], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    out = tmp_path_factory.mktemp("tuned") / "model"
    return out, tune(rows, out)


def state(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(out / "training" / CHECKPOINT, weights_only=True)
    return found


def test_the_loss_falls(tuned: tuple[Path, list[float]]) -> None:
    losses = tuned[1]
    assert len(losses) == RECIPE.steps
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])


def test_the_export_loads_and_sees_with_other_eyes(tuned: tuple[Path, list[float]]) -> None:
    before, after = load_encoder(str(ROUTER_MODEL)), load_encoder(str(tuned[0]))
    old, new = (encoder.embed_images([PICTURE]) for encoder in (before, after))
    assert after.dim == before.dim
    assert after.fingerprint != before.fingerprint
    assert np.linalg.norm(new) == pytest.approx(1, abs=1e-5)
    assert float((old * new).sum()) < 0.9999
    assert not (tuned[0] / "background.json").exists(), "it is of the old encoder"


def test_what_is_locked_stays(tuned: tuple[Path, list[float]]) -> None:
    old = load_parts(str(ROUTER_MODEL)).network.state_dict()
    learnt = state(tuned[0])["tower"]
    moved = {name for name, value in old.items() if not torch.equal(learnt[f"network.{name}"], value)}
    last = max(int(n.split(".")[3]) for n in old if n.startswith("visual.transformer.resblocks."))
    assert moved
    assert all(n.startswith((f"visual.transformer.resblocks.{last}.", "visual.ln_post.", "visual.proj")) for n in moved)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    rows: list[Labelled], tuned: tuple[Path, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"

    def stop(progress: float, warm_up: float) -> float:
        if progress > 0.6:  # in the fifth step; the checkpoint is of the third
            raise KeyboardInterrupt
        return rate_at(progress, warm_up)

    with monkeypatch.context() as patched:
        patched.setattr("offline.router.finetune.rate_at", stop)
        with pytest.raises(KeyboardInterrupt):
            tune(rows, out)
    assert state(out)["step"] == 3
    assert not (out / "open_clip_config.json").exists()
    rest = tune(rows, out)
    assert rest == pytest.approx(tuned[1][3:], rel=1e-4)
    whole = load_encoder(str(tuned[0])).embed_images([PICTURE])
    assert load_encoder(str(out)).embed_images([PICTURE]) == pytest.approx(whole, abs=1e-4)


def test_other_settings_are_no_resumption(rows: list[Labelled], tuned: tuple[Path, list[float]]) -> None:
    with pytest.raises(ValueError, match=r"other settings \(temperature\); choose another folder"):
        tune(rows, tuned[0], temperature=0.2)


def test_captions_bf16_and_accumulation_without_a_head(rows: list[Labelled], tmp_path: Path) -> None:
    out = tmp_path / "model"
    losses = tune(
        rows, out, Learning(head="none", groups=1), steps=1, accumulate=2, caption_weight=0.5, bf16=True, held_out=0.0
    )
    assert len(losses) == 1
    old, new = load_parts(str(ROUTER_MODEL)).network.state_dict(), load_parts(str(out)).network.state_dict()
    changed = {name for name, value in old.items() if not torch.equal(value.float(), new[name].float())}
    assert "text_projection" in changed, "captions teach the text tower"
    encoder = load_encoder(str(out))
    assert encoder.dim == 128
    assert encoder.supports_text
    assert encoder.embed_images([PICTURE]).shape == encoder.embed_texts(["a cat"]).shape


def test_nothing_to_learn_or_nothing_to_learn_from_is_said(rows: list[Labelled], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing would learn"):
        Tower(load_parts(str(ROUTER_MODEL)), Learning(groups=0, head="none"))
    with pytest.raises(ValueError, match="a head is one of keep, new, none"):
        Learning(head="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="videos that violate something and videos that do not"):
        tune([row for row in rows if not row.truth][:3], tmp_path / "model")


def test_a_named_model_with_a_new_head(tmp_path: Path) -> None:
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    }
    (tmp_path / "toy-vit.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(tmp_path / "toy-vit.json")
    torch.manual_seed(0)
    weights = tmp_path / "toy.pt"
    torch.save(open_clip.create_model("toy-vit").state_dict(), weights)
    parts = load_parts("toy-vit", str(weights))
    tower = Tower(parts, Learning(head="new", tags=5)).eval()
    export(tower, parts, tmp_path / "out", half=True)
    served = load_encoder(str(tmp_path / "out"))
    assert served.dim == 128
    pixels = torch.stack([parts.preprocess(Image.fromarray(PICTURE))])
    with torch.no_grad():
        assert served.embed_images([PICTURE]) == pytest.approx(tower(pixels).numpy(), abs=0.01)


def test_the_command_tells_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "none.mp4"}\n', encoding="utf-8")
    args = ["finetune-router", str(ROUTER_MODEL), "--manifest", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert "there is no file" in result.output.replace("\n", "")
