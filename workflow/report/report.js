"use strict";
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const numeric = head.classList.contains("n");
      [...body.rows]
        .sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          // Cells without a number stay at the end in both directions.
          if (numeric && (x === "" || y === "")) return (x === "") - (y === "");
          return direction * (numeric ? x - y : x.localeCompare(y));
        })
        .forEach((row) => body.append(row));
    });
  });
});
document.querySelectorAll(".filters[data-table]").forEach((form) => {
  const table = document.getElementById(form.dataset.table);
  const rows = [...table.tBodies[0].rows];
  const apply = () => {
    const wanted = [...form.querySelectorAll("select")].filter((select) => select.value !== "");
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = wanted.some((select) => row.cells[Number(select.dataset.column)].textContent.trim() !== select.value);
      shown += !row.hidden;
    });
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
});
document.querySelectorAll(".choose").forEach((form) => {
  const examples = [...document.querySelectorAll(`#${form.dataset.of} > *`)];
  const selects = [...form.querySelectorAll("select")];
  const fits = (element) =>
    selects.every(({ dataset: { key }, value }) => !(key in element.dataset) || value === "" || element.dataset[key] === value);
  const apply = () => {
    let shown = 0;
    examples.forEach((example) => {
      const heard = [...example.querySelectorAll(".heard")];
      heard.forEach((one) => { one.hidden = !fits(one); });
      example.hidden = !fits(example) || heard.every((one) => one.hidden);
      if (example.hidden) example.querySelector("audio")?.pause();
      shown += !example.hidden;
    });
    document.getElementById("no-example").hidden = shown > 0;
    return shown;
  };
  form.addEventListener("change", ({ target }) => {
    if (apply() || target.dataset.key !== "group") return;
    // The language that was chosen has other test sets: its first one.
    const first = examples.find(({ dataset: { group } }) => group === target.value);
    const test_set = selects.find(({ dataset: { key } }) => key === "test_set");
    if (first && test_set) {
      test_set.value = first.dataset.test_set;
      apply();
    }
  });
  form.addEventListener("submit", (event) => event.preventDefault());
});
// Paper cannot be opened: what is folded is printed, and folded again.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
