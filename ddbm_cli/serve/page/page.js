/* The page: controls, and one request at a time. */

const $ = (id) => document.getElementById(id);
const COLOURS = {
  black: "#1b1b1b", grey: "#8a8d94", red: "#d92d20", orange: "#f2801d",
  yellow: "#f5c518", green: "#2e9e4f", blue: "#2f6fed", purple: "#8b3fd1",
};
const PAUSE = 120; // milliseconds between requests within a stroke

const page = { models: [], limits: {}, running: null, wanted: false, sent: 0, results: [], chosen: 0, name: "" };
const drawing = new Drawing($("canvas"), onChange);

function onChange(complete) {
  $("undo").disabled = !drawing.past.length;
  $("redo").disabled = !drawing.future.length;
  $("invite").hidden = !drawing.empty;
  if (drawing.empty) {
    stop();
    show([]);
  } else if (complete) {
    request(true);
  } else if ($("live").checked) {
    request(false);
  }
}

/* Within a stroke a running request is finished first, so that something appears; at its end the newest wins. */
function request(now) {
  if (!page.models.length || drawing.empty) return;
  page.wanted = true;
  clearTimeout(page.timer);
  if (now) {
    if (page.running) page.running.abort();
    start();
  } else if (!page.running) {
    page.timer = setTimeout(start, Math.max(0, page.sent + PAUSE - performance.now()));
  }
}

function stop() {
  page.wanted = false;
  clearTimeout(page.timer);
  if (page.running) page.running.abort();
  page.running = null;
}

function parameters() {
  const given = { model: $("model").value, prepare: $("prepare").value, name: drawing.file ? drawing.file.name : "drawing.png" };
  for (const [name, id] of [["nfe", "nfe"], ["seed", "seed"], ["draws", "number"]]) {
    if (!$(id).checkValidity()) throw new Failure(`${$(id).parentNode.firstChild.textContent}: ${$(id).validationMessage}`, "");
    if ($(id).value !== "") given[name] = $(id).value;
  }
  if (!$("class-field").hidden) given.class = $("class").value;
  if (drawing.pointer === null) given.trajectory = "true";
  return given;
}

async function start() {
  const control = new AbortController();
  page.running = control;
  page.wanted = false;
  page.sent = performance.now();
  const began = page.sent;
  const current = () => page.running === control;
  const results = [];
  const states = [];
  try {
    const image = await drawing.blob();
    if (!current()) return;
    if (image.size > page.limits.upload) {
      throw new Failure(`The image has more than ${page.limits.upload / 2 ** 20} MiB.`, "Reduce it, or start with --max-upload.");
    }
    const asked = parameters();
    $("result").classList.add("stale");
    for await (const [name, body] of translate(image, asked, control.signal)) {
      if (!current()) return;
      if (name === "queued") {
        notes(body);
        $("state").textContent = body.before ? `Waiting, ${body.before} before` : "Translating";
      } else if (name === "progress") {
        $("progress").value = (body.draw - 0 + body.nfe / body.of) / Number(asked.draws || 1);
        if (body.x0) {
          states.push(body);
          if (states.length === 1 && results.length === 0 && body.of > 20) preview(body.x0);
        }
      } else if (name === "image") {
        results.push(body);
      } else if (name === "done") {
        results.sort((one, other) => one.draw - other.draw);
        page.name = asked.name;
        show(results, states, asked);
        const seconds = (performance.now() - began) / 1000;
        $("state").textContent = `${body.nfe} NFE, ${seconds.toFixed(2)} s`;
        document.body.dataset.done = String(Number(document.body.dataset.done || 0) + 1);
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || !current()) return;
    fail(error);
  } finally {
    if (current()) {
      page.running = null;
      $("progress").value = 0;
      $("result").classList.remove("stale");
      if (page.wanted) request(false);
    }
  }
}

function preview(x0) {
  $("image").src = `data:image/png;base64,${x0}`;
  $("image").hidden = false;
  $("empty").hidden = true;
}

function show(results, states = [], asked = {}) {
  fail(null);
  page.results = results;
  page.chosen = Math.min(page.chosen, Math.max(0, results.length - 1));
  $("empty").hidden = Boolean(results.length);
  $("image").hidden = $("mini").hidden = !results.length;
  $("draws").hidden = results.length < 2;
  $("draws").replaceChildren(...results.map((result, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `Draw ${result.draw}`);
    const image = new Image();
    image.src = `data:image/png;base64,${result.image}`;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => { page.chosen = place; choose(); });
    return button;
  }));
  if (states.length || !results.length) trajectory(states);
  if (!results.length) {
    $("state").textContent = "";
    $("notes").replaceChildren();
  }
  $("with").textContent = asked.name && asked.name !== "drawing.png" ? "in the folder of the image" : "in the folder of the saved drawing";
  choose();
}

function choose() {
  const result = page.results[page.chosen];
  [...$("draws").children].forEach((button, place) => button.setAttribute("aria-checked", String(place === page.chosen)));
  $("save").setAttribute("aria-disabled", String(!result));
  $("copy").disabled = !result;
  $("command").textContent = result ? result.command : "Draw something first.";
  if (!result) {
    $("save").removeAttribute("href");
    $("image").removeAttribute("src");
    return;
  }
  const address = `data:image/png;base64,${result.image}`;
  $("image").src = $("mini").src = address;
  $("image").alt = `Result of the drawing, draw ${result.draw}, ${result.width} by ${result.height} pixels`;
  $("save").href = address;
  $("save").download = result.name;
}

