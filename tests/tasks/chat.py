"""An OpenAI-compatible endpoint on loopback, with answers on demand.

with Chat() as chat:
    chat.answers.append(said('{"edit": "make it red", "output": "a red cat"}'))      for the next request
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def said(content, **more):
    """A chat completion with this text."""
    return 200, {}, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]} | more).encode()


class Chat:
    """The server. asked: bodies and headers of requests. Without other answers, "a cat" becomes "a red cat"."""

    def __init__(self):
        self.asked, self.answers = [], []

    def __enter__(self):
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                chat.asked.append((self.path, body, dict(self.headers)))
                status, headers, content = chat.answers.pop(0) if chat.answers else chat.usual(body)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *given):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *given):
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def usual(body):
        words = body["messages"][-1]["content"].split()
        edit = {"edit": "make it red", "output": " ".join([*words[:-1], "red", words[-1]])}
        return said(f"Sure!\n```json\n{json.dumps(edit)}\n```")
