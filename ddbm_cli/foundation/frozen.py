"""Frozen dataclasses whose declaration is fast: their methods are shared functions, not source text made per class.

`dataclasses.dataclass` compiles up to seven methods for each class, half a millisecond in all. The command line
declares dozens of classes before its first line of help.
"""

import dataclasses
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only dataclass, with the methods that the class itself does not define.

    All functions of `dataclasses` take it. Its class does not report itself as frozen in `__dataclass_params__`.
    """
    made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
    for name, method in _METHODS.items():
        if name not in vars(made):
            setattr(made, name, method)
    return made


def _init(self: Any, **values: Any) -> None:
    given = len(values)
    fields = dataclasses.fields(self)  # without class variables
    for field in fields:
        name = field.name
        if name in values:
            value = values[name]
            given -= 1
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        elif name not in {each.name for each in dataclasses.fields(self)}:
            continue  # a class variable that is only declared
        else:
            raise TypeError(f"{type(self).__name__}() missing the keyword argument '{name}'")
        object.__setattr__(self, name, value)
    if given:
        unknown = next(name for name in values if name not in {field.name for field in fields})
        raise TypeError(f"{type(self).__name__}() got an unknown keyword argument '{unknown}'")
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _values(self: Any) -> tuple[Any, ...]:
    names = [field.name for field in dataclasses.fields(self) if field.compare]
    found: Any = attrgetter(*names)(self) if names else ()
    return (found,) if len(names) == 1 else found


def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _set(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field '{name}'")


def _delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field '{name}'")


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _set,
    "__delattr__": _delete,
}
