// Markdown to DOM nodes. The text is not trusted: it only becomes text nodes within elements created here.

/** Returns a document fragment that shows `source`. */
export function render(source) {
  const fragment = document.createDocumentFragment();
  for (const node of blocks(source.replace(/\r\n?/g, "\n").split("\n"))) fragment.append(node);
  return fragment;
}

/** Returns an element; children may be lists, because the number of arguments is limited. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  for (const child of children.flat()) node.append(child);
  return node;
}

// --- blocks ---------------------------------------------------------------------------------------------

const MAX_DEPTH = 30; // of nesting: more would exhaust the stack
const FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)(.*)$/s;
const DASHES = /^:?-+:?$/;

function blocks(lines, depth = 0) {
  if (depth > MAX_DEPTH) return [element("p", {}, lines.join("\n"))];
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else [nodes[nodes.length], at] = block(lines, at, depth);
  }
  return nodes;
}

function block(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return fenced(lines, at);
  if (HEADING.test(line)) return [heading(line), at + 1];
  if (RULE.test(line)) return [element("hr"), at + 1];
  if (QUOTE.test(line)) return quote(lines, at, depth);
  if (ITEM.test(line)) return list(lines, at, depth);
  if (startsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at);
}

function fenced(lines, at) {
  const [, fence, info] = FENCE.exec(lines[at]);
  let end = at + 1;
  while (end < lines.length && !closesFence(lines[end], fence)) end += 1;
  return [codeBlock(lines.slice(at + 1, end).join("\n"), info.trim().split(/\s/)[0]), end + 1];
}

function closesFence(line, fence) {
  const marks = line.trim();
  const indent = line.length - line.trimStart().length;
  return indent <= 3 && marks.length >= fence.length && marks.replaceAll(fence[0], "") === "";
}

function codeBlock(code, language) {
  const copy = element("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => copyText(code, copy));
  return element(
    "figure",
    { class: "code" },
    element("figcaption", {}, element("span", {}, language || "text"), copy),
    element("pre", { tabindex: "0" }, element("code", {}, code)),
  );
}

function heading(line) {
  const [lead, marks] = HEADING.exec(line);
  const title = withoutClosing(line.slice(lead.length).trim());
  return element(`h${Math.min(marks.length + 2, 6)}`, {}, inline(title)); // the page has h1 and h2
}

/** Removes the marks that close a heading, which follow a blank: the language C# keeps its own. */
function withoutClosing(title) {
  let end = title.length;
  while (title[end - 1] === "#") end -= 1;
  return end === 0 || /\s/.test(title[end - 1]) ? title.slice(0, end).trimEnd() : title;
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [element("blockquote", {}, blocks(inner, depth + 1)), end];
}

function list(lines, at, depth) {
  const [, indent, marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const node = element(ordered ? "ol" : "ul");
  if (ordered && parseInt(marker, 10) !== 1) node.setAttribute("start", String(parseInt(marker, 10)));
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (!match || match[1].length > indent.length + 1 || RULE.test(lines[at])) break;
    if (match[1].length < indent.length || /\d/.test(match[2]) !== ordered) break;
    const end = itemEnd(lines, at, match);
    const rest = lines.slice(at + 1, end).map((line) => outdent(line, width(match)));
    node.append(item([match[4], ...rest], depth));
    at = end;
    const next = skipBlank(lines, at);
    if (next < lines.length && ITEM.test(lines[next])) at = next;
  }
  return [node, at];
}

const width = (match) => match[1].length + match[2].length + Math.min(Math.max(match[3].length, 1), 4);
const outdent = (line, by) => line.slice(Math.min(by, line.length - line.trimStart().length));

function itemEnd(lines, at, match) {
  const inner = match[1].length + 2; // forgiving: models indent by two under any marker
  let end = at + 1;
  while (end < lines.length) {
    const next = skipBlank(lines, end);
    if (next === lines.length) break;
    const depth = lines[next].length - lines[next].trimStart().length;
    const lazy = next === end && depth < inner && !startsBlock(lines, end);
    if (depth < inner && !lazy) break;
    end = next + 1;
  }
  return end;
}

