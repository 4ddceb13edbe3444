"""Random checkpoints of the other model families, made from nothing: their real architecture, tokens and templates."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.torchvision_compat import ensure_torchvision

LLAVA_NEXT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}{% endif %}{% endfor %}"
)
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'video') %}{{ '<video>' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_QWEN_TURNS = (
    "<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN2_5_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}" + _QWEN_TURNS
)
QWEN3_TEMPLATE = "{% for message in messages %}" + _QWEN_TURNS
CORPUS = [
    "Does this video show a building on fire? Answer Yes or No.",
    "Does this video violate the policy? Answer Yes or No.",
    "[INST] [/INST] Yes [/INST] No Yes No yes no user assistant system You are a helpful assistant.",
    "user\nYes\nNo\nassistant\nYes\nassistant\nNo <0.5 seconds><1.0 seconds>",
] * 4
QWEN_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TEXT = {
    # Heads of 32: vLLM's attention on a CPU takes none that are smaller.
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    # Large weights, so that logits differ visibly between prompts.
    "initializer_range": 0.3,
}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN_TOWER = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "patch_size": 4,
    "out_hidden_size": 64,
    "initializer_range": 0.3,
}


def save_as_published(model: Any, directory: Path) -> None:
    """Write a checkpoint under published ones' names: transformers leaves `vision_model` out of a tower's."""
    from safetensors.torch import load_file, save_file

    model.eval().save_pretrained(directory)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    old, new = "vision_tower.", "vision_tower.vision_model."
    named = {name if new in name else name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(named, path, metadata={"format": "pt"})


def build_tiny_llava_next(directory: Path) -> Path:
    """LLaVA 1.6: CLIP at 32 px with tiles, Mistral; its tokenizer puts the beginning of sequence, not its template."""
    ensure_torchvision()
    import transformers

    tokenizer = _tokenizer(["<unk>", "<s>", "</s>", "<pad>", "<image>"], begins=True)
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    config = transformers.LlavaNextConfig(
        vision_config=transformers.CLIPVisionConfig(**TOWER, image_size=32, patch_size=8, initializer_range=0.3),
        text_config=transformers.MistralConfig(**TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    save_as_published(_seeded(transformers.LlavaNextForConditionalGeneration, config), directory)
    transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT_TEMPLATE,
    ).save_pretrained(directory)
    return directory


def build_tiny_llava_onevision(directory: Path) -> Path:
    """LLaVA-OneVision: SigLIP at 32 px with tiles, Qwen2."""
    ensure_torchvision()
    import transformers

    tokenizer = _tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"])
    pinpoints = [[32, 32], [32, 64], [64, 32], [64, 64]]
    config = transformers.LlavaOnevisionConfig(
        vision_config=transformers.SiglipVisionConfig(**TOWER, image_size=32, patch_size=8, vision_use_head=False),
        text_config=transformers.Qwen2Config(**TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1,
    )
    save_as_published(_seeded(transformers.LlavaOnevisionForConditionalGeneration, config), directory)
    size = {"height": 32, "width": 32}
    transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=ONEVISION_TEMPLATE,
    ).save_pretrained(directory)
    return directory


def build_tiny_qwen2_5_vl(directory: Path) -> Path:
    """Qwen2.5-VL: windowed attention, positions that count time."""
    ensure_torchvision()
    import transformers

    tokenizer = _tokenizer(QWEN_SPECIALS)
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            **QWEN_TOWER,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        text_config={**TEXT, **_ids(tokenizer), "rope_parameters": _rope([4, 6, 6])},
        **_vision_ids(tokenizer),
    )
    save_as_published(_seeded(transformers.Qwen2_5_VLForConditionalGeneration, config), directory)
    transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=4),
        video_processor=transformers.Qwen2VLVideoProcessor(patch_size=4),
        tokenizer=tokenizer,
        chat_template=QWEN2_5_TEMPLATE,
    ).save_pretrained(directory)
    return directory


def build_tiny_qwen3_vl(directory: Path) -> Path:
    """Qwen3-VL: features of several depths, times written as text."""
    ensure_torchvision()
    import transformers

    tokenizer = _tokenizer(QWEN_SPECIALS)
    config = transformers.Qwen3VLConfig(
        vision_config={
            **QWEN_TOWER,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={
            **TEXT,
            **_ids(tokenizer),
            "head_dim": 32,
            "rope_parameters": {**_rope([6, 5, 5]), "mrope_interleaved": True},
        },
        **_vision_ids(tokenizer),
    )
    save_as_published(_seeded(transformers.Qwen3VLForConditionalGeneration, config), directory)
    half = [0.5, 0.5, 0.5]
    transformers.Qwen3VLProcessor(
        # vLLM normalises images and videos alike, with the images' mean and deviation.
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=4, image_mean=half, image_std=half),
        video_processor=transformers.Qwen3VLVideoProcessor(patch_size=4, image_mean=half, image_std=half),
        tokenizer=tokenizer,
        chat_template=QWEN3_TEMPLATE,
    ).save_pretrained(directory)
    return directory


BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    "llava_next": build_tiny_llava_next,
    "llava_onevision": build_tiny_llava_onevision,
    "qwen2_5_vl": build_tiny_qwen2_5_vl,
    "qwen3_vl": build_tiny_qwen3_vl,
}


def _tokenizer(specials: Sequence[str], *, begins: bool = False) -> Any:
    """Byte-level BPE of some 400 tokens. With `begins` the tokenizer puts `<s>` before every text."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=420, min_frequency=2, special_tokens=list(specials))
    if begins:
        trained._tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", specials.index("<s>"))]
        )
        names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    else:
        names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **names)


def _ids(tokenizer: Any) -> dict[str, int | None]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _vision_ids(tokenizer: Any) -> dict[str, int]:
    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    return {f"{key}_token_id": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()}


def _rope(section: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": section}


def _seeded(model: Callable[[Any], Any], config: Any) -> Any:
    import torch

    torch.manual_seed(5)
    return model(config)
