"""Colours of a decoded image: any mode and depth becomes 8 bits of sRGB, without copies that are not needed."""

import io

import numpy as np
from PIL import Image, ImageCms

BAND = 2**20
"""Pixels of deeper images that are scaled at a time."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image as RGB, or RGBA if it has transparency, 8 bits.

    Args:
        image: any mode.
        profile: its ICC profile. One that does not fit the image, or is damaged, is ignored.
    """
    image = _to_eight_bits(image)
    if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in ("LA", "RGBA"):
        return _by_profile(image, profile)
    own = _profile(image.mode, profile)
    if own is None and image.mode == "RGBA":
        return image
    alpha = image.getchannel("A")
    image = _by_profile(image.convert(image.mode.removesuffix("A")), profile)
    image.putalpha(alpha)
    return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale deeper grey images to 8 bits; Pillow's own conversion would clip them.

    16 bits are divided by 257. Floating-point and 32-bit numbers have no agreed white: it is 1, 255 or 65,535, the
    lowest that no number exceeds; where there is none, or numbers are negative, their range is stretched.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    rows = max(1, BAND // image.width)
    bands = [(0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)]
    ends = [(float(values.min()), float(values.max())) for values in (_values(image, band) for band in bands)]
    low, high = min(each for each, _ in ends), max(each for _, each in ends)
    whites = (1, 255, 65535) if image.mode == "F" else (65535,)
    white = next((white for white in whites if high <= white), None) if low >= 0 else None
    grey = Image.new("L", image.size)
    clear = image.info.get("transparency")
    alpha = Image.new("L", image.size, 255) if isinstance(clear, int) else None
    for band in bands:
        values = _values(image, band)
        scaled = values * (255 / white) if white else (values - low) * (255 / ((high - low) or 1))
        grey.paste(Image.fromarray(scaled.round().astype(np.uint8)), band)
        if alpha:
            alpha.paste(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)), band)
    if alpha:
        grey.putalpha(alpha)
    return grey


def _values(image: Image.Image, band: tuple[int, int, int, int]) -> np.ndarray:
    """Return the numbers (rows, W) of a band, NaN and infinity as 0."""
    return np.nan_to_num(np.asarray(image.crop(band)).astype(np.float64), posinf=0, neginf=0)


def _profile(mode: str, profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """Return the profile that colours of a mode are to be converted from; None where nothing is to be converted.

    Most profiles are sRGB's own; converting would only cost time and a level here and there.
    """
    try:
        if mode == "LAB":
            return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        if not profile:
            return None
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(own.profile.xcolor_space.strip(), "")
        fits = space == mode.removesuffix("A") or (space == "RGB" and mode in ("L", "LA"))
        return own if fits and "sRGB" not in ImageCms.getProfileDescription(own) else None
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return None


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image without transparency as RGB in sRGB."""
    own = _profile(image.mode, profile)
    if own is not None:
        try:
            if image.mode == "L" and own.profile.xcolor_space.strip() == "RGB":
                image = image.convert("RGB")
            converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
            image = converted or image
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image if image.mode == "RGB" else image.convert("RGB")
