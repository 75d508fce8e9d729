"""Text that is safe to print: characters that control a terminal are written as escapes.

File names, model cards, registry files, servers and libraries are not trusted. An escape sequence in one of them could
recolour, hide or overwrite what a terminal shows, and a line break in a file name could forge a line of output.
"""

import codecs
import math
import unicodedata
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

_ESCAPED = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode categories that are escaped: control characters, formats (such as bidi overrides), line separators."""

_JOINERS = "\u200c\u200d"
"""Formats that scripts and emoji need, and that move nothing."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    r"""Return text without characters that control a terminal; each is written as an escape such as \n or \x1b.

    Bytes of a file name that is not UTF-8 (lone surrogates) are left to the stream; see `spell_out` and `raw_bytes`.
    """
    text = str(text)
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) not in _ESCAPED:
        return character
    return _SHORT.get(character) or _code(character)


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no text, as Python reads file names
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def one_line(text: object) -> str:
    """Return text on one line, as errors of libraries need it: each run of white space is one space."""
    return printable(" ".join(str(text).split()))


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """Write characters that an encoding lacks as escapes; an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_code, error.object[error.start : error.end])), error.end


def raw_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write bytes of a file name unchanged, and other characters that an encoding lacks as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff":
        return bytes([ord(first) - 0xDC00]), error.start + 1
    return _code(first), error.start + 1


SPELL_OUT, RAW_BYTES = "ddbm-spell-out", "ddbm-raw-bytes"
"""Names of the two error handlers, for streams."""

codecs.register_error(SPELL_OUT, spell_out)
codecs.register_error(RAW_BYTES, raw_bytes)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: paths as text, NaN and infinity as None, tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return str(value)


def bytes_in_words(size: float) -> str:
    """Return a number of bytes in GiB, below half of one in MiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"
