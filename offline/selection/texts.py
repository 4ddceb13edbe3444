"""What sentences catch where an issue has no video seed, beside golden seeds and beside sentences in CLIP's space."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from offline.router.compare import PASS_RATES
from offline.selection.banks import IDS, Floats, Floats32, Traffic, fit, recalls, risks
from offline.selection.sentences import SENTENCES
from offline.selection.world import World
from offline.statistics import Estimate, bootstrap, recall_at_pass_rate
from services.contracts import SeedKind
from services.encoder import Encoder

TEXT, GOLDEN, CAPTION = "sentences", "golden seeds", "sentences, CLIP's space"
ALL = "all issues"


@dataclass(frozen=True)
class Caught:
    """What one bank finds of one issue.

    Attributes:
        issue: id, or ALL.
        seeds: which.
        alone: recall at each of PASS_RATES, each the share of traffic that may pass for this issue.
        among: recall at each of PASS_RATES, each the share of traffic that may pass at all, where the other issues have
            golden seeds; for ALL the whole bank is of these seeds.
    """

    issue: str
    seeds: str
    alone: tuple[Estimate, ...]
    among: tuple[Estimate, ...]


@dataclass(frozen=True)
class Texts:
    """The part of the report on text seeds.

    Attributes:
        sentences: of each issue.
        rows: of each issue and bank.
    """

    sentences: Mapping[str, tuple[str, ...]]
    rows: tuple[Caught, ...]


def texts(
    world: World, encoder: Encoder, model: Path, traffic: Traffic, golden: Mapping[str, Floats32], *, rounds: int
) -> Texts:
    """Measure on `traffic`.

    Args:
        world: the splits.
        encoder: one that supports text.
        model: its directory; where it has a head, its image embedding is compared too.
        traffic: the split `test`.
        golden: seed vectors of every issue.
        rounds: of the bootstrap.
    """
    sentences: dict[SeedKind, Mapping[str, Floats32]] = {
        "text": {issue: encoder.embed_texts(SENTENCES[issue]) for issue in IDS}
    }
    seeds: dict[SeedKind, Mapping[str, Floats32]] = {"golden": golden}
    clean = world.clean().frames
    found = {
        TEXT: risks(sentences, traffic, fit(sentences, clean, world.viewer.fingerprint)),
        GOLDEN: risks(seeds, traffic, fit(seeds, clean, world.viewer.fingerprint)),
    }
    if world.viewer.tags:
        plain: dict[SeedKind, Mapping[str, Floats32]] = {"text": caption_vectors(model)}
        background = fit(plain, world.clean(space="caption").frames, world.viewer.fingerprint)
        seen = world.traffic(traffic.rows, "embedding test", space="caption")
        found[CAPTION] = risks(plain, seen, background)
    rows = [
        Caught(issue, name, *_caught(risk, found[GOLDEN], number, traffic, rounds))
        for number, issue in enumerate(IDS)
        for name, risk in found.items()
    ]
    for name, risk in found.items():
        whole = recalls([risk], traffic, rounds=rounds)
        rows.append(Caught(ALL, name, tuple(_mean(rows, name, place) for place in range(len(PASS_RATES))), whole))
    return Texts(dict(SENTENCES), tuple(rows))


def caption_vectors(model: Path) -> dict[str, Floats32]:
    """The sentences of every issue in the space that the image and the text tower share, [n, d] unit vectors."""
    import open_clip
    import torch
    from torch.nn import functional

    from services.encoder.open_clip import load_parts
    from services.encoder.text_head import plain_words, text_embedding

    parts = load_parts(str(model))
    tokenizer = open_clip.get_tokenizer(parts.name)
    vectors: dict[str, Floats32] = {}
    with torch.inference_mode():
        for issue in IDS:
            words = [plain_words(sentence) for sentence in SENTENCES[issue]]
            embedded = text_embedding(parts.network.eval(), tokenizer, words, torch.device("cpu"))
            vectors[issue] = functional.normalize(embedded, dim=-1).numpy()
    return vectors


def _caught(
    risk: Floats, golden: Floats, number: int, traffic: Traffic, rounds: int
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...]]:
    """Recall of one issue's violations by its own risk alone, and in a bank of golden seeds of the other issues."""
    positive = np.array([IDS[number] in row.truth for row in traffic.rows])
    mixed = golden.copy()
    mixed[:, number] = risk[:, number]
    weight, own = traffic.weight, risk[:, number]

    def recall(score: Floats, rate: float) -> Estimate:
        return bootstrap(
            lambda i: recall_at_pass_rate(score[i], own[i], positive[i], weight[i], rate), traffic.strata, rounds=rounds
        )

    return tuple(recall(own, rate) for rate in PASS_RATES), tuple(recall(mixed.max(axis=1), r) for r in PASS_RATES)


def _mean(rows: list[Caught], name: str, place: int) -> Estimate:
    """The mean over the issues; without an interval."""
    return Estimate(float(np.mean([row.alone[place].value for row in rows if row.seeds == name])), np.nan, np.nan)
