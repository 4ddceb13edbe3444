"""A random LLaVA checkpoint of a few hundred kilobytes, made from nothing: what the loader needs, and no more."""

from pathlib import Path

from services.torchvision_compat import ensure_torchvision
from tests.integration.ranker.tiny_families import save_as_published

SIZE, PATCH = 32, 16
TOKENS_PER_FRAME = (SIZE // PATCH) ** 2
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
CORPUS = [
    "Does this video show a building on fire? Answer Yes or No.",
    "Does this video violate the policy? Answer Yes or No.",
    "USER: ASSISTANT: Yes ASSISTANT: No Yes No yes no",
] * 4


def build_tiny_llava(directory: Path, *, corpus: list[str] | None = None, max_positions: int = 2048) -> Path:
    """Write the checkpoint and return its directory."""
    ensure_torchvision()
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    specials = ["<pad>", "<s>", "</s>", "<image>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS if corpus is None else corpus, vocab_size=400, min_frequency=2, special_tokens=specials
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    image_id = specials.index("<image>")
    torch.manual_seed(5)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIZE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            # Heads of 32: vLLM's attention on a CPU takes none that are smaller.
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=max_positions,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            # Large weights, so that logits differ visibly between prompts.
            initializer_range=0.5,
        ),
        image_token_index=image_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=TOKENS_PER_FRAME,
    )
    save_as_published(LlavaForConditionalGeneration(config), directory)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"height": SIZE, "width": SIZE}, do_center_crop=False, crop_size={"height": SIZE, "width": SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(directory)
    return directory
