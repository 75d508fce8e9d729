"""Classes made by `frozen` behave as frozen dataclasses do."""

import copy
import dataclasses
import pickle

import pytest

from ddbm_cli.foundation.frozen import frozen


@frozen
class Pair:
    """Two values, one of them not compared."""

    left: int
    right: list[int] = dataclasses.field(default_factory=list, compare=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """The same class, as the standard library makes it."""

    left: int
    right: list[int] = dataclasses.field(default_factory=list, compare=False)


def test_values_are_compared_hashed_and_shown():
    one, same, other = Pair(left=1), Pair(left=1, right=[2]), Pair(left=2)
    assert one == same and hash(one) == hash(same) and one != other and one != Compiled(left=1)
    assert repr(one) == "Pair(left=1, right=[])" == repr(Compiled(left=1)).replace("Compiled", "Pair")
    assert one.right is not Pair(left=1).right


@pytest.mark.parametrize("kind", [Pair, Compiled])
def test_both_refuse_the_same(kind):
    with pytest.raises(TypeError, match="left"):
        kind()
    with pytest.raises(TypeError, match="middle"):
        kind(left=1, middle=2)
    with pytest.raises(TypeError):
        kind(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind(left=1).left = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del kind(left=1).left


@pytest.mark.parametrize("kind", [Pair, Compiled])
def test_the_functions_of_dataclasses_take_both(kind):
    value = kind(left=1, right=[3])
    assert dataclasses.replace(value, left=2).left == 2
    assert dataclasses.asdict(value) == {"left": 1, "right": [3]}
    assert [each.name for each in dataclasses.fields(kind)] == ["left", "right"]
    assert copy.deepcopy(value) == value == pickle.loads(pickle.dumps(value))
