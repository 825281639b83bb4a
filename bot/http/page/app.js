// The page: conversations, sending messages, and following the answers.
//
// A thread is {id, title, updated, messages}; a message is {role: "user", text, files: [name]} or
// {role: "agent", key, parts, state: "pending" | "done" | "failed", error, again}. Parts are {type: "text" |
// "notice", text}, {type: "tool", id, name, state, title, activity, output, rows, seconds}, {type: "approval", id, text, state}, {type:
// "question", id, text, options, state}, {type: "table", id, title, columns, rows, caption, file, text} and {type:
// "file", id, name, media_type, size, alt, url}. The answer to a decision has {decides: {request, approve}},
// one in place of another {regenerates: id}. A finished answer has {buttons: {answer: id, can_be_rated}} and its {vote}.
// localStorage keeps all of it.

import { readableSize, sendable } from "./files.js";
import { refresh, watch } from "./health.js";
import { element } from "./markdown.js";
import { Lost, Refused, ask, decide, regenerate, token } from "./stream.js";
import * as threads from "./threads.js";
import { Tour } from "./tour.js";
import { AnswerView, answerText, question } from "./view.js";

const REQUESTS = ["approval", "question"];
const REJOIN_AFTER_MS = [500, 2_000, 5_000];

const find = (id) => document.getElementById(id);
const [scroll, messages, input, send, latest] = ["scroll", "messages", "question", "send", "latest"].map(find);

const tour = new Tour(find("tour"), (text, files) => {
  picked.push(...files);
  submit(text);
  input.focus(); // its button is gone
});
const picked = []; // files for the next message
const sending = new Map(); // answer key -> files of a message that may have to be sent again
const running = new Map(); // thread id -> thread whose answer is running
const locked = new Set(); // callbacks for when there is a token
let thread = threads.freshThread();
let view = null; // of the last answer of the visible thread

// --- answering ------------------------------------------------------------------------------------------

function submit(text) {
  if (!text.trim() || running.has(thread.id)) return;
  thread.title ||= text.trim().split("\n")[0].slice(0, 80);
  const answer = { role: "agent", key: threads.freshId(), parts: [], state: "pending" };
  const files = picked.splice(0);
  if (files.length) sending.set(answer.key, files);
  thread.messages.push({ role: "user", text: text.trim(), files: files.map((file) => file.name) }, answer);
  showPicked();
  keep(thread);
  location.hash = thread.id;
  show(thread);
  follow(thread);
}

/** Decides an approval request in the visible conversation. */
function settle(request, approve) {
  if (running.has(thread.id)) return;
  const answer = { role: "agent", key: threads.freshId(), parts: [], state: "pending", decides: { request, approve } };
  thread.messages.push({ role: "user", text: approve ? "Approve" : "Reject" }, answer);
  keep(thread);
  show(thread);
  follow(thread);
}

/** Asks for another answer in place of the last one of the visible conversation. */
function again(id) {
  if (running.has(thread.id)) return;
  const answer = { role: "agent", key: threads.freshId(), parts: [], state: "pending", regenerates: id };
  thread.messages.push({ role: "user", text: "Regenerate" }, answer);
  keep(thread);
  show(thread);
  follow(thread);
}

/** Receives the last answer of `owner` to its end, whichever conversation is visible. */
async function follow(owner) {
  const answer = owner.messages.at(-1);
  running.set(owner.id, owner);
  Object.assign(answer, { state: "pending", error: undefined, waiting: undefined });
  changed(owner);
  announce("The agent is answering.");
  try {
    await receive(owner, answer);
    answer.state = "done";
    sending.delete(answer.key);
    if (owner === thread) announce(answerText(answer));
  } catch (error) {
    fail(owner, answer, error);
  } finally {
    answer.waiting = undefined;
    if (running.delete(owner.id)) keep(owner); // else it was removed meanwhile
    changed(owner);
    refresh(); // an answer, or a failure, may mean that the bot's health has changed
  }
}

async function receive(owner, answer) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await takeParts(owner, answer);
    } catch (error) {
      if (!(error instanceof Lost) || attempt === REJOIN_AFTER_MS.length) throw error;
      answer.waiting = "Connection lost, reconnecting";
      changed(owner);
      await new Promise((resolve) => setTimeout(resolve, REJOIN_AFTER_MS[attempt]));
    }
  }
}

