"""A server with a tiny model, over real loopback."""

import io
import threading

import pytest

from tests.tiny import picture, write_tiny

pytest.importorskip("starlette", reason='needs pip install "ddbm-cli[serve]"')
pytest.importorskip("uvicorn", reason='needs pip install "ddbm-cli[serve]"')


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The tiny model, loaded as the command loads it."""
    from ddbm_cli.options.draw import DrawOptions
    from ddbm_cli.registry.locate import finish
    from ddbm_cli.serve.offered import loading_all

    file = write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    return finish(loading_all(DrawOptions(models=(str(file),), device="cpu")))


class Running:
    """A server in a thread."""

    def __init__(self, models, token="", **limits):
        from ddbm_cli.options.draw import DrawOptions
        from ddbm_cli.serve.app import create_app
        from ddbm_cli.serve.engine import Engine
        from ddbm_cli.serve.limits import Limits
        from ddbm_cli.serve.run import Server
        from ddbm_cli.serve.sockets import listen, url_of

        listening = listen("127.0.0.1", 0)
        self.url = url_of("127.0.0.1", listening)
        self.engine = Engine()
        self.server = Server(create_app(models, Limits.of(DrawOptions(**limits)), self.engine, token), self.engine)
        self.thread = threading.Thread(target=self.server.serve_until_stopped, args=(listening,))
        self.thread.start()

    def stop(self):
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(models):
    """Start servers; the arguments are those of `Running`."""
    running = []

    def run(**options):
        running.append(Running(models, **options))
        return running[-1]

    yield run
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def server(models):
    """One server for the tests of a module."""
    running = Running(models)
    yield running
    running.stop()


def png(index=0, size=40):
    """The bytes of an image."""
    body = io.BytesIO()
    picture(index, size).save(body, "PNG")
    return body.getvalue()
