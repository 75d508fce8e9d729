"""The server of `ddbm draw`: time from a finished stroke to its result, and many clients at once.

    python -m tests.benchmarks.draw [SECONDS] [CLIENTS] [NFE]

The server runs in a process of its own, with the built-in model, on loopback. One client sends a drawing again and
again, in turns with the model's own sampling in this process: the ratio of the two times is to be at most 1.5. Then
CLIENTS clients (50 by default) send drawings for SECONDS (60): no request may fail, the least served client is compared
with the most served one, and the server's memory at the end with that after a quarter of the time.
"""

import io
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import torch
from PIL import Image, ImageDraw

from ddbm_cli.models import load_model
from ddbm_cli.samplers import NoiseSource, finish
from tests.benchmarks.folder import resident_megabytes

TURNS = 12


def drawing(seed: int) -> bytes:
    """A circle in a colour that depends on the seed, on white, as the page sends it."""
    image = Image.new("RGB", (512, 512), "white")
    ImageDraw.Draw(image).ellipse((90, 110, 420, 430), outline=(37 * seed % 200, 91 * seed % 200, 60), width=10)
    body = io.BytesIO()
    image.save(body, "PNG")
    return body.getvalue()


def memory_of(pid: int) -> float:
    """Resident memory of a process, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Client:
    """A client with a drawing of its own, and one connection."""

    def __init__(self, url: str, number: int, nfe: int) -> None:
        self._url, self._name, self._nfe = f"{url}translate", f"{number}.png", nfe
        self._drawing = drawing(number)
        self._http = httpx2.Client(headers={"X-Client": str(number)}, timeout=120)

    def send(self, seed: int) -> int:
        """Send the drawing, and return the status of the answer."""
        parameters = {"seed": seed, "nfe": self._nfe, "name": self._name}
        return self._http.post(self._url, params=parameters, content=self._drawing).status_code


def alone(url: str, nfe: int) -> None:
    """Print the ratio of a request's time to that of the model."""
    model = load_model(None, device="cpu")
    plan, source = model.plan(nfe=nfe), torch.ones(1, 3, 64, 64)
    client = Client(url, 0, nfe)
    asked, own = [], []
    for turn in range(TURNS):
        began = time.perf_counter()
        assert client.send(turn) == 200
        asked.append(time.perf_counter() - began)
        began = time.perf_counter()
        finish(model.translate(source, NoiseSource(turn, ["drawing.png"]), plan))
        own.append(time.perf_counter() - began)
    request, network = (1000 * statistics.median(each[2:]) for each in (asked, own))
    print(f"one client  {request:.0f} ms, the model {network:.0f} ms")
    print(f"ratio       {request / network:.2f} (limit 1.5)")


def together(url: str, pid: int, seconds: float, clients: int, nfe: int) -> None:
    """Print what many clients got."""
    everyone = [Client(url, number, nfe) for number in range(clients)]
    end = time.monotonic() + seconds
    early: list[float] = []

    def work(client: Client) -> list[int]:
        got: list[int] = []
        while time.monotonic() < end:
            got.append(client.send(len(got)))
            if not early and time.monotonic() > end - 0.75 * seconds:
                early.append(memory_of(pid))
        return got

    with ThreadPoolExecutor(clients) as threads:
        answers = list(threads.map(work, everyone))
    counts = [sum(status == 200 for status in each) for each in answers]
    failed = sum(status != 200 for each in answers for status in each)
    late = memory_of(pid)
    print(f"{clients} clients  {sum(counts)} results in {seconds:.0f} s, {failed} failed (limit 0)")
    print(f"fairness    each client got {min(counts)} to {max(counts)}")
    print(f"memory      {early[0] if early else late:.0f} MB after a quarter, {late:.0f} MB at the end")


def main(seconds: float, clients: int, nfe: int) -> None:
    command = [sys.executable, "-m", "ddbm_cli", "draw", "--no-browser", "--port", "0", "-d", "cpu", "-q"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout
    try:
        lines = (re.search(r"http://\S+/", line) for line in server.stdout)
        url = next(found.group() for found in lines if found)
        alone(url, nfe)
        together(url, server.pid, seconds, clients, nfe)
        print(f"this process {resident_megabytes():.0f} MB")
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(float(given.get(0, 60)), int(given.get(1, 50)), int(given.get(2, 8)))
