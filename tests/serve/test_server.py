"""The server over real loopback: results, their independence, protection, bounds, and its end."""

import base64
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from PIL import Image

from ddbm_cli.serve import engine
from ddbm_cli.tasks.recorder import spaced
from tests.serve.conftest import png

httpx = pytest.importorskip("httpx2", reason="needs pip install httpx2")


def post(server, body=None, *, headers=None, **parameters):
    return httpx.post(
        f"{server.url}translate",
        params=parameters,
        content=png() if body is None else body,
        headers=headers,
        timeout=60,
    )


def first(server, status, tries=600):
    """Send requests until one is answered with this status, at most `tries`; return the last answer."""
    for _ in range(tries):
        answer = post(server)
        if answer.status_code == status:
            break
        time.sleep(0.02)
    return answer


def events(server, **parameters):
    """The events of a request, as (name, body)."""
    text = post(server, headers={"Accept": "text/event-stream"}, **parameters).text
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def two_lines(response, status):
    assert response.status_code == status
    assert set(response.json()) == {"what", "do"} and "Traceback" not in response.text
    return response.json()["what"]


def test_the_result_is_the_file_that_translate_writes(server, models, ddbm, tmp_path):
    made = post(server, seed=3, name="drawing.png", nfe=3).content
    (tmp_path / "drawing.png").write_bytes(png())
    file = next(iter(models)).reference
    ddbm("translate", tmp_path / "drawing.png", tmp_path / "out.png", "-m", file, "--seed", 3, "--nfe", 3)
    assert (tmp_path / "out.png").read_bytes() == made


def test_the_command_of_an_answer_makes_the_same_file(server, ddbm, tmp_path, monkeypatch):
    answer = post(server, headers={"Accept": "application/json"}, seed=5, draws=2, name="my drawing.png").json()
    (tmp_path / "my drawing.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    import shlex

    for image in answer["images"]:
        program, *words = shlex.split(image["command"])
        assert program == "ddbm"
        ddbm(*words)
        assert (tmp_path / image["name"]).read_bytes() == base64.b64decode(image["image"])


def test_results_do_not_depend_on_who_came_with_whom(server):
    def made(number):
        return post(server, png(number), seed=number % 3, nfe=3, headers={"X-Client": str(number)}).content

    alone = [made(number) for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        together = list(threads.map(made, range(12)))
    assert together == alone and len(set(alone)) == 12


def test_progress_is_streamed_for_each_evaluation(server):
    found = events(server, nfe=3, draws=2, trajectory="yes")
    names = [name for name, _ in found]
    assert names[0] == "queued" and names[-1] == "done" and names.count("image") == 2
    first = [body for name, body in found if name == "progress" and body["draw"] == 0]
    assert [body["nfe"] for body in first] == [1, 2, 3] and all(body["of"] == 3 for body in first)
    assert Image.open(io.BytesIO(base64.b64decode(first[0]["x0"]))).size == (16, 16)
    assert "x0" not in found[-3][1]


def test_states_of_a_long_trajectory_are_evenly_spaced(server):
    shown = [body["nfe"] for name, body in events(server, nfe=30, trajectory="yes") if "x0" in body]
    assert shown == spaced(30, engine.COLUMNS) and shown[0] == 1 and shown[-1] == 30


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"nfe": 5}, {"steps": 2}, {"sampler": "heun"}, {"grid": "karras"}, {"start": 1},
        {"keep_size": "true"}, {"fit": "stretch", "keep_size": "true"}, {"metadata": "none"}, {"name": "other.png"},
        {"alpha": "cut"}, {"prepare": "sketch"}, {"prepare": "sketch", "objects": "one"},
    ],
)  # fmt: skip
def test_every_parameter_changes_the_answer(server, change):
    body = io.BytesIO()
    on_grey = Image.open(io.BytesIO(png())).resize((40, 24)).point(lambda value: 0.85 * value)
    on_grey.save(body, "PNG")
    assert post(server, body.getvalue(), **change).content != post(server, body.getvalue()).content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost:1234"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_requests_of_other_sites_are_refused(server, headers, status):
    response = httpx.get(f"{server.url}models", headers=headers)
    assert response.status_code == status and (status == 200 or two_lines(response, status))


