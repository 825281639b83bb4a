// Markdown to DOM nodes. The text is not trusted: markdown-it only reads it, and what it finds becomes elements that are
// created here, with the rest as text. No markup is ever written or parsed.

import { paint } from "./highlight.js";
import markdownIt from "./vendor/markdown-it.js";

const MAX_DEPTH = 30; // of nesting: more would exhaust the stack
const MAX_COLUMNS = 200;
const TASK = /^\[([ xX])\]\s+/;
const BREAK = /<br ?\/?>/i;
const TAGS = {
  blockquote: "blockquote",
  bullet_list: "ul",
  ordered_list: "ol",
  list_item: "li",
  paragraph: "p",
  strong: "strong",
  em: "em",
  s: "del",
  table: "table",
  thead: "thead",
  tbody: "tbody",
  tr: "tr",
};

/** @type {any} */
const parser = markdownIt({ breaks: true, linkify: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
for (const scheme of ["ftp:", "mailto:", "//"]) parser.linkify.add(scheme, null);
parser.validateLink = (address) => safeAddress(address) !== null;
// the parser would drop the text below its own limit of nesting
for (const name of ["blockquote", "list"]) restrict(name, (state) => state.level < MAX_DEPTH);
// it fills up short rows: each would cost as much as a head of thousands of columns
restrict("table", (state, line) => state.src.slice(state.bMarks[line], state.eMarks[line]).split("|").length <= MAX_COLUMNS);

/** Lets a rule of the parser read only what `allows` it. */
function restrict(name, allows) {
  const { ruler } = parser.block;
  const { fn, alt } = ruler.__rules__.find((each) => each.name === name);
  ruler.at(name, (state, line, ...rest) => allows(state, line) && fn(state, line, ...rest), { alt });
}

/** Returns a document fragment that shows `source`. */
export function render(source) {
  const fragment = document.createDocumentFragment();
  build(fragment, parser.parse(source, {}), block);
  return fragment;
}

/** Returns an element; children may be lists, because the number of arguments is limited. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  for (const child of children.flat()) node.append(child);
  return node;
}

/** Appends what tokens stand for to `root`; `leaf` returns the nodes of a token without children. */
function build(root, tokens, leaf) {
  const open = [root];
  for (const token of tokens) {
    if (token.nesting < 0) {
      open.pop();
      continue;
    }
    const parent = open.at(-1);
    if (token.nesting === 0) {
      for (const node of leaf(token, parent)) parent.append(node);
      continue;
    }
    const { outer, inner } = container(token);
    if (outer !== inner || outer !== null) parent.append(outer);
    open.push(inner ?? parent);
  }
}

/** Returns the element of an opening token, and the one that takes its children. */
function container(token) {
  const kind = token.type.slice(0, -"_open".length);
  if (token.hidden) return { outer: null, inner: null }; // the paragraph of a tight list
  if (kind === "heading") return single(element(`h${Math.min(Number(token.tag[1]) + 2, 6)}`)); // the page has h1 and h2
  if (kind === "link") return single(anchor(safeAddress(token.attrGet("href")) ?? "", []));
  if (kind === "th" || kind === "td") return single(cell(kind, token));
  if (kind === "table") {
    const inner = element("table");
    return { outer: element("div", { class: "table", tabindex: "0" }, inner), inner };
  }
  const node = element(TAGS[kind] ?? "span");
  const start = kind === "ordered_list" ? token.attrGet("start") : null;
  if (start !== null) node.setAttribute("start", String(start));
  return single(node);
}

const single = (node) => ({ outer: node, inner: node });

function cell(kind, token) {
  const side = { "text-align:right": "end", "text-align:center": "center" }[token.attrGet("style")] ?? "start";
  return element(kind, { class: side });
}

function block(token, parent) {
  if (token.type === "fence" || token.type === "code_block") {
    return [codeBlock(token.content.replace(/\n$/, ""), token.info.trim().split(/\s/)[0])];
  }
  if (token.type === "hr") return [element("hr")];
  if (token.type !== "inline") return token.content ? [token.content] : [];
  if (["TH", "TD"].includes(parent.tagName)) return verbatim(token.content);
  const line = document.createDocumentFragment();
  build(line, token.children, inline);
  const task = parent.tagName === "LI" || parent.tagName === "P" ? TASK.exec(token.content) : null;
  const [first, ...rest] = [...line.childNodes];
  if (!task || typeof text(first) !== "string") return [...line.childNodes];
  return [(task[1] === " " ? "☐ " : "☑ ") + text(first).slice(task[0].length), ...rest];
}

const text = (node) => (typeof node === "string" ? node : node?.nodeType === 3 ? node.data : null);

function inline(token) {
  if (token.type === "softbreak" || token.type === "hardbreak") return [element("br")];
  if (token.type === "code_inline") return [element("code", {}, token.content)];
  if (token.type === "image") return [picture(token)];
  return token.content ? [token.content] : [];
}

/** Returns a link: nothing is loaded from elsewhere. */
function picture(token) {
  const address = safeAddress(token.attrGet("src"));
  const words = token.content || token.attrGet("src");
  return address ? anchor(address, words) : words;
}

/** Returns a cell's text as it is, because values are data: only URLs become links, and <br> breaks the line. */
const verbatim = (content) =>
  content.split(BREAK).flatMap((line, index) => [...(index ? [element("br")] : []), ...withAddresses(line)]);

function withAddresses(line) {
  const nodes = [];
  let at = 0;
  for (const { index, lastIndex, url } of parser.linkify.match(line) ?? []) {
    const address = safeAddress(url);
    if (!address) continue;
    nodes.push(line.slice(at, index), anchor(address, line.slice(index, lastIndex)));
    at = lastIndex;
  }
  return [...nodes, line.slice(at)].filter((node) => node !== "");
}

function safeAddress(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null; // not a URL
  }
}

const anchor = (address, children) =>
  element("a", { href: address, title: address, target: "_blank", rel: "noopener noreferrer" }, children);

function codeBlock(code, language) {
  const copy = element("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => copyText(code, copy));
  const shown = element("code", {}, code);
  paint(shown, code, language);
  return element(
    "figure",
    { class: "code", dir: "ltr" },
    element("figcaption", {}, element("span", {}, language || "text"), copy),
    element("pre", { tabindex: "0" }, shown),
  );
}

/** Copies `text` and shows the outcome on `button`. */
export async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying is not allowed here"; // browsers offer the clipboard on https and localhost only
  }
  setTimeout(() => (button.textContent = label), 1600);
}
