// The table: a heading sorts by its column, again in reverse. Rows without a value stay last.
const table = document.getElementById("methods");
const heads = all("thead th", table);

function sortBy(column, up) {
  const value = (row) => row.cells[column]?.dataset.value;
  const order = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b) * (up ? 1 : -1);
  const compare = (a, b) => a === undefined ? (b === undefined ? 0 : 1) : b === undefined ? -1 : order(a, b);
  const rows = all("tbody tr", table).sort((a, b) => compare(value(a), value(b)));
  table.tBodies[0].append(...rows);
  heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? (up ? "ascending" : "descending") : "none"));
}
heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  sortBy(column, head.getAttribute("aria-sort") !== "ascending");
}));
document.getElementById("sort-by").addEventListener("change", (event) => sortBy(Number(event.target.value), true));
