// Takes the tour of a welcome from the standard input, as the page does, in a document that is only a tree, and
// prints as JSON what is shown at first, what is asked, and what is shown in the end.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

class Node {
  constructor(name) {
    Object.assign(this, { name, childNodes: [], attributes: {}, listeners: [] });
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  append(...nodes) {
    this.childNodes.push(...nodes);
  }
  replaceChildren(...nodes) {
    this.childNodes = nodes;
  }
  addEventListener(_, listener) {
    this.listeners.push(listener);
  }
  get text() {
    return this.childNodes.map((node) => (node instanceof Node ? node.text : node)).join("");
  }
  get buttons() {
    const inner = this.childNodes.flatMap((node) => (node instanceof Node ? node.buttons : []));
    return this.name === "button" ? [this] : inner;
  }
}

const stored = {};
const kept = { getItem: (name) => stored[name] ?? null, setItem: (name, value) => (stored[name] = value) };
Object.defineProperty(globalThis, "localStorage", { value: kept });
globalThis.document = { createElement: (name) => new Node(name), createDocumentFragment: () => new Node("") };
const welcome = JSON.parse(readFileSync(0, "utf8"));
globalThis.fetch = async () => ({ ok: true, json: async () => welcome });

const { Tour } = await import(pathToFileURL(process.argv[2]));
const place = new Node("div");
const asked = [];
const tour = new Tour(place, (text, files) => asked.push([text, files.map((file) => file.name)]));
await tour.load();
const first = place.text;
const [begun, ended] = [
  { isEmpty: true, isRunning: false },
  { isEmpty: false, isRunning: false },
];
place.buttons[0].listeners[0]();
tour.show({ isEmpty: false, isRunning: true });
const running = place.text;
tour.show(ended);
const next = place.text;
while (place.buttons.length) {
  place.buttons[0].listeners[0]();
  tour.show(ended);
}
const last = place.text;
tour.show(begun);
console.log(JSON.stringify({ first, asked, running, next, last, again: place.text }));
