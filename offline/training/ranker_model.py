"""The bundled ranker's architecture, tokenizer and export: a small LLaVA that transformers and vLLM load alike."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import ISSUES, ROLE_OF, ROLES
from offline.training.clip_model import GRID, IMAGE_SIZE, MEAN, PATCH, STD
from offline.training.convert import vision_config, vision_state
from offline.training.vocabulary import IMAGE, spoken, train_tokenizer
from services.contracts import Context
from services.policy import Policy
from services.prompts import context_block, questions, render

TURN_START, TURN_END = "USER: ", " ASSISTANT:"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for item in message['content'] if item['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }}{% endfor %}"
    "{% else %} ASSISTANT: {% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def corpus(art: Art, policy: Policy) -> list[str]:
    """Text that the tokenizer should write in few tokens: every prompt that is served or taught, and captions."""
    lines = []
    for issue in policy.slice(None).issues:
        for prompt in ("P1", "P2", "P3", "P4"):
            for question in questions(prompt, issue):
                lines += [f"{TURN_START}\n{render(question)}{TURN_END} {answer}" for answer in ("Yes", "No")] * 8
    lines += [context_block(Context(title="a title", description="words", tags=("tag",)))] * 20
    for name in (*ROLE_OF, *ROLES, *(issue.id for issue in ISSUES)):
        lines += [f"Is there any {spoken(name)} together with any {spoken(name)}? Answer Yes or No."] * 12
        lines += [f"Is there a {spoken(name)} and {spoken(name)}; then {spoken(name)}. It shows {spoken(name)}."] * 4
    lines += [f"Describe this video. {spoken(name)} and {spoken(name)}; then Nothing is wrong." for name in art.others]
    return lines


def tokenizer(art: Art, policy: Policy) -> PreTrainedTokenizerFast:
    """Byte-level BPE; Yes and No are single tokens after the chat template."""
    made = train_tokenizer(corpus(art, policy), vocab_size=1536)
    made.add_special_tokens({"additional_special_tokens": [IMAGE]})
    for word in (" Yes", " No"):
        if len(made.encode(word, add_special_tokens=False)) != 1:
            raise RuntimeError(f"{word!r} must be one token")
    return made


def build(clip_config: Mapping[str, Any], tokens: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """A LLaVA with random weights: CLIP ViT, two-layer MLP, small Llama."""
    text = LlamaConfig(
        vocab_size=len(tokens), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=3,
        num_key_value_heads=3, head_dim=64, max_position_embeddings=4096, tie_word_embeddings=True,
        bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision_config(clip_config)), text_config=text, projector_hidden_act="gelu",
        image_token_index=tokens.vocab[IMAGE], image_seq_length=GRID * GRID, vision_feature_layer=-1,
        vision_feature_select_strategy="default", tie_word_embeddings=True,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config)


def load_tower(model: LlavaForConditionalGeneration, clip_state: Mapping[str, torch.Tensor]) -> None:
    """Give the model the router's eyes."""
    model.model.vision_tower.load_state_dict(vision_state(clip_state), strict=True)


def processor(tokens: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Squashes a frame to the tower's square, as the router does, and writes the placeholders."""
    images = CLIPImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(
        image_processor=images, tokenizer=tokens, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT_TEMPLATE,
    )  # fmt: skip


def export(model: LlavaForConditionalGeneration, tokens: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the checkpoint in float16, with the parameter names of published LLaVA checkpoints, which vLLM wants."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    processor(tokens).save_pretrained(folder)
    path = folder / "model.safetensors"
    tensors = {_published(name): tensor.contiguous() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _published(name: str) -> str:
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
    return name
