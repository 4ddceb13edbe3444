"""Loads what the router owns from files: encoders and the background that belongs to each."""

import logging
from pathlib import Path

from router_svc.settings import Settings
from services.contracts import EncoderSpec
from services.encoder import Encoder
from services.scoring import Background

logger = logging.getLogger(__name__)

BACKGROUND = "background.json"


class AssetError(Exception):
    """The encoder or its background cannot be used; the settings, or the files, are wrong."""


def load_encoder_of(spec: EncoderSpec, device: str) -> Encoder:
    """An encoder; takes seconds and imports torch. Raises AssetError."""
    from services.encoder.open_clip import load_encoder

    try:
        return load_encoder(spec.model, spec.pretrained, device, spec.precision)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise AssetError(f"the encoder {spec.model!r} cannot be loaded: {error}") from error


def load_background(settings: Settings, encoder: Encoder, spec: EncoderSpec | None = None) -> Background:
    """The background of the settings, or the one beside the encoder; the identity where there is none.

    Args:
        settings: of the router; `background_path` belongs to the encoder that they name.
        encoder: what it must have been fitted for.
        spec: the encoder's; None is the settings' own.

    Raises:
        AssetError: it cannot be read, or it was fitted for another encoder, so that every threshold would be wrong. One
            that was fitted at another precision is used, with a warning.
    """
    spec = spec or settings.encoder
    named = settings.background_path if spec == settings.encoder else None
    path = named or Path(spec.model.removeprefix("local-dir:")) / BACKGROUND
    if named is None and not path.is_file():
        logger.warning(
            "no background for this encoder: risks are plain cosines", extra={"encoder": encoder.fingerprint}
        )
        return Background.identity()
    try:
        background = Background.load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"the background {path} cannot be read: {error}") from error
    if background.encoder != encoder.fingerprint:
        if spec.precision == "fp32":
            raise AssetError(f"{path} was fitted for encoder {background.encoder}, not for {encoder.fingerprint}")
        logger.warning("the background was fitted at another precision", extra={"background": background.encoder})
    return background
