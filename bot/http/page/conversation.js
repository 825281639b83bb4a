// One conversation: its messages as the server has them, and the answers that this page receives.
//
// A message is {role: "user", id, text, files: [{name}]} or {role: "agent", parts, state: "pending" | "done" |
// "failed", error, isQueued, waiting, job}. Parts have the type and the data of the events of POST /chat. A
// finished answer has {buttons: {answer: id, can_be_rated}}.

import { sendable } from "./files.js";
import * as outbox from "./outbox.js";
import { Lost, Refused, ask, decide, edit, follow, regenerate, stop, threads } from "./stream.js";
import { answerText } from "./view.js";

const REQUESTS = ["approval", "question"];
const REJOIN_MS = [500, 2_000, 5_000, 15_000]; // then every 15 seconds, however long the bot is away
const STATES = { running: "pending", failed: "failed" };

/** Returns an unguessable id; crypto.randomUUID exists on https and localhost only. */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Conversation; `changed` is called after each change, `ended` with each answer that has ended here. */
export class Conversation {
  constructor(id, { changed, ended, locked }) {
    this.id = id;
    this.title = "";
    this.messages = [];
    this.isRunning = false; // on the server
    this.isMissing = false;
    this.jobs = new Set();
    this.etag = "";
    this.on = { changed, ended, locked };
  }

  get isBusy() {
    return this.isRunning || this.jobs.size > 0;
  }

  /** Loads what the server has, unless an answer is being received here; follows one that runs there. */
  async load() {
    if (this.jobs.size) return;
    const found = await this.#found();
    if (this.jobs.size || !found) return;
    this.etag = found.etag;
    this.title = found.title;
    this.isRunning = found.is_running;
    this.messages = found.messages.map((each) => ({ ...shown(each), job: null }));
    const next = this.messages.find((each) => each.state === "pending");
    if (next) this.#begin({ answer: next, open: () => follow(this.id), isOwn: false });
    this.on.changed(this);
  }

