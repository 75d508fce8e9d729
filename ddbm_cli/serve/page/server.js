/* Requests: the token, errors of two lines, and server-sent events of POST /translate. */

class Failure extends Error {
  constructor(what, hint) {
    super(what);
    this.hint = hint;
  }
}

const TOKEN = (() => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return given || sessionStorage.getItem("token") || "";
})();

const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function call(path, options = {}) {
  const headers = { "X-Client": CLIENT, ...options.headers };
  if (TOKEN) headers.Authorization = `Bearer ${TOKEN}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server does not answer.", "Check that ddbm draw is running.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Failure(body.what || `HTTP error ${response.status}`, body.do || "");
}

/* Yields [name, body] for every event of a translation. */
async function* translate(image, parameters, signal) {
  const response = await call(`translate?${new URLSearchParams(parameters)}`, {
    method: "POST",
    body: image,
    signal,
    headers: { Accept: "text/event-stream", "Content-Type": image.type || "application/octet-stream" },
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (.*)\ndata: (.*)$/) || [];
      if (!name) continue;
      const body = JSON.parse(data);
      if (name === "error") throw new Failure(body.what, body.do);
      yield [name, body];
      if (name === "done") return;
    }
  }
  throw new Failure("The server ended the answer.", "Check that ddbm draw is running.");
}
