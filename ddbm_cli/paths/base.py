"""A path: the distribution of the states between a source image and a target image.

    x_t = a x_T + b x_0 + c eps,     eps ~ N(0, I),   t from 0 (target x_0) to t_max (source x_T)      (1)

Every method of this package is (1) with its own a, b, c. Samplers and training need only quantities that follow from
these three numbers and their time derivatives (a dot is d/dt):

    eps       = (x - a x_T - b x_0) / c                                                              (2)
    score     = -eps / c                                      = grad log q(x_t | x_0, x_T)           (3)
    velocity  = a. x_T + b. x_0 + c. eps                      drift of the probability-flow ODE      (4)
    g^2       = b^2 d(c^2 / b^2)/dt = 2 c c. - 2 c^2 b./b     diffusion of the reference process     (5)
    alpha_t   = b + alpha_T a                                 scale of the reference process         (6)
    h         = (a / c^2) (x_T - alpha_T x / alpha_t)         = grad log p(x_T | x_t), Doob's term   (7)
    lambda_t  = log(b / c)                                    half the log signal-to-noise ratio     (8)

Papers: DDBM arXiv:2309.16948, DBIM arXiv:2405.15885,
EDM arXiv:2206.00364, stochastic interpolants arXiv:2303.08797.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ddbm_cli.foundation.settings import settings


class Coefficients(NamedTuple):
    """The weights of source, target and noise in (1); `c` is a standard deviation."""

    a: Tensor
    b: Tensor
    c: Tensor

    def mean(self, x0: Tensor, source: Tensor) -> Tensor:
        """Return a x_T + b x_0, the state without its noise."""
        return self.a * source + self.b * x0


@settings
class ProbabilityPath:
    """Base of all paths. A subclass defines `coefficients`, and overrides the defaults that differ.

    `derivatives`, `one_minus_a` and `time_at` have generic implementations; a subclass may have closed forms.

    Times are float64 tensors of any shape, 0 <= t <= t_max; coefficients have the shape of t.
    States (x, x_0, x_T, eps) are (B, C, H, W) and t is then 0-d, or (B, 1, 1, 1).
    """

    name: ClassVar[str]
    source_free: ClassVar[bool] = False
    """Whether a is 0 everywhere: images are generated from noise."""

    discrete: ClassVar[bool] = False
    """Whether the coefficients are given at a number of discrete times, and a constant or a line between them."""

    ends_at_estimate: ClassVar[bool] = False
    """Whether grids that set no `t_min` end at t = 0, the last estimate, because the noise at t_min is visible."""

    @property
    def noise_free(self) -> bool:
        """Whether c is 0 everywhere. Then eps does not exist, and the source can be computed from the state."""
        return False

    @property
    def t_max(self) -> float:
        """The time of the source."""
        return 1.0

    @property
    def t_min(self) -> float:
        """The smallest time of training, and of sampling with noise; the noise left there is not visible."""
        return 1e-4

    @property
    def t_last(self) -> float:
        """The largest time of network calls. On bridges with noise it is below t_max, where b = c = 0."""
        return self.t_max if self.source_free or self.noise_free else self.t_max * (1 - 1e-4)

    @property
    def at_source(self) -> float:
        """A time below t_max at which the state is the source to rounding, for networks that were trained there."""
        return self.t_max * (1 - 1e-12)

    def before_source(self, gap: float) -> float:
        """Return the time `gap` before t_max; on a table the last one, not t_max, for every gap above 0."""
        return self.t_max - gap

    @property
    def alpha_T(self) -> float:
        """Scale of the reference process at t_max; below 1 only for processes that shrink the signal, such as VP."""
        return 1.0

    @property
    def sigma_T(self) -> float:
        """Noise of the reference process at the source of a bridge, x_T = alpha_T x_0 + sigma_T eps.

        It is the root of alpha_T c^2 / (a b), which is constant in time; 1 on a noise-free path, as in flow matching.
        """
        if self.noise_free:
            return 1.0
        a, b, c = self.coefficients(torch.tensor(self.t_max / 2, dtype=torch.float64))
        return float((self.alpha_T * c**2 / (a * b)).sqrt())

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return a, b, c of (1) at t."""
        raise NotImplementedError(f"{type(self).__name__}.coefficients")

    def derivatives(self, t: Tensor) -> Coefficients:
        """Return da/dt, db/dt, dc/dt, by automatic differentiation unless the path has a closed form."""
        return differentiate(self, t)

    def one_minus_a(self, t: Tensor) -> Tensor:
        """Return 1 - a. A closed form keeps the digits near t_max, where a approaches 1."""
        return 1 - self.coefficients(t).a

    def log_snr(self, t: Tensor) -> Tensor:
        """Return 2 lambda_t, equation (8); -inf where b = 0, also if c = 0 there."""
        _, b, c = self.coefficients(t)
        return torch.where(b > 0, 2 * (b.log() - c.log()), -torch.inf)

    def time_at(self, log_snr: Tensor) -> Tensor:
        """Return the times (float64) at which the path has these log_snr; the inverse of `log_snr`, clamped to it.

        By bisection; formula paths override it.
        """
        low, high = torch.zeros_like(log_snr), torch.full_like(log_snr, self.t_max)
        for _ in range(80):  # log-SNR falls with t: bisect down to the last bit
            middle = (low + high) / 2
            below = self.log_snr(middle) < log_snr
            low, high = torch.where(below, low, middle), torch.where(below, middle, high)
        return low

    def mirrored(self, t: Tensor) -> Tensor:
        """Return the times (float64) at which a and b are exchanged: those of the same states from target to source."""
        inner = t.clamp(self.t_min, self.t_last)
        a, _, c = self.coefficients(inner)
        found = self.time_at(2 * (a.log() - c.log()))
        return torch.where(t <= 0, self.t_max, torch.where(t >= self.t_max, 0.0, found))

    def redrawn(self, t: Tensor, s: Tensor) -> Tensor:
        """Return the standard deviation of the noise that the Markov step from t to s < t draws.

        It is c_s sqrt(1 - (c_s b_t / (c_t b_s))^2), the largest that a step can redraw and keep the marginals; 0 for a
        step towards the source.
        """
        (_, b_t, c_t), (_, b_s, c_s) = self.coefficients(t), self.coefficients(s)
        return c_s * (1 - (c_s * b_t / (c_t * b_s)) ** 2).clamp(min=0).sqrt()

    def diffusion_squared(self, t: Tensor) -> Tensor:
        """Return g^2, equation (5); 0 on a noise-free path."""
        if self.noise_free:
            return torch.zeros_like(t)
        (_, b, c), (_, db, dc) = self.coefficients(t), self.derivatives(t)
        return 2 * c * (dc - c * db / b)

    def drift_rate(self, t: Tensor) -> Tensor:
        """Return f of the reference process dx = f x dt + g dw, which is the slope of log alpha_t, (6)."""
        (a, b, _), (da, db, _) = self.coefficients(t), self.derivatives(t)
        return (db + self.alpha_T * da) / (b + self.alpha_T * a)

    def mean(self, x0: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return a x_T + b x_0, the state at t without its noise."""
        return self.coefficients(t).mean(x0, source)

    def eps(self, x: Tensor, x0: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return the noise in the state, equation (2); 0 on a noise-free path.

        Written as ((x - x_T) + (1 - a) x_T - b x_0) / c: near the source x, a x_T and x_T are almost equal and c is
        small, so that x - (a x_T + b x_0) would lose the digits that the division needs.
        """
        if self.noise_free:
            return torch.zeros_like(x)
        _, b, c = self.coefficients(t)
        if self.source_free:
            return (x - b * x0) / c
        return ((x - source) + (self.one_minus_a(t) * source - b * x0)) / c

    def score(self, x: Tensor, x0: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return grad log q(x_t | x_0, x_T), equation (3)."""
        return -self.eps(x, x0, source, t) / self.coefficients(t).c

    def velocity(self, x: Tensor, x0: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return the drift of the probability-flow ODE, equation (4).

        On a noise-free path the source is computed from the state and x_0, not taken from `source`; otherwise the
        steps would leave the path when the estimate of x_0 changes.
        """
        da, db, dc = self.derivatives(t)
        if self.noise_free:
            a, b, _ = self.coefficients(t)
            return (da / a) * (x - b * x0) + db * x0
        return da * source + db * x0 + dc * self.eps(x, x0, source, t)

    def reverse_drift(self, x: Tensor, x0: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return the drift of the reverse SDE, velocity - g^2 score / 2; the velocity on a noise-free path."""
        if self.noise_free:
            return self.velocity(x, x0, source, t)
        (_, b, c), (_, db, dc) = self.coefficients(t), self.derivatives(t)
        return self.velocity(x, x0, source, t) + (dc - c * db / b) * self.eps(x, x0, source, t)

    def doob_h(self, x: Tensor, source: Tensor, t: Tensor) -> Tensor:
        """Return grad log p(x_T | x_t), equation (7)."""
        a, b, c = self.coefficients(t)
        return (a / c**2) * (source - self.alpha_T / (b + self.alpha_T * a) * x)

    def training_state(self, x0: Tensor, source: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Return x_t of (1) for a batch of times t (B,), in the dtype of x0."""
        a, b, c = (coefficient.view(-1, 1, 1, 1).to(x0) for coefficient in self.coefficients(t.double()))
        return a * source + b * x0 + c * eps


def differentiate(path: ProbabilityPath, t: Tensor) -> Coefficients:
    """Return da/dt, db/dt, dc/dt by automatic differentiation of `path.coefficients`."""
    slopes = torch.func.jvp(lambda s: tuple(path.coefficients(s)), (t,), (torch.ones_like(t),))[1]
    return Coefficients(*slopes)