async function takeParts(owner, answer) {
  const asked = owner.messages.at(-2).text;
  const files = await Promise.all((sending.get(answer.key) ?? []).map(sendable));
  let parts = []; // a repeated request streams the answer from its beginning
  const question = { message: asked, thread: owner.id, key: answer.key, files };
  const other = answer.regenerates && regenerate(answer.regenerates);
  const coming = answer.decides ? decide(answer.decides) : other || ask(question);
  for await (const { name, data } of coming) {
    if (name === "buttons") {
      answer.buttons = data;
      continue;
    }
    if (REQUESTS.includes(name) && data.state !== "asked") showDecision(owner, data);
    if (name !== "done") parts = withPart(parts, name, data);
    else parts = complete(parts, data);
    Object.assign(answer, { parts, waiting: undefined });
    changed(owner);
  }
}

/** Shows the decision of an earlier request, or the answer to a question, and removes its buttons. */
function showDecision(owner, decided) {
  for (const message of owner.messages) {
    const asked = message.parts?.find((part) => REQUESTS.includes(part.type) && part.id === decided.id);
    if (asked) Object.assign(asked, { state: decided.state, text: decided.text });
  }
  if (owner === thread) show(thread);
}

/** Returns the parts of a complete answer; what the stream did not show comes from its last event. */
function complete(parts, { response, files = [] }) {
  const steps = parts.filter((part) => part.type === "tool");
  const shown = answerText({ parts }) === response.trim() ? parts : [...steps, { type: "text", text: response }];
  const known = new Set(shown.map((part) => part.type === "file" && part.id));
  return [...shown, ...files.filter((file) => !known.has(file.id)).map((file) => ({ type: "file", ...file }))];
}

function withPart(parts, type, data) {
  const last = parts.at(-1);
  if (type === "text" && last?.type === "text") return [...parts.slice(0, -1), { type, text: last.text + data.text }];
  const known = parts.findIndex((part) => type === "tool" && part.type === "tool" && part.id === data.id);
  return known < 0 ? [...parts, { type, ...data }] : parts.with(known, { type, ...data });
}

function fail(owner, answer, error) {
  const isKnown = error instanceof Refused || error instanceof Lost;
  if (!isKnown) console.error(error);
  const message = isKnown ? error.message : "Something went wrong on this page. Please reload it.";
  Object.assign(answer, { state: "failed", error: message });
  answer.again = isKnown && (error instanceof Lost || error.unanswered); // the same question, not a new one
  if (error instanceof Refused && error.status === 401) unlock(() => retry(owner));
  announce(answer.error);
}

function retry(owner) {
  const answer = owner.messages.at(-1);
  if (running.has(owner.id) || answer?.state !== "failed") return;
  if (!answer.again) {
    const files = sending.get(answer.key);
    Object.assign(answer, { key: threads.freshId(), parts: [] });
    if (files) sending.set(answer.key, files);
  }
  follow(owner);
}

// --- showing --------------------------------------------------------------------------------------------

function show(next) {
  thread = next;
  view = null;
  messages.replaceChildren(...thread.messages.map(messageNode));
  showTour();
  find("title").textContent = thread.title || "New conversation";
  document.title = thread.title ? `${thread.title} – Threadmate` : "Threadmate";
  showThreads();
  allowSending();
  toEnd();
}

function messageNode(message) {
  if (message.role === "user") return question(message);
  const owner = thread;
  const isLast = message === owner.messages.at(-1);
  const foot = { onAgain: isLast ? again : null, onVote: () => keep(owner) };
  view = new AnswerView(message, { onRetry: () => retry(owner), onDecide: settle, onAnswer: submit, ...foot });
  return view.element;
}

let frame = 0;

/** Renders the last answer of `owner` again, at most once per frame. */
function changed(owner) {
  if (owner !== thread) return;
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const follows = atEnd();
    view?.update();
    showTour();
    if (follows) toEnd();
    allowSending();
  });
}

