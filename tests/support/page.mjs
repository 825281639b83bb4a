// Renders Markdown as the page does, in a document that is only a tree, and prints what comes of each source as
// JSON. With --growth it prints instead how many times the CPU time grows when a source of half the length doubles.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Node {
  constructor(name) {
    this.tagName = name.toUpperCase();
    this.attributes = {};
    this.childNodes = [];
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  append(...nodes) {
    this.childNodes.push(...nodes);
  }
  addEventListener() {}
  get text() {
    if (this.tagName === "BR") return "\n";
    return this.childNodes.map((node) => (node instanceof Node ? node.text : node)).join("");
  }
  get tags() {
    return this.childNodes.flatMap((node) => (node instanceof Node ? [node.tagName.toLowerCase(), ...node.tags] : []));
  }
}

globalThis.document = { createElement: (name) => new Node(name), createDocumentFragment: () => new Node("") };

const [, , script, mode] = process.argv;
const { render } = await import(pathToFileURL(script));
const given = JSON.parse(readFileSync(0, "utf8"));

const LENGTH = 40_000;
const FLOOR_US = 150_000; // less is no longer measured

function cost(source) {
  const before = process.cpuUsage();
  render(source);
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function growth([head, unit, tail]) {
  const sized = (length) => head + unit.repeat(Math.max(length - head.length, 0) / unit.length) + tail;
  if (cost(sized(LENGTH)) < FLOOR_US) return 0;
  let [long, short] = [Infinity, Infinity];
  for (let repeat = 0; repeat < 5; repeat += 1) {
    long = Math.min(long, cost(sized(LENGTH)));
    short = Math.min(short, cost(sized(LENGTH / 2)));
  }
  return long / short;
}

function shown(source) {
  const node = render(source);
  return { text: node.text, tags: node.tags };
}

console.log(JSON.stringify(given.map(mode === "--growth" ? growth : shown)));
