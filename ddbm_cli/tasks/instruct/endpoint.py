"""Edits of captions by a language model behind an OpenAI-compatible interface (chat completions).

Nothing that comes back is trusted: an answer has limits of size and time, redirects are not followed, and only an
object with two short printable texts is used. The key goes to the address that the user gives, and into no message.
"""

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.text import one_line
from ddbm_cli.registry.deadline import within
from ddbm_cli.registry.transfer import TRANSIENT
from ddbm_cli.tasks.instruct.captions import Caption, CaptionError, text_of

LARGEST = 2**20
"""Bytes of an answer, at most."""

LONGEST = 120.0
"""Seconds that an answer may take, until its last byte."""

WAITS = (1.0, 4.0, 16.0)
"""Seconds before a request is repeated."""

MOST_WAIT = 60.0
"""Seconds that are waited at most where the server asks for more time (Retry-After)."""

LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
"""Hosts that are never reached through a proxy."""

TEMPERATURE = 0.7
"""That of InstructPix2Pix (Sec. 3.1.1)."""

TASK = (
    "You write data for a model that edits images. The user gives the caption of an image. Invent one edit of the "
    "image that a person could ask for and that changes what is visible. Answer with one JSON object and nothing else: "
    '{"edit": "the instruction", "output": "the caption after the edit"}. '
    "Change only the words of the caption that the edit concerns."
)
EXAMPLES = (
    ("photograph of a girl riding a horse", "have her ride a dragon", "photograph of a girl riding a dragon"),
    ("a lake between mountains, oil painting", "make it winter", "a frozen lake between snowy mountains, oil painting"),
)
KEPT = "finished work is kept: correct this, and run the same command again"


class _Transient(Exception):
    """A fault that may end by itself. wait: seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """An interface: its address up to /v1, the name of a model, and a key, "" for none."""

    url: str
    model: str
    key: str = field(default="", repr=False)

    def edited(self, caption: Caption) -> Caption:
        """Return a caption with an edit of it; a request that fails is repeated after a while.

        Raises:
            CaptionError: the model gives no usable edit of this caption.
            ModelError: the endpoint does not answer, or gives something else than chat completions.
        """
        before, reason = caption.before, ""
        for _ in range(1 + len(WAITS)):
            content = _content(self._answer(before), self.url)
            try:
                return _edit(content, caption)
            except ValueError as error:
                reason = one_line(error)[:80]
        raise CaptionError(
            f"'{before[:60]}': no usable edit from {self.model} ({reason})", hint="use another --endpoint-model"
        )

    def _answer(self, before: str) -> Any:
        """Return the JSON value of an answer."""
        examples = [
            {"role": role, "content": text}
            for given, edit, output in EXAMPLES
            for role, text in (("user", given), ("assistant", json.dumps({"edit": edit, "output": output})))
        ]
        messages = [{"role": "system", "content": TASK}, *examples, {"role": "user", "content": before}]
        body = json.dumps({"model": self.model, "messages": messages, "temperature": TEMPERATURE}).encode()
        for wait in (*WAITS, None):
            try:
                return within(LONGEST, lambda: self._request(body))
            except TimeoutError:
                fault = _Transient(f"no complete answer in {LONGEST:g} seconds")
            except _Transient as error:
                fault = error
            if wait is not None:
                time.sleep(max(wait, min(fault.wait, MOST_WAIT)))
        raise self._fails(str(fault))

    def _request(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "ddbm"}
        headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        try:
            with _opener(self.url).open(request, timeout=LONGEST) as answer:
                found = answer.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._of_status(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _Transient(one_line(reason)[:80] or type(error).__name__) from None
        if len(found) > LARGEST:
            raise self._fails(f"an answer of more than {LARGEST:,} bytes")
        try:
            return parse_json(found)
        except ValueError:
            raise self._fails("its answer is not JSON") from None

    def _of_status(self, error: urllib.error.HTTPError) -> Exception:
        """Return what an HTTP status means; the body of the answer is not read."""
        if error.code in TRANSIENT:
            given = (error.headers.get("Retry-After") or "").strip()
            return _Transient(f"HTTP status {error.code}", float(given) if re.fullmatch(r"\d{1,6}", given) else 0.0)
        if error.code in (401, 403):
            return self._fails(f"HTTP status {error.code}, the key is missing or refused", hint="check --endpoint-key")
        if 300 <= error.code < 400:
            return self._fails(f"HTTP status {error.code}, redirects are not followed")
        return self._fails(f"HTTP status {error.code}", hint="check --endpoint and --endpoint-model")

    def _fails(self, reason: str, *, hint: str = KEPT) -> ModelError:
        return ModelError(f"{self.url}: {reason}", hint=hint)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what makes requests: HTTP and HTTPS alone, without redirects."""
    host = urlsplit(url).hostname or ""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler({} if LOOPBACK.fullmatch(host) else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _content(answer: Any, url: str) -> str:
    """Return the text of a chat completion.

    Raises:
        ModelError: it is something else.
    """
    try:
        content = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        raise ModelError(f"{url}: its answer is no chat completion", hint=KEPT)
    return content


def _edit(content: str, caption: Caption) -> Caption:
    """Return a caption with the edit in the text of an answer, which may be in a block of Markdown.

    Raises:
        ValueError: there is none.
    """
    start, end = content.find("{"), content.rfind("}")
    if start < 0 or end < start:
        raise ValueError("no JSON object")
    try:
        found = parse_json(content[start : end + 1])
    except ValueError:
        raise ValueError("not JSON") from None
    edit, output = text_of(found.get("edit")), text_of(found.get("output"))
    if output.casefold() == caption.before.casefold():
        raise ValueError("the caption is unchanged")
    return replace(caption, edit=edit, after=output)
