"""A checkpoint, by its directory or its hub id: how transformers loads its parts, and who it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranker_svc.engines.protocol import EngineStartError
from services.calibration import checkpoint_fingerprint
from services.contracts import ModelIdentity


@dataclass(frozen=True)
class Checkpoint:
    """Where a model's files are.

    Attributes:
        model: directory (nothing is downloaded then), or a hub id.
        revision: branch, tag or commit of a hub id.

    Raises:
        EngineStartError: the model is neither a directory nor a hub id.
    """

    model: str
    revision: str | None = None

    def __post_init__(self) -> None:
        path = Path(self.model)
        if not self.local and (path.is_absolute() or self.model.startswith(".") or self.model.count("/") != 1):
            raise EngineStartError(f"{self.model} is neither a directory nor a hub id (`owner/name`)")

    @property
    def local(self) -> bool:
        """Whether it is a directory."""
        return Path(self.model).is_dir()

    @property
    def name(self) -> str:
        """The directory's name, or the hub id."""
        return Path(self.model).resolve().name if self.local else self.model

    def load(self, kind: Any, **more: Any) -> Any:
        """A part of it, by one of transformers' Auto classes.

        Raises:
            EngineStartError: it is not there, or transformers does not know it.
        """
        try:
            return kind.from_pretrained(
                self.model, local_files_only=self.local, revision=self.revision or "main", **more
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise EngineStartError(f"{self.model} cannot be loaded as an image-text model: {error}") from error

    def identity(self, engine: str, config: Any) -> ModelIdentity:
        """Its name and fingerprint: the hash of its files, or the hub id and the commit, which the config knows."""
        commit = getattr(config, "_commit_hash", None)
        fingerprint = checkpoint_fingerprint(Path(self.model)) if self.local else f"{self.model}@{commit}"
        return ModelIdentity(name=self.name, fingerprint=fingerprint, engine=engine)
