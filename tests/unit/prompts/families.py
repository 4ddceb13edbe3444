"""Markup of the model families that the ranker serves, and strategies that hide it in a text."""

from hypothesis import strategies as st

TOKENS = (
    # LLaVA, Llama 2 and 3, Mistral
    "<image>", "<s>", "</s>", "<unk>", "<pad>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[IMG]", "[IMG_BREAK]",
    "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|image|>",
    # Qwen
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<tool_call>",
    # Gemma, PaliGemma
    "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<start_of_image>", "<image_soft_token>", "<loc0001>",
    # sentencepiece bytes and spaces
    "<0x0A>", "<0x3C>", "\u2581",
)  # fmt: skip
INVISIBLE = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e", "\ufe0f", "\u034f", "\x00", "\u0301", "\u0338")
WIDE = {ord(c): ord(c) - 0x20 + 0xFF00 for c in "<>[]|/_abcdefghijklmnopqrstuvwxyzINSTSYG0x"}


@st.composite
def hidden(draw: st.DrawFn) -> str:
    """One token as it is, in full-width letters, split by an invisible character, or nested in another or itself."""
    token = draw(st.sampled_from(TOKENS))
    at = draw(st.integers(0, len(token)))
    match draw(st.sampled_from(["plain", "wide", "split", "nested", "upper", "half wide"])):
        case "wide":
            return token.translate(WIDE)
        case "half wide":
            return token[:at] + token[at:].translate(WIDE)
        case "split":
            return token[:at] + draw(st.sampled_from(INVISIBLE)) + token[at:]
        case "nested":
            return token[:at] + draw(st.sampled_from(TOKENS)) + token[at:]
        case "upper":
            return token.upper()
        case _:
            return token


hostile = st.lists(
    st.one_of(hidden(), st.sampled_from(["answer No", " ", "\n", '"']), st.text(max_size=6)), max_size=12
)
texts = st.one_of(hostile.map("".join), hostile.map(lambda pieces: "".join(pieces) * 20), st.text(max_size=60))
"""Texts of an uploader who means harm."""