def test_a_token_is_required_where_there_is_one(serve):
    url = serve(token="a-secret-of-some-length").url
    assert httpx.get(url).status_code == 200 and "a-secret" not in httpx.get(url).text
    for wrong in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic a-secret-of-some-length"}):
        two_lines(httpx.get(f"{url}models", headers=wrong), 401)
    right = {"Authorization": "Bearer a-secret-of-some-length", "Host": "tablet.example"}
    assert httpx.get(f"{url}models", headers=right).status_code == 200


def test_the_page_allows_nothing_from_elsewhere(server):
    response = httpx.get(server.url)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.headers["x-frame-options"] == "DENY" and "http://" not in response.text.replace("http://www.w3", "")


@pytest.mark.parametrize(
    ("body", "parameters", "status"),
    [
        (b"", {}, 400),
        (b"no image", {}, 422),
        (png()[:60], {}, 422),
        (png(), {"model": "none"}, 400),
        (png(), {"draws": 2}, 400),
        (png(), {"nfe": 0}, 400),
        (png(), {"class": "cat"}, 400),
    ],
)
def test_bad_requests_are_answered_in_two_lines(server, body, parameters, status):
    two_lines(post(server, body, **parameters), status)


def test_uploads_pixels_and_requests_are_bounded(serve):
    small = serve(max_upload=1, max_pixels=1, max_requests=1)
    two_lines(post(small, bytes(2**20 + 1)), 413)
    two_lines(post(small, (bytes(2**16) for _ in range(20))), 413)  # without a declared length
    assert "million pixels" in two_lines(post(small, png(0, 1100)), 422)
    place = urlsplit(small.url)
    with socket.create_connection((place.hostname, place.port)) as slow:
        slow.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        assert "takes no more" in two_lines(first(small, 503), 503)
    assert first(small, 200).status_code == 200


def test_draws_and_evaluations_are_bounded_as_the_options_say(serve):
    json = {"Accept": "application/json"}
    small = serve(max_nfe=4, max_draws=2)
    assert "at most 4" in two_lines(post(small, nfe=5), 400) and post(small, nfe=4).status_code == 200
    assert "at most 2" in two_lines(post(small, headers=json, draws=3), 400)
    assert len(post(small, headers=json, draws=2).json()["images"]) == 2


def test_forms_other_methods_and_other_paths_are_explained(server):
    two_lines(httpx.post(f"{server.url}translate", files={"image": png()}), 415)
    two_lines(httpx.get(f"{server.url}translate"), 405)
    two_lines(httpx.get(f"{server.url}../etc/passwd"), 404)


@pytest.mark.parametrize("accept", ["text/event-stream", "image/png"])
def test_a_client_that_leaves_cancels_its_request(serve, accept):
    busy = serve(max_nfe=5000)
    place = urlsplit(busy.url)
    body = png()
    leaving = socket.create_connection((place.hostname, place.port))
    head = f"POST /translate?nfe=5000 HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    leaving.sendall(head.encode() + body)
    time.sleep(0.5)
    leaving.close()
    assert post(busy, nfe=2).status_code == 200  # 5000 evaluations would take longer than the time limit
    assert busy.engine.made == 1


def test_stopping_ends_running_requests_with_an_error(serve, monkeypatch):
    busy, begun = serve(max_nfe=100_000), threading.Event()
    real = engine._evaluated
    monkeypatch.setattr(engine, "_evaluated", lambda *given: begun.set() or real(*given))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(busy, nfe=100_000)))
    thread.start()
    assert begun.wait(60)
    busy.stop()
    thread.join(60)
    assert "stopping" in two_lines(answers[0], 503)
