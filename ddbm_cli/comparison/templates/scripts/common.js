"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Copy buttons. Without the clipboard interface, a hidden text field does the same.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  await copyText(button.dataset.copy);
  const label = button.textContent;
  button.classList.add("copied");
  button.textContent = "Copied";
  setTimeout(() => { button.classList.remove("copied"); button.textContent = label; }, 1200);
});

// Which score the grid shows.
document.getElementById("shown-score")?.addEventListener("change", (event) => {
  for (const score of all("#images .score")) score.hidden = score.dataset.metric !== event.target.value;
});
