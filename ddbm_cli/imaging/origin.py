"""What a result takes over from the file of its input: who made it and when, and that its colours are managed."""

import io
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from PIL import ExifTags, Image, ImageCms

KEPT = frozenset({ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.DateTime})
TAKEN = ExifTags.Base.DateTimeOriginal
"""EXIF tags that are taken over. Others are not: places, serial numbers, thumbnails, and the orientation, which is
applied to the pixels."""

LONGEST = 500
"""Characters of a tag that are taken over."""


class Origin(NamedTuple):
    """Facts about the file of an input.

    managed: it has an ICC profile; its colours were converted to sRGB. several: it has several frames or pages.
    exif: the tags in KEPT, and TAKEN.
    """

    managed: bool = False
    several: bool = False
    exif: Mapping[int, str] = MappingProxyType({})


KEY = "ddbm-origin"
NOTHING = Origin()


def origin_of(image: Image.Image) -> Origin:
    """Return the facts that `imaging.io.opened` attached to an image."""
    found = image.info.get(KEY)
    return found if isinstance(found, Origin) else NOTHING


def read_origin(found: Image.Image, faults: tuple[type[Exception], ...]) -> Origin:
    """Return the facts about an opened file; what is damaged is left out.

    Args:
        found: the opened image, loaded. faults: what Pillow raises on damaged files.
    """
    try:
        several = bool(getattr(found, "is_animated", False))
    except faults:
        several = False
    return Origin(bool(found.info.get("icc_profile")), several, MappingProxyType(_tags(found, faults)))


def _tags(found: Image.Image, faults: tuple[type[Exception], ...]) -> dict[int, str]:
    try:
        exif = Image.Image.getexif(found)
        values = {int(tag): exif.get(tag) for tag in KEPT}
        values[int(TAKEN)] = exif.get_ifd(ExifTags.IFD.Exif).get(TAKEN)
    except faults:
        return {}
    texts = {tag: _text(value) for tag, value in sorted(values.items()) if isinstance(value, str)}
    return {tag: text for tag, text in texts.items() if text}


def _text(value: str) -> str:
    return "".join(sign for sign in value if sign.isprintable()).strip()[:LONGEST]


def add_tags(exif: Image.Exif, tags: Mapping[int, str], *, nested: bool = True) -> None:
    """Add tags to EXIF data; nested: also those that lie in a directory of their own, which libtiff cannot write."""
    for tag, value in tags.items():
        if tag != TAKEN:
            exif[tag] = value
        elif nested:
            exif.get_ifd(ExifTags.IFD.Exif)[tag] = value


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, the same bytes at any time: its date is left out."""
    body = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO(body)
    stream.seek(24)
    stream.write(bytes(12))
    return stream.getvalue()
