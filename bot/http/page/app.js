// The page: which conversation is visible, and what its parts do together.
//
// The server has the conversations (list.js, conversation.js); this browser keeps the token, and what it has not sent yet.

import { Composer } from "./composer.js";
import { Conversation, freshId } from "./conversation.js";
import { find } from "./dom.js";
import { refresh, watch } from "./health.js";
import { ThreadList, say } from "./list.js";
import { element } from "./markdown.js";
import * as outbox from "./outbox.js";
import { Refused } from "./stream.js";
import { Tour } from "./tour.js";
import { unlock } from "./unlock.js";
import "./you.js";
import { AnswerView, QuestionView, answerText } from "./view.js";

const LOOK_MS = 4_000; // at what other tabs and browsers do
const LOOK_RUNNING_MS = 1_000; // while something runs that this page does not receive
const LIST_EVERY = 3; // looks

const [scroll, messages, input, latest] = ["scroll", "messages", "question", "latest"].map(find);

const open = new Map(); // conversations with answers that this page receives, and the visible one, by id
let views = [];
let visible = fresh(freshId());
const tour = new Tour(find("tour"), (text, files) => {
  submit(text, files);
  input.focus(); // its button is gone
});

function fresh(id) {
  const made = new Conversation(id, { changed, ended, locked: unlock });
  open.set(id, made);
  return made;
}

const list = new ThreadList({
  current: () => visible.id,
  onGone: (id) => {
    open.delete(id);
    if (id === visible.id) startNew(false);
  },
  onRenamed: (id, title) => {
    if (id !== visible.id) return;
    visible.title = title;
    showTitle();
  },
});
const composer = new Composer({ onSend: submit, onStop: stopAnswer });

// --- asking ---------------------------------------------------------------------------------------------

function submit(text, files = [], edits = false) {
  const owner = visible;
  if (edits && !owner.isBusy) owner.reword(text);
  else owner.send(text, files);
  if (location.hash !== addressOf(owner.id)) history.pushState(null, "", addressOf(owner.id));
  announce(owner.jobs.size > 1 ? "Your message waits for its turn." : "The agent is answering.");
  showMessages();
  toEnd();
  input.focus();
}

async function stopAnswer() {
  try {
    await visible.stop();
  } catch (error) {
    say(error.message);
  }
}

function ended(owner, answer) {
  if (owner === visible) announce(answer.error ?? answerText(answer));
  else if (!owner.jobs.size) open.delete(owner.id);
  list.refresh(true);
  refresh(); // an answer, or a failure, may mean that the bot's health has changed
}

// --- showing --------------------------------------------------------------------------------------------

function show(next) {
  if (visible !== next && !visible.jobs.size) open.delete(visible.id);
  visible = next;
  views = [];
  messages.replaceChildren();
  showMessages();
  list.show();
  toEnd();
}

function showTitle() {
  find("title").textContent = visible.title || "New conversation";
  document.title = visible.title ? `${visible.title} – Threadmate` : "Threadmate";
}

/** Shows the messages of the visible conversation; elements of those that are the same stay, and with them the focus. */
function showMessages() {
  const { messages: all, isBusy } = visible;
  const hadFocus = messages.contains(document.activeElement);
  const lastQuestion = all.findLastIndex(({ role }) => role === "user");
  views.splice(all.length).forEach(({ element }) => element.remove());
  all.forEach((message, index) => {
    const view = viewOf(message, index);
    view.isLast = index === all.length - 1 && !isBusy;
    if (message.role === "user") view.update(message, index === lastQuestion && message.id && !isBusy);
    else {
      view.message = message;
      view.update();
    }
  });
  tour.show({ isEmpty: !all.length && !visible.isMissing, isRunning: isBusy });
  if (hadFocus && !messages.contains(document.activeElement)) input.focus();
  showTitle();
  composer.show(isBusy);
  showLatest();
}

function viewOf(message, index) {
  const known = views[index];
  if (known?.role === message.role) return known;
  const owner = visible;
  /** @type {any} */
  const made =
    message.role === "user"
      ? new QuestionView(message, (text) => composer.edit(text))
      : new AnswerView(message, {
          onRetry: () => owner.retry(made.message),
          onDecide: (id, approve) => owner.settle(id, approve),
          onAnswer: (text) => submit(text),
          onAgain: (id) => owner.again(id),
          onVote: () => {},
        });
  if (known) known.element.replaceWith(made.element);
  else messages.append(made.element);
  views[index] = made;
  return made;
}

