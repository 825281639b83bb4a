// Runs the page's conversation against answers of a bot that are given here, and prints what the page has then as JSON.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const stored = new Map();
globalThis.localStorage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, value) => stored.set(name, value),
  removeItem: (name) => stored.delete(name),
};
globalThis.document = { createElement: () => ({}), createDocumentFragment: () => ({}) };
const wait = globalThis.setTimeout;
globalThis.setTimeout = (act) => wait(act, 0); // pauses between two attempts

const [, , script] = process.argv;
const { requests, steps } = JSON.parse(readFileSync(0, "utf8"));
const sent = [];

/** Each request gets the next answer: null is a lost connection, else {status, body, events, etag}. */
globalThis.fetch = async (path, { method = "GET", headers = {}, body } = {}) => {
  sent.push({ method, path, key: headers["Idempotency-Key"], body: body && JSON.parse(body) });
  const answer = requests.shift();
  if (!answer) throw new TypeError("lost");
  const text = answer.events
    ? answer.events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join("")
    : JSON.stringify(answer.body ?? {});
  return new Response(answer.status === 304 ? null : text, { status: answer.status ?? 200, headers: { ETag: answer.etag ?? "" } });
};

const { Conversation } = await import(pathToFileURL(script));
const nothing = () => {};
const conversation = new Conversation("t", { changed: nothing, ended: nothing, locked: nothing });
for (const [name, ...given] of steps) {
  if (name === "retry") conversation.retry(conversation.messages.at(-1));
  else await conversation[name](...given);
  while (conversation.jobs.size) await new Promise((resolve) => wait(resolve, 1));
}
const messages = conversation.messages.map(({ role, text, state, error, parts }) => ({ role, text, state, error, parts }));
console.log(JSON.stringify({ messages, sent, outbox: JSON.parse(stored.get("agent.outbox") ?? "[]").length }));
