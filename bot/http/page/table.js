// Tables of answers: the rows as data, sorted by a press on a column's name, and all of them as a file.

import { fileNode } from "./files.js";
import { element } from "./markdown.js";

const ARROWS = { ascending: " ▲", descending: " ▼" };

/** Returns a table with its title, its sortable rows, and a button that saves the file. */
export function tableNode({ title, columns, rows, caption, file }) {
  const body = element("tbody", {}, ...rows.map((row) => rowNode(row, columns)));
  const heads = columns.map((column, index) => headNode(column, () => sort(index)));
  const grid = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
  const node = element("figure", { class: "rows" });
  if (title) node.append(element("figcaption", {}, title));
  node.append(element("div", { class: "table", tabindex: "0" }, grid));
  if (caption) node.append(element("p", { class: "fine" }, caption));
  node.append(fileNode(file));

  function sort(index) {
    const order = heads[index].getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sorted = sortRows(rows, index, order === "descending");
    heads.forEach((head, at) => mark(head, columns[at], at === index ? order : "none"));
    body.replaceChildren(...sorted.map((row) => rowNode(row, columns)));
  }
  return node;
}

/** Returns rows ordered by one of their values: numbers before texts, missing values last. */
export function sortRows(rows, index, isDescending) {
  const sign = isDescending ? -1 : 1;
  return rows.toSorted((one, other) => {
    const [left, right] = [one[index], other[index]];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (typeof left !== typeof right) return sign * (typeof left === "number" ? -1 : 1);
    return sign * (typeof left === "number" ? left - right : left.localeCompare(right));
  });
}

function headNode(column, onSort) {
  const button = element("button", { type: "button", class: "quiet" }, column.name);
  button.addEventListener("click", onSort);
  return element("th", { class: side(column), scope: "col", "aria-sort": "none" }, button);
}

function mark(head, column, order) {
  head.setAttribute("aria-sort", order);
  head.firstChild.textContent = column.name + (ARROWS[order] ?? "");
}

const side = (column) => (column.type === "number" ? "end" : "start");

const rowNode = (row, columns) =>
  element("tr", {}, ...row.map((value, index) => element("td", { class: side(columns[index]) }, value === null ? "—" : String(value))));
