"""The loss of the router's embedding: supervised contrast on the fine-grained label, with proxies beside it.

Liang et al. 2025 (arXiv 2507.01066): positives share a fine-grained risk label. Look-alikes are the hard negatives.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def contrast(
    z: Tensor, labels: Tensor, temperature: float, *, hard: Tensor | None = None, hard_weight: float = 1.0
) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, L_out), zero where no two share a label.

    Args:
        z: unit vectors [n, d].
        labels: bool [n, k], the labels that each has; two are positives of each other where they share one. Those
            without a label are negatives, and no anchors.
        temperature: greater than 0.
        hard: bool [n, k], the labels that each resembles without having them.
        hard_weight: how many negatives such a one counts for with an anchor that has the label.
    """
    own = labels.float()
    self_mask = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = z @ z.T / temperature
    if hard is not None and hard_weight != 1.0:
        resembles = (own @ hard.float().T > 0) & (own @ own.T == 0)
        logits = logits + math.log(hard_weight) * resembles
    logits = logits.masked_fill(self_mask, -1e9)
    positive = (own @ own.T > 0) & ~self_mask
    anchors = positive.any(dim=1)
    if not anchors.any():
        return z.sum() * 0.0
    log_share = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    mean = (log_share * positive).sum(1)[anchors] / positive.sum(1)[anchors]
    return -mean.mean()


class Objective(nn.Module):
    """Contrast among the frames of a batch, plus a binary question of every frame to a learned proxy of each label.

    Args:
        labels: number k of labels.
        dim: length of the vectors.
        temperature: of the contrast.
        proxy_weight: of the proxies' loss; 0 leaves them out.
        hard_weight: as of `contrast`; it also weighs hard negatives at the proxies.
    """

    def __init__(
        self, labels: int, dim: int, *, temperature: float = 0.1, proxy_weight: float = 1.0, hard_weight: float = 2.0
    ) -> None:
        super().__init__()
        self.proxies = nn.Parameter(F.normalize(torch.randn(labels, dim), dim=-1))
        self.scale, self.shift = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-4.0))
        self._temperature, self._proxy_weight, self._hard_weight = temperature, proxy_weight, hard_weight

    def forward(self, z: Tensor, labels: Tensor, hard: Tensor) -> Tensor:
        """The loss of unit vectors [n, d] with bool [n, k] labels and resemblances."""
        loss = contrast(z, labels, self._temperature, hard=hard, hard_weight=self._hard_weight)
        if self._proxy_weight == 0:
            return loss
        weight = torch.where(hard & ~labels, self._hard_weight, 1.0)
        logits = self.scale * self.similarities(z) + self.shift
        asked = F.binary_cross_entropy_with_logits(logits, labels.float(), weight=weight)
        return loss + self._proxy_weight * asked * labels.shape[1]

    def similarities(self, z: Tensor) -> Tensor:
        """Cosines [n, k] with the proxies."""
        return z @ F.normalize(self.proxies, dim=-1).T
