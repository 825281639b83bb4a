// Requests to the bot: fetch, the token, and server-sent events.

import { createParser } from "./vendor/eventsource-parser.js";

const TOKEN = "agent.token";

export const token = {
  get: () => localStorage.getItem(TOKEN),
  set: (value) => localStorage.setItem(TOKEN, value),
  forget: () => localStorage.removeItem(TOKEN),
};

/** Refusal by the bot, with a sentence; `status` is the HTTP status, `final` is true if retrying cannot help. */
export class Refused extends Error {
  constructor(status, message, final = false) {
    super(message);
    this.status = status;
    this.final = final;
  }

  /** True if the same message may still get its answer, so that it must not be sent as a new one. */
  get unanswered() {
    return !this.final && [401, 503, 504].includes(this.status);
  }
}

/** The bot could not be reached, or the connection was lost. */
export class Lost extends Error {}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${encodeLatin(token.get())}`;
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    throw new Lost("The bot cannot be reached. Please try again.", { cause: error });
  }
}

// browsers encode header values as Latin-1: UTF-8 bytes written as Latin-1 arrive as UTF-8
const encodeLatin = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** Returns the body of /health. Throws `Refused` (401) or `Lost`. */
export async function health() {
  const response = await call("/health");
  const body = await response.json().catch(() => ({}));
  if (!body.agent_status) throw new Refused(response.status, body.message ?? "The bot did not report its health.");
  return body;
}

/** Returns the body of /welcome. Throws `Refused` (401) or `Lost`. */
export async function welcome() {
  const response = await call("/welcome");
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Returns the content of a file of an answer. Throws `Refused` (404: it has expired) or `Lost`. */
export async function fileContent(url) {
  const response = await call(url);
  if (!response.ok) throw await refusal(response);
  return response.blob();
}

/** Returns JSON of the bot, or null if it is as it was at the `etag`. Throws `Refused` or `Lost`. */
async function read(path, etag = "") {
  const response = await call(path, { headers: etag ? { "If-None-Match": etag } : {} });
  if (response.status === 304) return null;
  if (!response.ok) throw await refusal(response);
  return { ...(await response.json()), etag: response.headers.get("ETag") ?? "" };
}

async function change(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await call(path, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw await refusal(response);
}

const threadPath = (id) => `/threads/${encodeURIComponent(id)}`;

/** Conversations on the server; `find` and `list` return null if nothing has changed since `etag`. */
export const threads = {
  list: (words, before, etag) => read(`/threads?q=${encodeURIComponent(words)}${before ? `&before=${before}` : ""}`, etag),
  find: (id, etag) => read(threadPath(id), etag),
  rename: (id, title) => change("PATCH", threadPath(id), { title }),
  remove: (id) => change("DELETE", threadPath(id), {}),
  restore: (id) => change("POST", `${threadPath(id)}/restore`, {}),
};

/** What the bot remembers of the caller, and how much was used. */
export const memory = {
  facts: (first) => read(`/memory/facts?first=${first}`),
  correct: (id, text) => change("PATCH", `/memory/facts/${encodeURIComponent(id)}`, { text }),
  forget: (id) => change("DELETE", `/memory/facts/${encodeURIComponent(id)}`, {}),
  forgetAll: () => change("DELETE", "/memory?confirm=everything", {}),
  usage: async () => (await read("/usage")).response,
};

/** Stops the running answer of a thread, and drops what waits behind it. */
export const stop = (id) => change("POST", "/chat", { message: "!stop", thread_id: id });

/** Yields the events of the answer that is being given in a thread, as `ask` does. Throws `Refused` (404: none). */
export async function* follow(id) {
  yield* events(`${threadPath(id)}/answer`, { headers: { Accept: "text/event-stream" } });
}

/** Asks the last question of a thread in other words, and yields the events of the answer, as `ask` does. */
export async function* edit({ thread, message, at }) {
  yield* answer(`${threadPath(thread)}/edit`, {}, { message, edited_at: at });
}

/** Yields `{name, data}` for each event of the answer. The same `key` follows the same answer again. */
export async function* ask({ message, thread, key, files }) {
  yield* answer("/chat", { "Idempotency-Key": key }, { message, thread_id: thread, files });
}

async function* answer(path, headers, body) {
  yield* events(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...headers },
    body: JSON.stringify(body),
  });
}

async function* events(path, options) {
  const response = await call(path, options);
  if (!response.ok) throw await refusal(response);
  for await (const event of frames(response.body)) {
    if (event.name === "error") throw new Refused(event.data.code, event.data.message, event.data.final);
    yield event;
    if (event.name === "done") return;
  }
  throw new Lost("The connection was lost before the answer was complete.");
}

/** Decides an approval request and yields the events of the answer, as `ask` does. Repeating it changes nothing. */
export async function* decide({ request, approve }) {
  yield* answer(`/approvals/${request}`, {}, { approve });
}

/** Orders another answer in place of the one with this id, and yields its events, as `ask` does. */
export async function* regenerate(id) {
  yield* answer(`/answers/${id}/regenerate`, {}, {});
}

/** Stores a vote, "up" or "down", with a reason. Repeating it changes nothing. Throws `Refused` or `Lost`. */
export async function vote(id, vote, reason = "") {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ vote, reason });
  const response = await call(`/answers/${id}/vote`, { method: "POST", headers, body });
  if (!response.ok) throw await refusal(response);
  return true;
}

/** Returns the details of an answer as Markdown. Throws `Refused` or `Lost`. */
export async function details(id) {
  const response = await call(`/answers/${id}`);
  if (!response.ok) throw await refusal(response);
  return (await response.json()).response;
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new Refused(response.status, body.message ?? `The bot answered with status ${response.status}.`);
}

async function* frames(stream) {
  const found = [];
  const parser = createParser({ onEvent: ({ event, data }) => found.push({ name: event ?? "", data: JSON.parse(data) }) });
  for await (const piece of texts(stream)) {
    parser.feed(piece);
    yield* found.splice(0);
  }
}

async function* texts(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw new Lost("The connection was lost before the answer was complete.", { cause: error });
  } finally {
    reader.cancel().catch(() => {}); // it may have broken already
  }
}
