"""The Python interface: load a model and call it on images, or run the commands on folders.

    import ddbm_cli as ddbm
    model = ddbm.load_model("sketch-to-3d-64")
    image = model("sketch.png", nfe=8, seed=7)

An image gets the same pixels as from `ddbm translate`, for the same file name, seed and options.
"""

from ddbm_cli.api.folders import sample, translate
from ddbm_cli.api.model import Model, load_model

__all__ = ["Model", "load_model", "sample", "translate"]
