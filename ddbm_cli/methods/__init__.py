"""Methods of translation, one unit each: options, models, plan, batches, record and command."""

from collections.abc import Mapping
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.methods.base import Loader, Method
from ddbm_cli.methods.bridge import BridgeMethod
from ddbm_cli.methods.colour_transfer import ColourTransferMethod
from ddbm_cli.methods.ddib import DDIBMethod
from ddbm_cli.methods.sdedit import SDEditMethod
from ddbm_cli.options.translate import TranslateRequest

_ALL = (BridgeMethod(), SDEditMethod(), DDIBMethod(), ColourTransferMethod())

METHODS: dict[str, Method] = {method.name: method for method in _ALL}
"""All methods by name; the first one is the default."""

DEFAULT_METHOD = next(iter(METHODS))


def method_of(request: TranslateRequest) -> Method:
    """Return the method of a request, after checking that the other options fit it. Does not import torch.

    Raises:
        UsageError: an unknown method, or an option that the method does not take.
    """
    if request.method not in METHODS:
        raise UsageError(f"unknown method '{request.method}'", hint=f"choose one of: {', '.join(METHODS)}")
    method = METHODS[request.method]
    for option, default in method.foreign_options(METHODS.values()).items():
        if getattr(request, option) != default:
            takers = " or ".join(each.name for each in METHODS.values() if option in each.takes)
            raise UsageError(
                f"--{option.replace('_', '-')} is for --method {takers}",
                hint=f"add --method {takers}, or remove the option",
            )
    method.check(request)
    return method


def method_of_record(record: Mapping[str, Any]) -> Method:
    """Return the method that wrote a record; records of releases before 0.2 do not name it."""
    named = METHODS.get(str(record.get("method")))
    return named or next((each for each in METHODS.values() if each.made(record)), METHODS[DEFAULT_METHOD])


__all__ = ["DEFAULT_METHOD", "METHODS", "Loader", "Method", "method_of", "method_of_record"]
