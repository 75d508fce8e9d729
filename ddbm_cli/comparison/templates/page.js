"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// The table: a click on a heading sorts by it, another turns the order round; rows without a value stay last.
const table = document.getElementById("methods");
all("th", table).forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
  const up = head.ariaSort !== "ascending";
  const value = (row) => row.cells[column]?.dataset.value;
  const order = (a, b) => a === undefined ? 1 : b === undefined ? -1 : (isNaN(a) ? a.localeCompare(b) : a - b) * (up ? 1 : -1);
  all("tbody tr", table).sort((a, b) => order(value(a), value(b))).forEach((row) => table.tBodies[0].append(row));
  all("th", table).forEach((each) => { each.ariaSort = each === head ? (up ? "ascending" : "descending") : "none"; });
}));

for (const article of all("article")) {
  const figures = all("figure[data-label]", article);
  const wipe = article.querySelector(".wipe"), way = article.querySelector(".way");
  const [cut, scrub] = all("input", article), frames = all(".frame", way);
  const select = Object.fromEntries(["left", "right"].map((side) => [side, article.querySelector(`select.${side}`)]));

  function show(side, index) {
    select[side].value = index;
    wipe.querySelector(`img.${side}`).src = figures[index].querySelector("img").src;
    if (side === "left") return;
    figures.forEach((figure, each) => figure.toggleAttribute("aria-current", each === index));
    const { strip, times } = figures[index].dataset;
    way.hidden = !strip;
    if (!strip) return;
    scrub.max = times.trim().split(" ").length - 1;
    scrub.value = scrub.max;
    frames.forEach((frame) => { frame.style.backgroundImage = `url(${strip})`; });
    move();
  }

  function move() {
    const { times, calls } = figures[select.right.value].dataset, last = Number(scrub.max), now = Number(scrub.value);
    frames.forEach((frame, row) => {
      frame.style.backgroundSize = `${100 * (last + 1)}% 200%`;
      frame.style.backgroundPosition = `${last ? 100 * now / last : 0}% ${100 * row}%`;
    });
    way.querySelector("output").value = `evaluation ${calls.split(" ")[now]}, t = ${times.split(" ")[now]}`;
  }

  for (const [side, list] of Object.entries(select)) {
    figures.forEach((figure, index) => list.add(new Option(figure.dataset.label, index)));
    list.addEventListener("change", () => show(side, Number(list.value)));
  }
  figures.forEach((figure, index) => figure.querySelector("img").addEventListener("click", () => show("right", index)));
  cut.addEventListener("input", () => wipe.style.setProperty("--cut", `${cut.value}%`));
  scrub.addEventListener("input", move);
  show("left", 0);
  show("right", Math.min(1, figures.length - 1));
}
