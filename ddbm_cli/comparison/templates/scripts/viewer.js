// The viewer of one input: opened by an image of the grid, which becomes the right one.
const viewer = document.getElementById("viewer");
const part = (selector) => viewer.querySelector(selector);
const rows = all("#images article").filter((row) => row.querySelector("figure"));
const selects = { left: part("select.left"), right: part("select.right") };
const frames = all(".frame", viewer), time = part(".time"), film = part(".film");
let figures = [], current = 0, player = 0;

function openRow(place, right) {
  current = (place + rows.length) % rows.length;
  figures = all("figure", rows[current]);
  part("h2").textContent = rows[current].dataset.name;
  const keep = (side, fallback) => {
    const found = figures.findIndex((figure) => figure.dataset.label === selects[side].selectedOptions[0]?.text);
    return found >= 0 ? found : fallback;
  };
  const chosen = [keep("left", 0), right ?? keep("right", Math.min(1, figures.length - 1))];
  for (const list of Object.values(selects)) {
    list.replaceChildren(...figures.map((figure, index) => new Option(figure.dataset.label, index)));
  }
  show("left", chosen[0]);
  show("right", chosen[1]);
  if (!viewer.open) viewer.showModal();
}

function show(side, index) {
  selects[side].value = index;
  part(`.wipe img.${side}`).src = figures[index].querySelector("img").src;
  if (side === "right") showFacts(figures[index]);
}

function showFacts(figure) {
  stop();
  const { label, strip, command } = figure.dataset, ends = label === "Source" || label === "Target";
  part(".of").textContent = label;
  part(".trajectory").hidden = !strip;
  part(".no-trajectory").hidden = Boolean(strip) || ends;
  part("p.command").hidden = !command;
  part("p.command code").textContent = command ?? "";
  part("p.command .copy").dataset.copy = command ?? "";
  part("dl.scores").replaceChildren(...all(".score", figure).flatMap((score) => {
    const name = document.createElement("dt"), value = document.createElement("dd");
    name.textContent = score.dataset.metric;
    value.innerHTML = score.innerHTML;
    return [name, value];
  }));
  if (!strip) return;
  const count = figure.dataset.times.trim().split(" ").length;
  time.max = count - 1;
  time.value = 0;
  film.style.setProperty("--frames", count);
  film.firstElementChild.src = strip;
  for (const frame of frames) frame.style.backgroundImage = `url(${strip})`;
  move();
}

function move() {
  const { times, calls, nfe } = figures[selects.right.value].dataset, last = Number(time.max), now = Number(time.value);
  frames.forEach((frame, row) => {
    frame.style.backgroundSize = `${100 * (last + 1)}% 200%`;
    frame.style.backgroundPosition = `${last ? 100 * now / last : 0}% ${100 * row}%`;
  });
  film.style.setProperty("--at", now);
  part(".scrub output").value = `evaluation ${calls.split(" ")[now]} of ${nfe}, t = ${times.split(" ")[now]}`;
}

function stop() {
  clearInterval(player);
  player = 0;
  part(".play").textContent = "▶";
}

rows.forEach((row, place) => all("figure", row).forEach((figure, index) => {
  figure.querySelector("button").addEventListener("click", () => openRow(place, index || undefined));
}));
for (const [side, list] of Object.entries(selects)) list.addEventListener("change", () => show(side, Number(list.value)));
for (const button of all(".step", viewer)) button.addEventListener("click", () => openRow(current + Number(button.dataset.step)));
part(".close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", stop);
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
part(".cut").addEventListener("input", (event) => part(".wipe").style.setProperty("--cut", `${event.target.value}%`));
time.addEventListener("input", () => { stop(); move(); });
film.addEventListener("click", (event) => {
  time.value = Math.floor(event.offsetX / film.clientWidth * (Number(time.max) + 1));
  stop();
  move();
});
part(".play").addEventListener("click", () => {
  if (player) return stop();
  if (time.value === time.max) time.value = 0;
  move();
  part(".play").textContent = "❚❚";
  player = setInterval(() => {
    time.value = Number(time.value) + 1;
    move();
    if (time.value === time.max) stop();
  }, 350);
});