function trajectory(states) {
  if (!states.length) {
    const text = document.createElement("p");
    text.textContent = "Empty";
    $("states").replaceChildren(text);
    return;
  }
  $("states").replaceChildren(...states.map((state) => {
    const figure = document.createElement("figure");
    figure.setAttribute("role", "listitem");
    const image = new Image();
    image.src = `data:image/png;base64,${state.x0}`;
    image.alt = `Estimate after evaluation ${state.nfe} of ${state.of}`;
    const caption = document.createElement("figcaption");
    caption.textContent = state.nfe;
    figure.append(image, caption);
    return figure;
  }));
}

function notes(body) {
  const lines = [...body.notes, ...body.findings.map((each) => `${each.what}. Hint: ${each.do}`)];
  $("notes").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
}

function fail(error) {
  $("error").hidden = !error;
  if (!error) return;
  $("error").firstElementChild.textContent = error.message;
  $("error").lastElementChild.textContent = error.hint || "";
  $("state").textContent = "Failed";
}

async function open(file) {
  if (!file) return;
  try {
    await drawing.open(file);
  } catch {
    fail(new Failure(`${file.name}: the browser cannot read this image.`, "Save it as PNG or JPEG."));
  }
}

async function saveDrawing() {
  if (drawing.empty) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await drawing.blob());
  link.download = drawing.file ? drawing.file.name : "drawing.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function chooseModel() {
  const model = page.models.find((each) => each.name === $("model").value);
  $("nfe").placeholder = model.nfe;
  $("task").textContent = `${model.task}, ${model.width}x${model.height} pixels, licence ${model.licence}`;
  const none = document.createElement("option");
  none.value = "";
  none.textContent = "none";
  $("class").replaceChildren(...(model.needs_class ? [] : [none]), ...model.classes.map((name) => new Option(name, name)));
  $("class-field").hidden = !model.classes.length;
  request(true);
}

function tool(name) {
  document.querySelector(`[name=tool][value=${name}]`).checked = true;
  drawing.tool = name;
}

function paint(colour) {
  drawing.colour = colour;
  tool("pen");
}

for (const [place, [name, colour]] of Object.entries(COLOURS).entries()) {
  const label = document.createElement("label");
  label.title = `${name} (${place + 1})`;
  const input = document.createElement("input");
  input.type = "radio";
  input.name = "colour";
  input.checked = !place;
  input.setAttribute("aria-label", name);
  input.addEventListener("change", () => paint(colour));
  const swatch = document.createElement("span");
  swatch.style.background = colour;
  label.append(input, swatch);
  $("colours").append(label);
}

function save() {
  if (page.results.length) $("save").click();
}

function newSeed() {
  $("seed").value = Math.floor(Math.random() * 1000000);
  request(true);
}

function widen(factor) {
  $("width").value = Math.round(Number($("width").value) * factor + Math.sign(factor - 1));
  drawing.width = Number($("width").value);
}

const KEYS = {
  b: () => tool("pen"), e: () => tool("eraser"), "[": () => widen(0.8), "]": () => widen(1.25),
  Delete: () => drawing.clear(), o: () => $("file").click(), r: newSeed, s: save, "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=radio], [type=checkbox], [type=range]), select, pre");
  if (typing || event.altKey || $("help").open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    const action = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key];
    if (action) drawing[action]();
    if (action) event.preventDefault();
  } else if (KEYS[key]) {
    event.preventDefault();
    KEYS[key]();
  } else if (/^[1-8]$/.test(key)) {
    const input = document.querySelectorAll("[name=colour]")[key - 1];
    input.checked = true;
    input.dispatchEvent(new Event("change"));
  }
});
for (const input of document.querySelectorAll("[name=tool]")) input.addEventListener("change", () => tool(input.value));
for (const id of ["nfe", "seed", "number", "prepare", "class"]) $(id).addEventListener("change", () => request(true));
$("model").addEventListener("change", chooseModel);
$("custom").addEventListener("input", () => {
  for (const input of document.querySelectorAll("[name=colour]")) input.checked = false;
  paint($("custom").value);
});
$("width").addEventListener("input", () => { drawing.width = Number($("width").value); });
$("undo").addEventListener("click", () => drawing.undo());
$("redo").addEventListener("click", () => drawing.redo());
$("clear").addEventListener("click", () => drawing.clear());
$("again").addEventListener("click", newSeed);
$("save-drawing").addEventListener("click", saveDrawing);
$("help-button").addEventListener("click", () => $("help").showModal());
$("save").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); save(); } });
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("command").textContent);
    $("copy").textContent = "Copied";
  } catch { // pages of other hosts without TLS have no clipboard
    getSelection().selectAllChildren($("command"));
    $("copy").textContent = "Press Ctrl+C";
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});
$("file").addEventListener("change", () => { open($("file").files[0]); $("file").value = ""; });
document.addEventListener("paste", (event) => open([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  open(event.dataTransfer.files[0]);
});

call("models").then((response) => response.json()).then(({ models, limits }) => {
  page.models = models;
  page.limits = limits;
  $("model").replaceChildren(...models.map((each) => new Option(each.name, each.name)));
  $("nfe").max = limits.nfe;
  $("number").max = limits.draws;
  document.body.dataset.ready = "yes";
  chooseModel();
}).catch(fail);
