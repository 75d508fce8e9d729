"""The options of `ddbm draw`."""

from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import MODEL, Device, Dtype

SERVER, LIMITS = "Server", "Limits"


@settings
class DrawOptions:
    """Which models the page offers, where it is served, and what one request may cost."""

    host: Annotated[
        str,
        Field(
            "Address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) requires a token, which is "
            "created and printed.",
            metavar="HOST",
            panel=SERVER,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Field("Port to listen on; 0 takes a free one.", flags=("-p", "--port"), ge=0, le=65535, panel=SERVER)
    ] = 8765
    no_browser: Annotated[bool, Field("Do not open the page in a browser.", panel=SERVER)] = False
    models: Annotated[
        tuple[str, ...],
        Field(
            "Model to offer: a name from `ddbm weights list`, owner/repository, a file or a folder. Repeat it for "
            "several.",
            flags=("-m", "--model"),
            metavar="NAME",
            repeat=True,
            unset="the built-in models",
            panel=MODEL,
        ),
    ] = ()
    device: Device = "auto"
    dtype: Dtype = "auto"
    max_upload: Annotated[int, Field("Size of an uploaded image in MiB.", ge=1, le=256, panel=LIMITS)] = 16
    max_pixels: Annotated[int, Field("Size of an image in millions of pixels.", ge=1, le=178, panel=LIMITS)] = 25
    max_nfe: Annotated[int, Field("Network evaluations per image.", ge=1, le=100_000, panel=LIMITS)] = 200
    max_draws: Annotated[int, Field("Draws per request.", ge=1, le=1000, panel=LIMITS)] = 16
    max_requests: Annotated[
        int, Field("Requests that are worked on or wait; more are refused.", ge=1, le=10_000, panel=LIMITS)
    ] = 64
