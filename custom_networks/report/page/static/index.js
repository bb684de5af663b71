"use strict";
// Sorts the table of cases by the column whose heading is clicked.
(() => {
  const table = document.getElementById("cases");
  if (!table) return;
  const headings = [...table.tHead.rows[0].cells];

  function valueOf(row, column) {
    const text = row.cells[column].textContent.trim();
    const order = headings[column].dataset.order?.split(" ");
    if (order) return order.indexOf(text);
    return text !== "" && !isNaN(text) ? Number(text) : text;
  }

  function before(one, other) {
    const numbers = [one, other].map((value) => typeof value === "number");
    if (numbers[0] && numbers[1]) return one - other;
    if (numbers[0] !== numbers[1]) return numbers[0] ? 1 : -1; // text and empty cells before numbers
    return one.localeCompare(other, undefined, { numeric: true });
  }

  function sortBy(column) {
    const down = headings[column].getAttribute("aria-sort") === "ascending";
    headings.forEach((heading) => heading.removeAttribute("aria-sort"));
    headings[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => (down ? -1 : 1) * before(valueOf(one, column), valueOf(other, column)));
    table.tBodies[0].append(...rows);
  }

  headings.forEach((heading, column) => {
    if (heading.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sortBy(column));
    heading.replaceChildren(button);
  });
})();
