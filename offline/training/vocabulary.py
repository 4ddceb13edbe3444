"""The classes of dense training and the small tokenizer that both bundled models use."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from offline.demo_world.art import Art
from offline.demo_world.taxonomy import AMBIGUOUS, ROLE_OF, ROLES

TAGS: tuple[str, ...] = tuple(ROLES)
_KIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "adult": (
            "person", "person-role", "person-fantasy", "person-activity", "person-sport", "person-gesture",
            "person-resting", "person-symbol", "family",
        ),
        "animal": ("animal-mammal", "animal-bird", "cat-face", "monkey-face"),
        "vehicle": ("transport-ground",),
        "building": ("place-building", "place-religious"),
        "money": ("money", "currency"),
        "party": ("event",),
        "medical": ("medical",),
        "desk": ("computer",),
        "harmless_target": ("food-vegetable",),
    }
)  # fmt: skip
"""Sub-categories whose emoji are of a role's kind without playing it: a policeman is an adult. None is a trigger or
stands beside one, so that it does not matter whether the tag is found in them; to insist that it is not would make it
hang on details of one artist."""
PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"


def spoken(name: str) -> str:
    """A short name as words."""
    return name.replace("_", " ").replace("-", " ")


@dataclass(frozen=True)
class Classes:
    """Patch classes: every name that plays a role by itself, everything else by sub-category, and background last."""

    names: tuple[str, ...]
    of: dict[str, int]
    tag_of: dict[str, int]

    @property
    def background(self) -> int:
        """Index of the class of patches that show nothing."""
        return len(self.names)

    def kin(self) -> np.ndarray:
        """bool [classes and the background, tags]: where it does not matter whether the tag is found."""
        found = np.zeros((len(self.names) + 1, len(TAGS)), dtype=bool)
        for role, groups in _KIN.items():
            for group in groups:
                name = f"other {group}"
                if name in self.names:
                    found[self.names.index(name), TAGS.index(role)] = True
        return found

    @classmethod
    def of_art(cls, art: Art) -> "Classes":
        """The classes of everything that the art can draw, ambiguous names left out."""
        # "other": the sub-categories hotel, office and computer share their names with things that play a role.
        names = (*ROLE_OF, *(f"other {group}" for group in sorted({e.subcategory for e in art.emoji.values()})))
        index = {name: i for i, name in enumerate(names)}
        usable = [e for e in art.emoji.values() if e.name not in AMBIGUOUS]
        of = {e.name: index[e.name if e.name in ROLE_OF else f"other {e.subcategory}"] for e in usable}
        tags = {role: i for i, role in enumerate(TAGS)}
        return cls(names, of, {name: tags[role] for name, role in ROLE_OF.items()})


def train_tokenizer(corpus: Iterable[str], *, vocab_size: int = 1536) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text can be written with it, the corpus's words are short in it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=4096,
        padding_side="right",
    )


@functools.lru_cache(maxsize=1)
def captions_corpus(art_names: tuple[str, ...]) -> tuple[str, ...]:
    """Sentences that make the tokenizer know the words of captions."""
    return tuple(f"a picture of {spoken(name)} and {spoken(name)}, nothing else." for name in art_names)


def clip_tokenizer(art: Art, folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the text tower, saved in `folder`; a caption ends with `</s>`, where the tower pools."""
    tokenizer = train_tokenizer(captions_corpus(tuple(sorted(art.emoji))), vocab_size=1280)
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        special_tokens=[(BOS, backend.token_to_id(BOS)), (EOS, backend.token_to_id(EOS))],
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
