"""An interpreter for the pickles in PyTorch's archives that has only the instructions for weights.

It builds containers, strings and numbers, whose sizes are bounded by the pickle's size. Only the functions in GLOBALS
can be called, each with its own implementation here; everything else is refused.
"""

import functools
import io
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

MOST_OBJECTS = 500_000
"""Containers, tuples, tensors and places of the memo that a pickle makes. Each can take a hundred times the byte of its
instruction; a tensor has twenty."""

MOST_DIMENSIONS = 8

LARGEST_KEY = 2**31
"""Integer keys are the numbers of parameters. The hashes of large integers can collide on purpose."""


class Refused(Exception):
    """The archive holds something that is not supported; the message states what."""


class Known:
    """A function or type that a pickle may call, with its implementation."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class Opaque:
    """Stands for a value that is not needed."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """As torch._utils._rebuild_tensor_v2, within the storage."""
    # Types and lengths come first: a tensor in place of a size could be unpacked into any number of tensors.
    if not isinstance(storage, Tensor) or type(size) is not tuple or type(stride) is not tuple:
        raise Refused("a tensor is damaged")
    if len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise Refused("a tensor is damaged")
    if any(type(each) is not int or each < 0 for each in (offset, *size, *stride)):
        raise Refused("a tensor is damaged")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and (last >= len(storage) or math.prod(size) > len(storage)):
        raise Refused("a tensor has more numbers than its storage")
    return storage.as_strided(size, stride, offset if 0 not in size else 0)


def _globals() -> dict[tuple[str, str], Any]:
    """Return the functions and types that a pickle of weights may use."""
    tensor, parameter = Known(_tensor), Known(lambda data, *_: data)
    nothing = Known(lambda *_: Opaque())
    known: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Known(lambda: {}),
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): parameter,
        ("torch.nn.parameter", "Parameter"): parameter,
        ("torch", "Size"): nothing,
        ("torch", "device"): nothing,
        ("collections", "defaultdict"): Known(lambda *_: {}),
        ("collections", "Counter"): Known(lambda *_: {}),
    }
    known |= {("torch", name): dtype for name, dtype in STORAGES.items()}
    known |= {("torch", name): Opaque() for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32")}
    return known


GLOBALS = _globals()

# Instructions that torch.save writes for weights. None of them allocates more than it reads, none runs code.
INSTRUCTIONS = """
PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES EMPTY_DICT EMPTY_LIST
EMPTY_TUPLE LIST TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
GLOBAL STACK_GLOBAL BINPERSID SETITEM SETITEMS REDUCE NEWOBJ BUILD
"""

COUNTED = """
MARK EMPTY_LIST EMPTY_DICT TUPLE TUPLE1 TUPLE2 TUPLE3 REDUCE NEWOBJ BINPERSID PUT BINPUT LONG_BINPUT MEMOIZE
"""

_Unpickler: Any = pickle._Unpickler  # the one in Python, whose memo is a dict


def read_pickle(body: bytes, storage: Callable[[str, torch.dtype, int], Tensor]) -> Any:
    """Return what a pickle of weights builds: containers of numbers, strings, tensors and `Opaque`.

    Args:
        storage: returns the storage of a key as a tensor (count,), or raises `Refused`.

    Raises:
        Refused: it holds anything else.
        Exception: it is damaged; any that a stack of wrong values causes.
    """
    return _Interpreter(body, storage).run()


class _Interpreter(_Unpickler):  # type: ignore[misc]
    """Reads a pickle of weights."""

    dispatch: ClassVar[dict[int, Any]] = {
        code: _Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in INSTRUCTIONS.split())
    }

    def __init__(self, body: bytes, storage: Callable[[str, torch.dtype, int], Tensor]) -> None:
        super().__init__(io.BytesIO(body), encoding="utf-8")
        self._storage = storage
        self._objects = 0

    def run(self) -> Any:
        """Return what the pickle builds."""
        try:
            return self.load()
        except KeyError as error:
            raise Refused(f"its table of contents has an instruction or a place ({error}) that is not read") from None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in GLOBALS:
            raise Refused(f"holds more than weights ({module[:60]}.{name[:60]}), which is not read: it could run code")
        return GLOBALS[module, name]

    def persistent_load(self, identity: Any) -> Tensor:
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise Refused("a storage is damaged")
        _, dtype, key, _, count = identity
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise Refused("a storage is damaged")
        return self._storage(key, dtype, count)

    def load_reduce(self) -> None:
        stack = self.stack
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(function, Known) or not isinstance(arguments, tuple):
            raise Refused("holds more than weights (a call), which is not read")
        stack.append(function.call(*arguments))

    def load_counted(self, read: Callable[[Any], None]) -> None:
        """Make an object, unless there are too many."""
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise Refused(f"its table of contents has more than {MOST_OBJECTS:,} objects")
        read(self)

    def load_build(self) -> None:
        self.stack.pop()  # attributes, such as the versions of a state dict's modules

    def load_setitem(self) -> None:
        stack = self.stack
        value, key = stack.pop(), stack.pop()
        _set(stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _set(self.stack[-1], items)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    for _name in COUNTED.split():
        _code = getattr(pickle, _name)[0]
        dispatch[_code] = functools.partial(load_counted, read=dispatch[_code])


def _set(container: Any, items: list[Any]) -> None:
    """Put items into a dict. Its keys are strings and small integers: other hashes can be slow, or collide."""
    if type(container) is not dict or len(items) % 2:
        raise Refused("a container is damaged")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str and not (type(key) is int and 0 <= key < LARGEST_KEY):
            raise Refused("a container has a key that is neither a string nor the number of a parameter")
        container[key] = value
