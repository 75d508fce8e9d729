"""The objectives of distillation, on Gaussian pairs, for which the best estimates are known."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from ddbm_cli.denoisers import Conditions, TargetPrediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.objectives import (
    METHODS,
    ConsistencyDistillation,
    ConsistencyTraining,
    Context,
    InverseBridgeMatching,
    RealUID,
)
from ddbm_cli.objectives.distillation import StudentTrajectory
from ddbm_cli.paths import VPBridge
from ddbm_cli.samplers import Booted, Bridge, Implicit, Plan, Timesteps, Uniform, finish, sample

PATH = VPBridge()
PLAN = Plan(path=PATH, sampler=Implicit(eta=1.0), grid=Uniform(gap=0.03, t_min=0.0), start=Booted(), steps=1)
CPU = torch.device("cpu")
SLOPE, SHIFT, STD = 0.4, 0.2, 0.3


class Posterior(nn.Module):
    """The best estimate where the target is N(slope x_T + shift, variance) for a source x_T."""

    prediction = TargetPrediction()

    def __init__(self, slope: float, shift: float, std: float) -> None:
        super().__init__()
        self.path = PATH
        self.slope, self.shift = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(shift))
        self.log_std = nn.Parameter(torch.tensor(std).log())

    def forward(self, x, t, source, conditions=None):
        a, b, c = (each.view(-1, 1, 1, 1).float() for each in PATH.coefficients(t.double().reshape(-1)))
        mean, variance = self.slope * source + self.shift, (2 * self.log_std).exp()
        return mean + b * variance / (b**2 * variance + c**2) * (x - a * source - b * mean)


def teacher() -> Posterior:
    return Posterior(SLOPE, SHIFT, STD).requires_grad_(False)


def context(**changes) -> Context:
    return Context(**({"device": CPU, "teacher": teacher(), "plan": PLAN, "clip": False} | changes))


def batch(count=96, seed=0):
    draw = torch.Generator().manual_seed(seed)
    source, noise, eps = torch.randn(3, count, 1, 2, 2, generator=draw)
    t = 0.01 + 0.98 * torch.rand(count, generator=draw, dtype=torch.float64)
    return SLOPE * source + SHIFT + STD * noise, source, t, eps


def spread(student) -> tuple[float, float]:
    """Return the standard deviation of the images of one source, and their mean's error."""
    source = torch.full((4000, 1, 1, 1), 0.5)
    with torch.no_grad():
        made = finish(sample(student, Bridge(PATH, source, torch.randn_like), PLAN.sampler, PLAN.start, PLAN.times))
    return float(made.std()), float((made - SLOPE * source - SHIFT).mean())


def trained(objective, steps, rate=0.02, **changes):
    torch.manual_seed(0)
    student = Posterior(SLOPE, SHIFT, STD)
    loss = objective.create(context(**changes))
    optimizer = torch.optim.Adam(student.parameters(), lr=rate, betas=(0.0, 0.99))
    for step in range(steps):
        optimizer.zero_grad()
        loss(student, *batch(seed=step)).mean().backward()
        optimizer.step()
    return student


def gradients(objective, student, **changes):
    torch.manual_seed(0)
    student.zero_grad()
    objective.create(context(**changes))(student, *batch()).mean().backward()
    return [float(each.grad) for each in student.parameters()]


def test_two_evaluations_of_the_teacher_have_too_little_spread():
    assert spread(teacher())[0] < 0.5 * STD


def test_inverse_bridge_matching_ends_at_the_teachers_distribution():
    std, error = spread(trained(InverseBridgeMatching(updates=3, rate=0.02, emphasis=1.0), 150))
    assert std == pytest.approx(STD, rel=0.15) and abs(error) < 0.06


def test_realuid_ends_at_the_distribution_of_the_pairs():
    std, error = spread(trained(RealUID(updates=3, rate=0.02, emphasis=1.0, alpha=0.8, beta=0.8), 150))
    assert std == pytest.approx(STD, rel=0.2) and abs(error) < 0.08


class Exact(Posterior):
    """A student whose images have the distribution that its weights state."""

    def forward(self, x, t, source, conditions=None):
        if float(t.max()) >= 0.9999:
            return super().forward(x, t, source)
        a, b, c = (each.view(-1, 1, 1, 1).float() for each in PATH.coefficients(t.double().reshape(-1)))
        mean = self.slope * source + self.shift
        return mean + self.log_std.exp() * (x - a * source - b * mean) / c


def test_equal_distributions_give_no_gradient():
    """The fake bridge, fitted to a student of the teacher's distribution, is the teacher: both errors cancel."""
    student = Exact(SLOPE, SHIFT, STD)
    assert spread(student)[0] == pytest.approx(STD, rel=0.05)
    still = InverseBridgeMatching(updates=1, rate=1e-12, emphasis=1.0)
    assert gradients(still, student) == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)
    narrow = Exact(SLOPE, SHIFT, STD / 2)
    fitted = InverseBridgeMatching(updates=95, rate=0.01, emphasis=1.0)
    assert gradients(fitted, narrow)[2] < -1e-3, "a student with too little spread is widened"


def test_a_consistency_step_is_the_implicit_sampler_of_the_teacher():
    loss = ConsistencyDistillation().create(context())
    _, source, _, eps = batch(8)
    t, s = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    state = PATH.training_state(source, source, eps, t.expand(8))
    moved = loss._teachers_step(state, t.expand(8), s.expand(8), source, Conditions())
    steps = Implicit(eta=0.0).step(Bridge(PATH, source, torch.randn_like), state, _interval(t, s), [])
    query = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(teacher()(query.x, query.t, source))
    assert torch.allclose(moved, end.value.value.float(), atol=1e-5)


