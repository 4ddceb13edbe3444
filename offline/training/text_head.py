"""Trains the encoder's text head: sentences about frames of the `train` split learn to lie where the frames lie.

About five minutes on two cores, nearly all of it drawing and embedding: nothing is kept for a run that is stopped.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from offline.demo_world.art import Art
from offline.demo_world.render import draw
from offline.demo_world.scene import Kind, Pools
from offline.demo_world.splits import DEFAULT_SEED, FULL, KINDS, Counts, scene_at
from offline.demo_world.taxonomy import violated
from offline.training.captions import caption
from services.encoder import Encoder
from services.encoder.open_clip import load_encoder, load_parts
from services.encoder.text_head import TextHead, TextHeadConfig, plain_words, text_embedding

_BATCH = 32
"""Scenes that are embedded together, sentences by 16 times as many."""
Frame = tuple[npt.NDArray[np.uint8], tuple[str, ...]]
"""Pixels [WORLD_SIZE, WORLD_SIZE, 3] and the short names of what is in it."""


@dataclass(frozen=True)
class TextHeadRecipe:
    """Settings of the text head's training.

    Attributes:
        counts: videos of the `train` split whose frames are learnt from, one frame of each shot.
        captions: sentences about a frame that violates nothing.
        guilty_captions: sentences about one that does: such sentences are what seeds are made of.
        held_out: every so many-th frame is kept to examine on.
        seed: of frame times, sentences, first weights and batches.
    """

    steps: int = 3000
    batch: int = 384
    learning_rate: float = 1e-3
    hidden: int = 512
    counts: Counts = FULL["train"]
    captions: int = 2
    guilty_captions: int = 6
    held_out: int = 20
    seed: int = 7


class TrainFrames(Dataset[list[Frame]]):
    """One frame of every shot of the videos of the `train` split, drawn without rendering the videos."""

    def __init__(self, art: Art, counts: Counts, seed: int) -> None:
        self._art, self._seed = art, seed
        self._pools = Pools(art.neutral, art.others)
        self._scenes: list[tuple[Kind, int]] = [(kind, index) for kind in KINDS for index in range(counts.of(kind))]

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, place: int) -> list[Frame]:
        kind, index = self._scenes[place]
        scene = scene_at(DEFAULT_SEED, "train", kind, index, self._pools)
        rng = np.random.default_rng([self._seed, place])
        quality = int(rng.integers(40, 91))
        frames = []
        for shot in scene.shots:
            pixels = draw(shot, scene.style, float(rng.uniform(shot.start_s, shot.end_s)), self._art)
            frames.append((_compressed(pixels, quality), tuple(sorted(shot.names))))
        return frames


def train_text_head(
    art_folder: Path, model: Path, recipe: TextHeadRecipe, console: Console, *, workers: int = 1
) -> TextHead:
    """Train a text head for the encoder in the directory `model`, which has a head; nothing is written.

    Args:
        art_folder: where the art is, or is fetched to.
        model: the router's model directory.
        recipe: settings.
        console: for progress.
        workers: processes that draw.

    Raises:
        ValueError: the encoder has no head, and needs none for sentences.
    """
    parts = load_parts(str(model))
    if parts.head is None:
        raise ValueError(f"{model} has no head: its own text tower serves sentences")
    encoder = load_encoder(str(model))
    vectors, names = _embedded(encoder, TrainFrames(Art(art_folder), recipe.counts, recipe.seed), workers, console)
    rng = np.random.default_rng(recipe.seed)
    counts = [recipe.guilty_captions if violated((frozenset(each),)) else recipe.captions for each in names]
    about = torch.repeat_interleave(torch.arange(len(names)), torch.tensor(counts))
    sentences = [plain_words(caption(names[int(frame)], rng)) for frame in about]
    told = _told(parts.network, parts.name, sentences)
    return fit_text_head(told, about, vectors, recipe, console, encoder=encoder.fingerprint)


def fit_text_head(
    told: torch.Tensor,
    about: torch.Tensor,
    vectors: torch.Tensor,
    recipe: TextHeadRecipe,
    console: Console,
    *,
    encoder: str,
) -> TextHead:
    """Learn to put sentences where the frames lie that they are about: the loss is 1 - cosine.

    The usual contrast among the sentences of a batch would push a sentence away from frames that it is true of as well.

    Args:
        told: the text tower's embeddings of sentences, [n, width].
        about: the frame that each is about, integers [n].
        vectors: unit vectors of the frames, [frames, dim].
        recipe: settings.
        console: for progress.
        encoder: fingerprint of the encoder that made the vectors.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = TextHead(TextHeadConfig(encoder, told.shape[1], recipe.hidden, vectors.shape[1]))
    kept = about % recipe.held_out == 0
    learnt, asked = torch.nonzero(~kept).flatten(), torch.nonzero(kept).flatten()
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    for step in range(1, recipe.steps + 1):
        pick = learnt[torch.randint(len(learnt), (recipe.batch,), generator=generator)]
        loss = 1 - _cosine(head(told[pick]), vectors[about[pick]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == recipe.steps:
            with torch.no_grad():
                held = float(_cosine(head(told[asked]), vectors[about[asked]]))
            console.print(
                f"text head: step {step} of {recipe.steps}, loss {loss.item():.3f}, held-out mean cosine {held:.3f}"
            )
    return head.eval()


def _cosine(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Mean cosine of the rows of two tables of unit vectors."""
    return (ours * theirs).sum(dim=1).mean()


def _embedded(
    encoder: Encoder, frames: TrainFrames, workers: int, console: Console
) -> tuple[torch.Tensor, list[tuple[str, ...]]]:
    """Vectors [n, dim] of all frames, and the names of what each shows."""
    loader: DataLoader[list[Frame]] = DataLoader(frames, batch_size=_BATCH, num_workers=workers, collate_fn=_flat)
    vectors: list[npt.NDArray[np.float32]] = []
    names: list[tuple[str, ...]] = []
    for batch in track(loader, description="embedding train frames", console=console):
        vectors.append(encoder.embed_images([pixels for pixels, _ in batch]))
        names += [shown for _, shown in batch]
    return torch.from_numpy(np.concatenate(vectors)), names


def _told(network: object, name: str, sentences: Sequence[str]) -> torch.Tensor:
    """The text tower's embeddings [n, width]; a sentence that stands there twice is asked once."""
    from open_clip import get_tokenizer

    distinct = sorted(set(sentences))
    place = {sentence: index for index, sentence in enumerate(distinct)}
    tokenizer, size = get_tokenizer(name), 16 * _BATCH
    with torch.no_grad():
        parts = [
            text_embedding(network, tokenizer, distinct[start : start + size], torch.device("cpu"))
            for start in range(0, len(distinct), size)
        ]
    return torch.cat(parts)[torch.tensor([place[sentence] for sentence in sentences])]


def _flat(scenes: Sequence[list[Frame]]) -> list[Frame]:
    return [frame for scene in scenes for frame in scene]


def _compressed(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    """As a codec leaves it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
