"""The options of `ddbm data instruct` for triplets that are made from captions, as in InstructPix2Pix."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Field, declared
from ddbm_cli.foundation.settings import settings
from ddbm_cli.foundation.text import one_line
from ddbm_cli.options.groups import MODEL, STEPS, Device, Dtype

CAPTIONS, FILTERS = "Captions", "Filters"

SHARED = Field("", ge=0, le=1, panel=CAPTIONS)
GUIDED = Field("", ge=1, le=1000, panel=CAPTIONS)
SIMILAR = Field("", ge=-1, le=1, panel=FILTERS)


@settings
class CaptionOptions:
    """How a list of captions becomes triplets (InstructPix2Pix, arXiv:2211.09800, Sec. 3.1).

    Each candidate draws the fraction of its steps with shared self-attention from min_p..max_p, and the guidance scale
    of the captions from min_cfg..max_cfg, both uniformly.
    endpoint_key: the name of an environment variable; the key itself is in no option.
    """

    model: Annotated[
        str | None,
        Field(
            "Text-to-image pipeline that makes the images of captions: diffusers:FOLDER or diffusers:OWNER/REPOSITORY.",
            flags=("-m", "--model"),
            aliases=("--pipeline",),
            metavar="NAME",
            unset="none",
            panel=MODEL,
        ),
    ] = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    clip: Annotated[
        str,
        Field("CLIP that measures similarities, a name on the hub or a folder.", metavar="NAME", panel=MODEL),
    ] = "openai/clip-vit-large-patch14"
    candidates: Annotated[
        int,
        Field("Candidates per caption, of which --per-image are kept at most.", ge=1, le=10_000, panel=CAPTIONS),
    ] = 8
    steps: Annotated[int, replace(STEPS, description="Number of sampling steps per candidate.", panel=CAPTIONS)] = 100
    min_p: Annotated[
        float, replace(SHARED, description="Smallest fraction of the steps in which both images share self-attention.")
    ] = 0.1
    max_p: Annotated[float, replace(SHARED, description="Largest of these fractions.")] = 0.9
    min_cfg: Annotated[float, replace(GUIDED, description="Smallest guidance scale of the captions.")] = 7.5
    max_cfg: Annotated[float, replace(GUIDED, description="Largest guidance scale of the captions.")] = 15.0
    endpoint: Annotated[
        str | None,
        Field(
            "Address of an OpenAI-compatible interface that is asked for an edit of each caption, such as "
            "http://localhost:8000/v1.",
            metavar="URL",
            unset="the list holds the edits",
            panel=CAPTIONS,
        ),
    ] = None
    endpoint_model: Annotated[
        str | None, Field("Language model of --endpoint.", metavar="NAME", unset="none", panel=CAPTIONS)
    ] = None
    endpoint_key: Annotated[
        str | None,
        Field(
            "Name of the environment variable that holds the key for --endpoint, such as OPENAI_API_KEY.",
            metavar="VARIABLE",
            unset="no key is sent",
            panel=CAPTIONS,
        ),
    ] = None
    clip_img_threshold: Annotated[
        float,
        replace(SIMILAR, description="Smallest similarity of the two images, as the cosine of CLIP's embeddings."),
    ] = 0.75
    clip_threshold: Annotated[
        float, replace(SIMILAR, description="Smallest similarity of each image and its caption.")
    ] = 0.2
    clip_dir_threshold: Annotated[
        float,
        replace(SIMILAR, description="Smallest similarity of the change between the images and that of the captions."),
    ] = 0.2


OF_IMAGES = ("edits", "variants", "split_by", "recursive")
"""Options of a folder of images alone."""


def is_captions(pictures: Path) -> bool:
    """Return whether the first argument of `ddbm data instruct` is a list of captions and not a folder of images."""
    return pictures.is_file()


def check_instruct(request: Any) -> None:
    """Check that the options of an `InstructRequest` go together.

    Raises:
        UsageError: they do not, or the key of the endpoint is not set.
    """
    options, listed = declared(type(request)), is_captions(request.pictures)
    for name in OF_IMAGES if listed else declared(CaptionOptions):
        if getattr(request, name) != options[name].default:
            wanted, other = ("a folder of images", "a list") if listed else ("a list of captions", "a folder")
            raise UsageError(
                f"{options[name].flag} is for {wanted}, and {request.pictures} is not",
                hint=f"remove {options[name].flag}, or pass {wanted} in place of {other}",
            )
    if not listed:
        return
    if request.model is None:
        raise UsageError("captions need a model that makes images", hint="pass -m diffusers:FOLDER")
    for least, most in (("min_p", "max_p"), ("min_cfg", "max_cfg")):
        if getattr(request, least) > getattr(request, most):
            flags = f"{options[least].flag} is above {options[most].flag}"
            raise UsageError(flags, hint="exchange the two numbers")
    if request.endpoint is not None:
        _check_endpoint(request)
    elif request.endpoint_model is not None or request.endpoint_key is not None:
        raise UsageError("no endpoint is given", hint="add --endpoint URL")


def _check_endpoint(request: Any) -> None:
    address = request.endpoint
    try:
        found = urlsplit(address)
        is_web = found.scheme in ("http", "https") and bool(found.hostname) and (found.port or 1) > 0
    except ValueError:
        is_web = False
    if not is_web or "@" in found.netloc or found.query or found.fragment or not _is_plain(address):
        shown = one_line(address)[:80]
        raise UsageError(f"--endpoint {shown}: not an address", hint="pass such as http://localhost:8000/v1")
    if request.endpoint_model is None:
        raise UsageError("--endpoint needs the name of a language model", hint="add --endpoint-model NAME")
    if request.endpoint_key is not None:
        key_of(request)


def _is_plain(text: str) -> bool:
    """Return whether a text has ASCII characters alone, none of which is white space or controls a terminal."""
    return text.isascii() and text.isprintable() and " " not in text


def key_of(request: Any) -> str:
    """Return the key of the endpoint, from the environment; "" for none.

    Raises:
        UsageError: the variable is not set, or is no key.
    """
    if request.endpoint_key is None:
        return ""
    key = os.environ.get(request.endpoint_key, "").strip()
    if not key or not _is_plain(key):
        name = one_line(request.endpoint_key)[:80]
        raise UsageError(f"--endpoint-key {name}: this variable holds no key", hint=f"export {name}=..., or remove it")
    return key