def _interval(t, s):
    from ddbm_cli.samplers.base import Interval

    return Interval(t, s, last=False)


class Flow(Posterior):
    """Where the teacher's ODE leads a state: consistent along each of its trajectories."""

    def forward(self, x, t, source, conditions=None):
        a, b, c = (each.view(-1, 1, 1, 1).float() for each in PATH.coefficients(t.double().reshape(-1)))
        mean, std = self.slope * source + self.shift, self.log_std.exp()
        return mean + std / (b**2 * std**2 + c**2).sqrt() * (x - a * source - b * mean)


def test_the_teachers_flow_is_a_fixed_point_of_consistency():
    """A student that maps every state to the end of the teacher's trajectory has nothing to learn."""
    exact, other = Flow(SLOPE, SHIFT, STD), Flow(SLOPE, SHIFT, 2 * STD)
    objective = ConsistencyDistillation(step=0.002)
    right, wrong = gradients(objective, exact), gradients(objective, other)
    assert max(map(abs, right)) < 0.05 * max(map(abs, wrong))
    assert spread(exact)[0] == pytest.approx(STD, rel=0.05)


def test_the_state_itself_is_the_estimate_at_the_end_of_the_path():
    loss = ConsistencyTraining().create(context())
    x, source = torch.randn(2, 4, 1, 2, 2)
    t = torch.full((4,), PATH.t_min, dtype=torch.float64)
    assert torch.equal(loss._consistent(teacher(), x, t, source, Conditions()), x)
    assert not torch.equal(loss._consistent(teacher(), x, 2 * t, source, Conditions()), x)


def test_times_of_consistency_training_come_closer_and_never_cross():
    loss = ConsistencyTraining(every=1).create(context())
    t = torch.linspace(PATH.t_min, 0.9999, 50, dtype=torch.float64)
    gaps = []
    for _ in range(40):
        earlier = loss._earlier(t)
        assert bool((earlier < t).all()) and bool((earlier >= PATH.t_min * (1 - 1e-5)).all())
        gaps.append(float((t - earlier)[25]))
        loss._steps.count += 1
    assert gaps[10] < gaps[5] < gaps[0]


FIELDS = {
    "cbd": {"step": 0.1},
    "cbt": {"b": 2.0, "k": 1.0, "every": 1},
    "ibmd": {"updates": 1, "rate": 0.1, "emphasis": 1.0},
    "realuid": {"updates": 1, "rate": 0.1, "emphasis": 1.0, "alpha": 0.5, "beta": 0.5},
}


@pytest.mark.parametrize(("method", "field"), [(method, field) for method in FIELDS for field in FIELDS[method]])
def test_every_field_changes_the_loss(method, field):
    def losses(**fields):
        torch.manual_seed(0)
        student = Posterior(0.1, 0.0, STD)
        loss = dataclasses.replace(METHODS[method](), **fields).create(context())
        return [float(loss(student, *batch()).mean().detach()) for _ in range(2)]

    assert losses() != losses(**{field: FIELDS[method][field]})


def test_all_fields_are_tested():
    assert {name: set(fields) for name, fields in FIELDS.items()} == {
        name: {field.name for field in dataclasses.fields(kind)} for name, kind in METHODS.items()
    }


def test_a_batch_that_cannot_be_divided_is_refused():
    loss = InverseBridgeMatching(updates=5).create(context())
    with pytest.raises(UsageError, match="cannot be divided into 6 parts") as error:
        loss(Posterior(0.1, 0.0, STD), *batch(16))
    assert "--batch-size 18" in error.value.hint


def test_only_evaluations_after_the_first_noise_are_trained():
    def numbers(**changes):
        return StudentTrajectory(dataclasses.replace(PLAN, **changes), clip=False)._noisy

    assert numbers() == [1]
    assert numbers(grid=Timesteps(at=(0.97, 0.5)), steps=2) == [1, 2]
    assert numbers(sampler=Implicit(eta=0.0), grid=Timesteps(at=(0.97, 0.5)), steps=2) == [1, 2]


def test_earlier_evaluations_have_no_derivatives():
    student = Posterior(SLOPE, SHIFT, STD)
    calls = []

    def counted(x, t, source, conditions):
        calls.append(torch.is_grad_enabled())
        return student(x, t, source)

    _, source, _, _ = batch(4)
    made = StudentTrajectory(PLAN, clip=False)(counted, source, Conditions(), derivatives=True)
    assert calls == [False, True] and made.requires_grad
    assert not StudentTrajectory(PLAN, clip=False)(counted, source, Conditions(), derivatives=False).requires_grad


def test_estimates_are_limited_where_sampling_limits_them():
    _, source, _, _ = batch(4)
    student = Posterior(SLOPE, 5.0, STD)
    made = [StudentTrajectory(PLAN, clip=clip)(student, source, Conditions(), derivatives=False) for clip in (0, 1)]
    assert made[0].max() > 1 and made[1].max() == 1


def test_the_teacher_is_not_changed():
    own = context()
    before = copy.deepcopy(own.teacher.state_dict())
    loss = InverseBridgeMatching(updates=2, rate=0.1).create(own)
    loss(Posterior(0.1, 0.0, STD), *batch()).mean().backward()
    assert all(torch.equal(value, before[name]) for name, value in own.teacher.state_dict().items())
    assert all(each.grad is None for each in own.teacher.parameters())