function item(lines, depth) {
  const task = /^\[([ xX])\]\s+/.exec(lines[0]);
  if (task) lines[0] = (task[1] === " " ? "☐ " : "☑ ") + lines[0].slice(task[0].length);
  const nodes = blocks(lines, depth + 1);
  const [first, ...rest] = nodes; // a paragraph alone in its item needs no margins of its own
  return first?.tagName === "P" ? element("li", {}, [...first.childNodes], rest) : element("li", {}, nodes);
}

function skipBlank(lines, at) {
  while (at < lines.length && !lines[at].trim()) at += 1;
  return at;
}

const startsTable = (lines, at) =>
  lines[at].includes("|") && isDivider(lines[at + 1] ?? "") && cells(lines[at]).length === cells(lines[at + 1]).length;

const isDivider = (line) => line.includes("-") && /^ {0,3}\S/.test(line) && cells(line).every((text) => DASHES.test(text));

function table(lines, at) {
  const sides = cells(lines[at + 1]).map(side);
  const row = (line, name) => element("tr", {}, cells(line).map((text, index) => cell(name, text, sides[index] ?? "start")));
  const head = element("thead", {}, row(lines[at], "th"));
  const body = element("tbody");
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) body.append(row(lines[at], "td"));
  return [element("div", { class: "table", tabindex: "0" }, element("table", {}, head, body)), at];
}

const side = (dashes) => (!dashes.endsWith(":") ? "start" : dashes.startsWith(":") ? "center" : "end");
const cell = (name, text, which) => element(name, { class: which }, verbatim(text));

/** Returns a cell's text as it is, because values are data: only URLs become links, and <br> breaks the line. */
const verbatim = (text) =>
  text.split(/<br ?\/?>/i).flatMap((line, index) => [...(index ? [element("br")] : []), ...withAddresses(line)]);

function withAddresses(text) {
  const nodes = [];
  let at = 0;
  for (const { index } of text.matchAll(/https?:\/\//g)) {
    const found = index < at ? null : bareLink(text, index);
    if (!found) continue;
    nodes.push(text.slice(at, index), found.node);
    at = found.end;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}

const cells = (line) =>
  line
    .trim()
    .replace(/^\|/, "")
    .replace(/(^|[^\\])\|$/, "$1")
    .split(/(?<!\\)\|/)
    .map((text) => text.trim().replaceAll("\\|", "|"));

const startsBlock = (lines, at) =>
  [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(lines[at])) || startsTable(lines, at);

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines, end)) end += 1;
  return [element("p", {}, inline(lines.slice(at, end).map((line) => line.trim()).join("\n"))), end];
}

// --- inline ---------------------------------------------------------------------------------------------

const WORD = /[\p{L}\p{N}_]/u;
const WRAPPERS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "del"],
  ["*", "em"],
  ["_", "em"],
];

function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const marks = { unclosed: new Map(), ticks: tickRuns(text) };
  const nodes = [];
  let plain = "";
  let at = 0;
  while (at < text.length) {
    const found = span(text, at, marks, depth);
    if (found) {
      nodes.push(plain, found.node);
      plain = "";
      at = found.end;
    } else {
      if (text[at] === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) at += 1;
      plain += text[at];
      at += 1;
    }
  }
  nodes.push(plain);
  return nodes.filter((node) => node !== "");
}

function span(text, at, marks, depth) {
  switch (text[at]) {
    case "\n":
      return { node: element("br"), end: at + 1 };
    case "`":
      return codeSpan(text, at, marks);
    case "!":
      return text[at + 1] === "[" ? link(text, at + 1) : null; // an image becomes a link: nothing is loaded
    case "[":
      return link(text, at);
    case "h":
    case "<":
      return bareLink(text, at);
    case "*":
    case "_":
    case "~":
      return wrapped(text, at, marks, depth);
    default:
      return null;
  }
}

