"""The bundled ranker with what its training needs: lessons behind one image prefix, and patches near their words."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from offline.demo_world.taxonomy import ROLE_OF
from offline.training.packing import Pack
from offline.training.ranker_model import TURN_START
from offline.training.vocabulary import TAGS, Classes, spoken


class RankerTrainer(nn.Module):
    """The LLaVA and what its training needs beside it."""

    start: torch.Tensor
    newline: torch.Tensor
    name_ids: torch.Tensor
    name_mask: torch.Tensor
    role_of_class: torch.Tensor

    def __init__(self, model: Any, tokens: Any, classes: Classes) -> None:
        super().__init__()
        self.llava = model
        start = [tokens.bos_token_id, *tokens.encode(TURN_START, add_special_tokens=False)]
        self.register_buffer("start", torch.tensor(start), persistent=False)
        self.register_buffer("newline", torch.tensor(tokens.encode("\n", add_special_tokens=False)), persistent=False)
        names = [tokens.encode(" " + spoken(n), add_special_tokens=False) for n in (*classes.names, *TAGS)]
        longest = max(map(len, names))
        self.register_buffer("name_ids", torch.tensor([n + [0] * (longest - len(n)) for n in names]), persistent=False)
        self.register_buffer(
            "name_mask", (torch.arange(longest)[None] < torch.tensor([[len(n)] for n in names])).float(), False
        )
        roles = [TAGS.index(ROLE_OF[n]) if n in ROLE_OF else -100 for n in classes.names] + [-100]
        self.register_buffer("role_of_class", torch.tensor(roles), persistent=False)
        self.n_classes = len(classes.names)
        self.yes, self.no = (tokens.encode(f" {word}", add_special_tokens=False)[0] for word in ("Yes", "No"))

    def hidden(self, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
        """Last hidden states of the lessons [b, n, d], and the projected patches [b, f, patches, d]."""
        inner = self.llava.model
        table = inner.language_model.embed_tokens
        patches = inner.multi_modal_projector(pack.features)
        b, f, _, d = patches.shape
        newline = table(self.newline).expand(b, f, 1, d).to(patches.dtype)
        images = torch.cat([patches, newline], dim=2).flatten(1, 2)[:, :-1]  # the last newline opens every lesson
        prefix = torch.cat([table(self.start).expand(b, -1, d).to(patches.dtype), images], dim=1)
        size = prefix.shape[1]
        sequence = torch.cat([prefix, table(pack.tokens).to(patches.dtype)], dim=1)
        positions = torch.cat([torch.arange(size).expand(b, size), size + pack.offset], dim=1)
        mask = packed_mask(pack.segment, size, sequence.dtype)
        out = inner.language_model(inputs_embeds=sequence, attention_mask=mask, position_ids=positions, use_cache=False)
        return out.last_hidden_state[:, size:], patches

    def loss(self, pack: Pack, align_weight: float) -> torch.Tensor:
        """Weighted mean loss of the answers, and the alignment of patches with words."""
        hidden, patches = self.hidden(pack)
        asked = pack.target != -100
        logits = self.llava.lm_head(hidden[asked]).float()
        target, weight = pack.target[asked], pack.weight[asked]
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        if align_weight > 0:
            loss = loss + align_weight * self.alignment(patches, pack.words)
        return loss

    def margins(self, pack: Pack) -> tuple[torch.Tensor, torch.Tensor]:
        """Logit of Yes minus logit of No for every Yes/No lesson, and whether Yes is right."""
        hidden, _ = self.hidden(pack)
        asked = (pack.target == self.yes) | (pack.target == self.no)
        logits = self.llava.lm_head(hidden[asked]).float()
        return logits[:, self.yes] - logits[:, self.no], pack.target[asked] == self.yes

    def alignment(self, patches: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """A projected patch should lie close to the embedding of its word and of its role."""
        table = self.llava.model.language_model.embed_tokens(self.name_ids)
        names = (table * self.name_mask[..., None]).sum(1) / self.name_mask.sum(1, keepdim=True)
        front = words.flatten() != self.n_classes
        logits = patches.flatten(0, 2)[front] @ names.to(patches.dtype).T * patches.shape[-1] ** -0.5
        own = words.flatten()[front]
        word_loss = F.cross_entropy(logits[:, : self.n_classes].float(), own)
        role = self.role_of_class[own]
        role_loss = F.cross_entropy(logits[:, self.n_classes :].float(), role, ignore_index=-100)
        return word_loss + role_loss


def packed_mask(segment: torch.Tensor, prefix: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive [b, 1, l, l]: causal, and a lesson sees the prefix and itself alone."""
    b, n = segment.shape
    whole = torch.cat([torch.zeros(b, prefix, dtype=segment.dtype), segment], dim=1)
    causal = torch.ones(prefix + n, prefix + n, dtype=torch.bool).tril()
    same = (whole[:, :, None] == whole[:, None, :]) | (torch.arange(prefix + n) < prefix)[None, None, :]
    allowed = causal[None] & same
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
