"""Loads what the router owns from files: the encoder and the background that belongs to it."""

import logging
from pathlib import Path

from router_svc.settings import Settings
from services.encoder import Encoder
from services.scoring import Background

logger = logging.getLogger(__name__)

BACKGROUND = "background.json"


class AssetError(Exception):
    """The encoder or its background cannot be used; the settings, or the files, are wrong."""


def load_configured_encoder(settings: Settings) -> Encoder:
    """The encoder that the settings name; takes seconds and imports torch. Raises AssetError."""
    from services.encoder.open_clip import load_encoder

    try:
        return load_encoder(
            settings.encoder_model, settings.encoder_pretrained, settings.encoder_device, settings.encoder_precision
        )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise AssetError(f"the encoder {settings.encoder_model!r} cannot be loaded: {error}") from error


def load_background(settings: Settings, encoder: Encoder) -> Background:
    """The background of the settings, or the one beside the encoder; the identity where there is none.

    Raises:
        AssetError: it cannot be read, or it was fitted for another encoder, so that every threshold would be wrong. One
            that was fitted at another precision is used, with a warning.
    """
    path = settings.background_path or Path(settings.encoder_model.removeprefix("local-dir:")) / BACKGROUND
    if settings.background_path is None and not path.is_file():
        logger.warning(
            "no background for this encoder: risks are plain cosines", extra={"encoder": encoder.fingerprint}
        )
        return Background.identity()
    try:
        background = Background.load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"the background {path} cannot be read: {error}") from error
    if background.encoder != encoder.fingerprint:
        if settings.encoder_precision == "fp32":
            raise AssetError(f"{path} was fitted for encoder {background.encoder}, not for {encoder.fingerprint}")
        logger.warning("the background was fitted at another precision", extra={"background": background.encoder})
    return background