let frame = 0;

/** Shows a change of a conversation, at most once per frame. */
function changed(owner) {
  if (owner !== visible) return;
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const follows = atEnd();
    showMessages();
    if (follows) toEnd();
  });
}

// --- scrolling ------------------------------------------------------------------------------------------

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
const toEnd = () => (scroll.scrollTop = scroll.scrollHeight);
const showLatest = () => (latest.hidden = atEnd() || !visible.messages.length);

function announce(text) {
  find("announcer").textContent = text;
}

scroll.addEventListener("scroll", showLatest, { passive: true });
new ResizeObserver(showLatest).observe(messages);
latest.addEventListener("click", () => {
  toEnd();
  input.focus();
});

// --- conversations --------------------------------------------------------------------------------------

const addressOf = (id) => `#/t/${encodeURIComponent(id)}`;

function startNew(hasFocus = true) {
  history.pushState(null, "", location.pathname);
  show(fresh(freshId()));
  openMenu(false);
  if (hasFocus) input.focus();
}

/** Shows the conversation in the address: that of a link, too, which another browser has made. */
async function openFromAddress() {
  const id = idIn(location.hash);
  if (id === visible.id && visible.messages.length) return;
  const next = id ? (open.get(id) ?? fresh(id)) : visible.messages.length ? fresh(freshId()) : visible;
  show(next);
  openMenu(false);
  if (id) await look(next);
  if (id && next.isMissing && !next.messages.length && next === visible) {
    messages.replaceChildren(element("p", { class: "thinking" }, "There is no such conversation, or not any more."));
  }
  toEnd();
}

function idIn(hash) {
  try {
    return decodeURIComponent(hash.replace(/^#(\/t\/)?/, ""));
  } catch {
    return ""; // not an address of this page
  }
}

/** Loads what the server has of a conversation; a problem is shown by the bot's health. */
async function look(owner) {
  try {
    await owner.load();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) unlock(() => look(owner));
  }
}

async function keepLooking() {
  for (let count = 1; ; count += 1) {
    const isElsewhere = visible.isRunning && !visible.jobs.size;
    await new Promise((resolve) => setTimeout(resolve, isElsewhere ? LOOK_RUNNING_MS : LOOK_MS));
    if (document.visibilityState !== "visible") continue;
    if (visible.messages.length) await look(visible);
    if (count % LIST_EVERY === 0) await list.refresh();
  }
}

/** Sends the messages again that the bot may not have got before the page was closed. */
function sendOutbox() {
  for (const { thread, key, text } of outbox.list()) {
    const owner = open.get(thread) ?? fresh(thread);
    const isThere = owner.messages.some((each) => each.role === "user" && each.text === text);
    if (isThere) outbox.remove(key);
    else owner.send(text, [], key);
  }
}

const narrow = matchMedia("(max-width: 760px)");

function openMenu(isOpen) {
  const hadFocus = find("sidebar").contains(document.activeElement);
  document.body.classList.toggle("menu", isOpen);
  find("menu").setAttribute("aria-expanded", String(isOpen));
  find("sidebar").inert = narrow.matches && !isOpen;
  if (isOpen) find("new").focus();
  else if (hadFocus && narrow.matches) find("menu").focus();
}

find("new").addEventListener("click", () => startNew());
find("menu").addEventListener("click", () => openMenu(true));
find("shade").addEventListener("click", () => openMenu(false));
narrow.addEventListener("change", () => openMenu(false));
addEventListener("keydown", (event) => event.key === "Escape" && openMenu(false));
addEventListener("hashchange", openFromAddress);
addEventListener("popstate", openFromAddress);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") list.refresh().then(() => visible.messages.length && look(visible));
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

show(visible);
openMenu(false);

async function start() {
  await Promise.all([tour.load(), list.refresh(true), openFromAddress()]);
  sendOutbox();
}

const askForToken = () => unlock(() => refresh(askForToken).then(start));
await watch(askForToken);
await start();
keepLooking();