  async #found() {
    try {
      const found = await threads.find(this.id, this.etag);
      this.isMissing = false;
      return found;
    } catch (error) {
      this.isMissing = error instanceof Refused && error.status === 404;
      if (!this.isMissing) throw error;
      this.isRunning = false;
      return null;
    }
  }

  /** Sends a message; while an answer runs, it waits for its turn. */
  send(text, files = [], key = freshId()) {
    const message = { role: "user", text, files: files.map(({ name }) => ({ name })) };
    const answer = { role: "agent", parts: [], state: "pending", isQueued: this.isBusy };
    this.title ||= (text || message.files[0]?.name || "").split("\n")[0].slice(0, 80);
    this.messages.push(message, answer);
    if (!files.length) outbox.add({ thread: this.id, key, text });
    const open = async function* (thread) {
      yield* ask({ message: text, thread, key, files: await Promise.all(files.map(sendable)) });
    };
    this.#begin({ answer, open: () => open(this.id), isOwn: true, key });
  }

  /** Asks the last question again in other words. */
  reword(text) {
    const last = this.messages.findLastIndex((each) => each.role === "user");
    this.messages.splice(last + 1);
    this.messages[last] = { ...this.messages[last], text };
    const answer = { role: "agent", parts: [], state: "pending" };
    this.messages.push(answer);
    const at = Date.now() / 1_000; // a repeated request is the same edit
    this.#begin({ answer, open: () => edit({ thread: this.id, message: text, at }), isOwn: true });
  }

  /** Asks for another answer in place of the last one. */
  again(id) {
    const answer = this.messages.at(-1);
    Object.assign(answer, { parts: [], state: "pending", buttons: null });
    this.#begin({ answer, open: () => regenerate(id), isOwn: true });
  }

  /** Decides an approval request. */
  settle(request, approve) {
    const answer = { role: "agent", parts: [], state: "pending" };
    this.messages.push(answer);
    this.#begin({ answer, open: () => decide({ request, approve }), isOwn: true });
  }

  /** Tries a failed answer again: the same request if it may still be answered, else a new one. */
  retry(answer) {
    if (answer.state !== "failed") return;
    if (answer.job) return this.#begin({ ...answer.job, key: answer.job.key });
    const question = this.messages[this.messages.indexOf(answer) - 1];
    if (answer.buttons?.answer && answer === this.messages.at(-1)) return this.again(answer.buttons.answer);
    if (question?.role === "user") this.send(question.text);
  }

  async stop() {
    await stop(this.id);
  }

  async #begin(job) {
    const { answer, key } = job;
    this.jobs.add(job);
    Object.assign(answer, { state: "pending", error: undefined, job: null });
    this.on.changed(this);
    try {
      await this.#receive(job);
      answer.state = "done";
      if (key) outbox.remove(key);
    } catch (error) {
      this.#fail(job, error);
    } finally {
      Object.assign(answer, { waiting: undefined, isQueued: false });
      this.jobs.delete(job);
      this.on.changed(this);
      this.on.ended(this, answer);
    }
    if (answer.state === "done") await this.load().catch(() => {}); // the next look tries again
  }

  /** Receives an answer to its end, also over restarts of the bot. */
  async #receive(job) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#take(job);
      } catch (error) {
        const isPassing = error instanceof Lost || (error instanceof Refused && error.unanswered && error.status !== 401);
        if (!isPassing) throw error;
        job.answer.waiting = "Connection lost, reconnecting";
        this.on.changed(this);
        await pause(REJOIN_MS[Math.min(attempt, REJOIN_MS.length - 1)]);
      }
    }
  }

  async #take({ answer, open }) {
    let parts = []; // a repeated request streams the answer from its beginning
    for await (const { name, data } of open()) {
      if (name === "buttons") {
        answer.buttons = data;
        continue;
      }
      if (REQUESTS.includes(name) && data.state !== "asked") this.#showDecision(data);
      if (name !== "done") parts = withPart(parts, name, data);
      else parts = complete(parts, data);
      Object.assign(answer, { parts, waiting: undefined, isQueued: false });
      this.on.changed(this);
    }
  }

  #fail(job, error) {
    const { answer, isOwn, key } = job;
    const isKnown = error instanceof Refused || error instanceof Lost;
    if (!isKnown) console.error(error);
    if (!isOwn && error instanceof Refused && error.status === 404) {
      answer.state = "done"; // it has ended meanwhile: the server has it
      return;
    }
    if (key && error instanceof Refused && !error.unanswered) outbox.remove(key);
    const message = isKnown ? error.message : "Something went wrong on this page. Please reload it.";
    const mayCome = error instanceof Lost || (error instanceof Refused && error.unanswered);
    Object.assign(answer, { state: "failed", error: message, job: mayCome ? job : null });
    if (error instanceof Refused && error.status === 401) this.on.locked(() => this.retry(answer));
  }

  /** Shows the decision of an earlier request, or the answer to a question, and removes its buttons. */
  #showDecision(decided) {
    for (const message of this.messages) {
      const asked = message.parts?.find((part) => REQUESTS.includes(part.type) && part.id === decided.id);
      if (asked) Object.assign(asked, { state: decided.state, text: decided.text });
    }
  }
}

/** Returns a message of the server as the page shows it. */
function shown(message) {
  if (message.role === "user") return message;
  const { answer, can_be_rated, parts, error } = message;
  const buttons = answer ? { answer, can_be_rated } : null;
  return { role: "agent", parts, error, buttons, state: STATES[message.state] ?? "done" };
}

/** Returns the parts of a complete answer; what the stream did not show comes from its last event. */
function complete(parts, { response, files = [] }) {
  const steps = parts.filter((part) => part.type === "tool");
  const all = answerText({ parts }) === response.trim() ? parts : [...steps, { type: "text", text: response }];
  const known = new Set(all.map((part) => part.type === "file" && part.id));
  return [...all, ...files.filter((file) => !known.has(file.id)).map((file) => ({ type: "file", ...file }))];
}

function withPart(parts, type, data) {
  const last = parts.at(-1);
  if (type === "text" && last?.type === "text") return [...parts.slice(0, -1), { type, text: last.text + data.text }];
  const known = parts.findIndex((part) => type === "tool" && part.type === "tool" && part.id === data.id);
  return known < 0 ? [...parts, { type, ...data }] : parts.with(known, { type, ...data });
}
