"""A LLaVA of 0.2 B random parameters, so that a model step costs what it costs beside a real model; made once."""

import json
import os
import shutil
from pathlib import Path

from ranker_svc.settings import bundled_model
from services.torchvision_compat import ensure_torchvision
from tests.bench.clips import FOLDER
from tests.integration.ranker.tiny_families import save_as_published

SIDE, PATCH = 224, 32
TOKENS_PER_FRAME = (SIDE // PATCH) ** 2
_COPIED = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


def wide_llava() -> Path:
    """The checkpoint's directory; it is made where it is not there yet."""
    path = (FOLDER / f"llava-{SIDE}-{PATCH}").absolute()
    if not path.is_dir():
        unfinished = path.with_name(f"unfinished-{os.getpid()}-{path.name}")
        unfinished.mkdir(parents=True)
        _write(unfinished)
        unfinished.rename(path)
    return path


def _write(folder: Path) -> None:
    """A ViT-B/32 and a Llama of 12 layers, 768 wide; tokenizer and template are the bundled model's."""
    ensure_torchvision()
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    source = Path(bundled_model())
    small = json.loads((source / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(7)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=32_000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            **{name: small["text_config"][name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
        ),
        image_token_index=small["image_token_index"],
        image_seq_length=TOKENS_PER_FRAME,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    save_as_published(LlavaForConditionalGeneration(config).to(torch.bfloat16), folder)
    for name in _COPIED:
        shutil.copy(source / name, folder / name)
    processor = json.loads((source / "processor_config.json").read_text(encoding="utf-8"))
    processor["image_processor"] |= {"size": {"height": SIDE, "width": SIDE}}
    processor["patch_size"] = PATCH
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n", encoding="utf-8")