function showTour() {
  tour.show({ isEmpty: !thread.messages.length, isRunning: running.has(thread.id) });
}

function showThreads() {
  find("threads").replaceChildren(...threads.list().map(threadRow));
}

function threadRow({ id, title }) {
  const open = element("a", { href: `#${id}` }, title || "New conversation");
  if (id === thread.id) open.setAttribute("aria-current", "page");
  const help = "Remove from this browser (the bot still remembers the conversation)";
  const remove = element("button", { type: "button", class: "quiet", "aria-label": `Remove “${title}”`, title: help }, "✕");
  remove.addEventListener("click", () => forget(id));
  return element("li", {}, open, remove);
}

function forget(id) {
  threads.remove(id);
  running.delete(id);
  if (id === thread.id) startNew();
  else showThreads();
}

function keep(owner) {
  owner.updated = Date.now();
  threads.save(owner);
  showThreads();
}

// --- scrolling and typing -------------------------------------------------------------------------------

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
const toEnd = () => (scroll.scrollTop = scroll.scrollHeight);

function allowSending() {
  send.disabled = running.has(thread.id) || !input.value.trim();
  latest.hidden = atEnd();
}

function fitInput() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
  allowSending();
}

function announce(text) {
  find("announcer").textContent = text;
}

scroll.addEventListener("scroll", allowSending, { passive: true });
new ResizeObserver(allowSending).observe(messages);
latest.addEventListener("click", toEnd);
input.addEventListener("input", fitInput);
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("composer").requestSubmit();
});
find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (send.disabled) return;
  submit(input.value);
  input.value = "";
  fitInput();
});

function showPicked() {
  find("picked").replaceChildren(...picked.map(pickedRow));
}

function pickedRow(file, index) {
  const remove = element("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}` }, "✕");
  remove.addEventListener("click", () => {
    picked.splice(index, 1);
    showPicked();
  });
  return element("li", {}, `${file.name} (${readableSize(file.size)})`, remove);
}

find("attach").addEventListener("click", () => find("files").click());
find("files").addEventListener("change", ({ target }) => {
  picked.push(...target.files);
  target.value = "";
  showPicked();
  input.focus();
});

// --- conversations --------------------------------------------------------------------------------------

function startNew() {
  history.pushState(null, "", location.pathname);
  show(threads.freshThread());
  openMenu(false);
  input.focus();
}

/** Shows the conversation in the address; an answer that a reload interrupted is followed again. */
function openFromAddress() {
  const id = location.hash.slice(1);
  if (id === thread.id) return;
  const stored = running.get(id) ?? threads.load(id);
  show(stored ?? threads.freshThread());
  openMenu(false);
  if (stored?.messages.at(-1)?.state === "pending" && !running.has(id)) follow(stored);
}

const narrow = matchMedia("(max-width: 760px)");

function openMenu(open) {
  document.body.classList.toggle("menu", open);
  find("menu").setAttribute("aria-expanded", String(open));
  find("sidebar").inert = narrow.matches && !open;
}

find("new").addEventListener("click", startNew);
find("menu").addEventListener("click", () => openMenu(true));
find("shade").addEventListener("click", () => openMenu(false));
narrow.addEventListener("change", () => openMenu(false));
addEventListener("keydown", (event) => event.key === "Escape" && openMenu(false));
addEventListener("hashchange", openFromAddress);
addEventListener("popstate", openFromAddress);
addEventListener("storage", showThreads);

// --- the token ------------------------------------------------------------------------------------------

function unlock(then) {
  locked.add(then);
  find("token-problem").hidden = !token.get();
  if (!find("token-dialog").open) find("token-dialog").showModal();
}

find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(find("token").value.trim());
  find("token").value = "";
  find("token-dialog").close();
  find("sign-out").hidden = false;
  const waiting = [...locked];
  locked.clear();
  waiting.forEach((then) => then());
});
find("sign-out").hidden = !token.get();
find("sign-out").addEventListener("click", () => {
  token.forget();
  location.reload();
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

show(thread);
openMenu(false);
openFromAddress();
const askForToken = () => unlock(() => Promise.all([refresh(askForToken), tour.load()]));
await Promise.all([watch(askForToken), tour.load()]);
