"""Augmentations that make frames look as if they had been through a camera, a codec and a scaler."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter


def augment(frame: np.ndarray, rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Colour, sharpness and compression noise. uint8 [h, w, 3] in, uint8 [size, size, 3] out."""
    image = Image.fromarray(frame)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    for enhance, low, high in (
        (ImageEnhance.Brightness, 0.75, 1.25),
        (ImageEnhance.Contrast, 0.7, 1.3),
        (ImageEnhance.Color, 0.4, 1.5),
    ):
        if rng.random() < 0.5:
            image = enhance(image).enhance(float(rng.uniform(low, high)))
    if rng.random() < 0.2:
        # A video of few pixels that was made larger.
        small = int(size * rng.uniform(0.5, 0.9))
        image = image.resize((small, small), Image.Resampling.BILINEAR).resize((size, size), Image.Resampling.BILINEAR)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.0))))
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 14), size=(size, size, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(12, 95)))
        image = Image.open(io.BytesIO(buffer.getvalue()))
    return np.asarray(image)
