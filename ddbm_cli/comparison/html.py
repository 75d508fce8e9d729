"""How pages of one file are made of templates: everything that is not markup is escaped, and images are inside."""

import base64
from functools import cache

import jinja2
from markupsafe import Markup


@cache  # with its compiled templates: a run writes its report many times
def environment(package: str) -> jinja2.Environment:
    """Return the environment of the templates in a package's folder `templates`; `uri` is a filter of images."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["uri"] = uri
    return made


def uri(image: bytes) -> Markup:
    """Return the address that holds a png or webp file."""
    kind = "webp" if image[8:12] == b"WEBP" else "png"
    return Markup(f"data:image/{kind};base64,{base64.b64encode(image).decode()}")
