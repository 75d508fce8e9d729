"""Start rules: how the first state comes from the source.

At t_max itself a bridge is the source with no noise, b = c = 0, and nothing can be divided by; each rule leaves that
point in its own way.
"""

from typing import ClassVar

from torch import Tensor

from ddbm_cli.samplers.base import Bridge, Course, Query, Start
from ddbm_cli.settings import settings


@settings
class Pinned(Start):
    """The source itself, taken as the state a little before t_max (DDBM, arXiv:2309.16948)."""

    name: ClassVar[str] = "pinned"

    def begin(self, bridge: Bridge, t: Tensor) -> Course:
        return bridge.source
        yield  # a coroutine that asks for nothing


@settings
class Booted(Start):
    """One call at t_max, then a draw from the path about its estimate (DBIM's booting noise, arXiv:2405.15885)."""

    name: ClassVar[str] = "booted"

    def begin(self, bridge: Bridge, t: Tensor) -> Course:
        path, source = bridge.path, bridge.source
        x0 = yield Query(source, t.new_tensor(path.t_max))
        state = path.mean(x0, source, t)
        return state if path.noise_free else state + path.coefficients(t).c * bridge.noise(state)


@settings
class Prior(Start):
    """Noise of the path's strength: for source-free paths (a = 0), which make pictures from nothing."""

    name: ClassVar[str] = "prior"

    def begin(self, bridge: Bridge, t: Tensor) -> Course:
        return bridge.path.coefficients(t).c * bridge.noise(bridge.source)
        yield  # a coroutine that asks for nothing