function codeSpan(text, at, marks) {
  const [ticks] = run(/`+/y, text, at);
  const end = closingTicks(at + ticks.length, ticks.length, marks);
  if (end < 0) return { node: ticks, end: at + ticks.length };
  const code = text.slice(at + ticks.length, end).replaceAll("\n", " ");
  const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
  return { node: element("code", {}, isPadded ? code.slice(1, -1) : code), end: end + ticks.length };
}

/** Returns the starts of backtick runs by their length, searched once and not at each opening. */
function tickRuns(text) {
  const runs = new Map();
  for (const { 0: ticks, index } of text.matchAll(/`+/g)) {
    if (runs.has(ticks.length)) runs.get(ticks.length).push(index);
    else runs.set(ticks.length, [index]);
  }
  return runs;
}

/** Returns the first run of this length from `from` on (binary search), or -1. */
function closingTicks(from, length, { ticks }) {
  const starts = ticks.get(length) ?? [];
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] < from) low = middle + 1;
    else high = middle;
  }
  return starts[low] ?? -1;
}

/** Matches a sticky pattern at one position. */
function run(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function wrapped(text, at, marks, depth) {
  const { unclosed } = marks; // mark -> position from which nothing closes it any more
  for (const [mark, name] of WRAPPERS) {
    if (unclosed.get(mark) <= at || !text.startsWith(mark, at) || !opens(text, at, mark)) continue;
    const start = at + mark.length;
    const end = closing(text, start, mark, marks);
    if (end < 0) unclosed.set(mark, at);
    else return { node: element(name, {}, inline(text.slice(start, end), depth + 1)), end: end + mark.length };
  }
  const [signs] = run(/\*+|_+|~+/y, text, at);
  return { node: signs, end: at + signs.length };
}

const opens = (text, at, mark) =>
  /\S/.test(text[at + mark.length] ?? "") && !(mark[0] === "_" && WORD.test(text[at - 1] ?? ""));

function closing(text, from, mark, marks) {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "`") at = afterTicks(text, at, marks) - 1;
    else if (text.startsWith(mark, at) && at > from && closes(text, at, mark)) return at;
    else if (mark.length === 1 && text[at] === mark && text[at + 1] === mark) at += 1; // bold inside italics
  }
  return -1;
}

function afterTicks(text, at, marks) {
  const [ticks] = run(/`+/y, text, at);
  const end = closingTicks(at + ticks.length, ticks.length, marks);
  return (end < 0 ? at : end) + ticks.length;
}

function closes(text, at, mark) {
  if (/\s/.test(text[at - 1])) return false;
  if (mark[0] === "_" && WORD.test(text[at + mark.length] ?? "")) return false;
  if (mark.length === 1) return text[at + 1] !== mark;
  return text[at + 2] !== mark[0] || text[at + 3] === mark[0]; // ***: the inner, single one closes first
}

const LINK = /\[((?:\\.|[^[\]\\]|\[[^[\]]*\])*)\]\(\s*<?((?:[^\s()<>]|\([^\s()]*\))+)>?(?:\s+["'][^"']*["'])?\s*\)/y;

function link(text, at) {
  const match = run(LINK, text, at);
  const address = match && safeAddress(match[2]);
  if (!address) return null;
  return { node: anchor(address, inline(match[1] || match[2])), end: at + match[0].length };
}

const ADDRESS = /<(https?:\/\/[^\s<>]+)>|(https?:\/\/[^\s<>"`|\\]+)/y;

function bareLink(text, at) {
  if (text[at] === "h" && WORD.test(text[at - 1] ?? "")) return null;
  const match = run(ADDRESS, text, at);
  if (!match) return null;
  const shown = match[1] ?? withoutTail(match[2]);
  const address = safeAddress(shown);
  const end = at + (match[1] ? match[0].length : shown.length);
  // an invalid URL is text as a whole: else each URL within it would be scanned to its end again
  return address ? { node: anchor(address, shown), end } : { node: text.slice(at, end), end };
}

/** Removes trailing punctuation, and a closing bracket that was opened before the URL. */
function withoutTail(address) {
  const tail = address.includes("(") ? ".,;:!?'*_~" : ".,;:!?'*_~)";
  let end = address.length;
  while (tail.includes(address[end - 1])) end -= 1;
  return address.slice(0, end);
}

function safeAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null; // not a URL
  }
}

const anchor = (address, children) =>
  element("a", { href: address, title: address, target: "_blank", rel: "noopener noreferrer" }, children);

// --- copying --------------------------------------------------------------------------------------------

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
