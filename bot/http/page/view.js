// Messages as elements. A message is plain data (see app.js); a view renders it and its changes.

import { buttonsNode } from "./feedback.js";
import { fileNode } from "./files.js";
import { copyText, element, render } from "./markdown.js";
import { shownState, stepNode } from "./steps.js";
import { tableNode } from "./table.js";

const WAITING = { approval: "Waiting for approval", question: "Waiting for an answer" };

/** View of a user's message; with `onEdit` it has a button for that. */
export class QuestionView {
  constructor(message, onEdit) {
    this.role = "user";
    this.element = element("article", { class: "question", "aria-label": "You", dir: "auto" });
    this.onEdit = onEdit;
    this.update(message, null);
  }

  /** Shows the message; `canEdit` if it is the last question, and answered. */
  update({ text, files = [] }, canEdit) {
    const shows = JSON.stringify([text, files, Boolean(canEdit)]);
    if (shows === this.shows) return;
    this.shows = shows;
    const names = files.map(({ name }) => element("li", {}, `📎 ${name}`));
    this.element.replaceChildren(...(text ? [element("p", {}, text)] : []));
    if (names.length) this.element.append(element("ul", {}, ...names));
    if (canEdit) this.element.append(button("Edit", () => this.onEdit(text), "copy edit"));
  }
}

/** View of an answer that may still grow: call `update` after its message has changed. */
export class AnswerView {
  constructor(message, { onRetry, onDecide, onAnswer, onAgain, onVote }) {
    this.role = "agent";
    this.message = message;
    this.onAgain = onAgain;
    this.onVote = onVote;
    this.onRetry = onRetry;
    this.onDecide = onDecide;
    this.onAnswer = onAnswer;
    this.body = element("div", { class: "body" });
    this.foot = element("div", { class: "foot" });
    this.element = element("article", { class: "answer", "aria-label": "Agent", dir: "auto" }, this.body, this.foot);
    this.shown = [];
    this.isLast = false;
    this.update();
  }

  update() {
    const { parts, state } = this.message;
    this.shown.splice(parts.length).forEach((each) => each.node.remove());
    parts.map((part) => shownState(part, state)).forEach((part, index) => this.#show(part, index));
    this.element.setAttribute("aria-busy", String(state === "pending"));
    const foot = state === "pending" ? this.#pending() : state;
    const shows = JSON.stringify([foot, this.message.error, this.message.buttons, this.isLast]);
    if (shows !== this.foot.dataset.shows) this.#showFoot(foot, shows);
  }

  /** Returns the status for a waiting user: nothing while text arrives or a step shows its own progress. */
  #pending() {
    const { parts, waiting } = this.message;
    const asked = parts.find((part) => part.state === "asked");
    const busy = parts.at(-1)?.type === "text" || parts.some((part) => part.state === "started");
    return waiting ?? WAITING[asked?.type] ?? (busy ? "" : this.message.isQueued ? "Waiting for its turn" : "Thinking");
  }

  #show(part, index) {
    const signature = JSON.stringify(part);
    const before = this.shown[index];
    if (before?.signature === signature) return;
    const node = this.#partNode(part);
    if (before) {
      if (before.node.open) node.open = true;
      before.node.replaceWith(node);
    } else this.body.append(node);
    this.shown[index] = { signature, node };
  }

  #partNode(part) {
    if (part.type === "approval") return this.#approval(part);
    return part.type === "question" ? this.#question(part) : partNode(part);
  }

  #approval({ id, text, state }) {
    const label = state === "asked" ? "Needs approval" : "Decided";
    const node = element("section", { class: "approval markdown", "aria-label": label }, render(text));
    if (state === "asked") {
      const approve = button("Approve", () => this.onDecide(id, true), "button primary");
      node.append(element("div", { class: "decision" }, approve, button("Reject", () => this.onDecide(id, false))));
    }
    return node;
  }

  /** Shows a question; the button of an option sends it as the next message. */
  #question({ text, options, state }) {
    const label = { asked: "Question for you", answered: "Answered question" }[state] ?? "Closed question";
    const node = element("section", { class: "approval markdown", "aria-label": label }, render(text));
    const choices = options.map((option) => button(option, () => this.onAnswer(option)));
    if (state === "asked" && choices.length) node.append(element("div", { class: "decision" }, ...choices));
    return node;
  }

  #showFoot(foot, shows) {
    this.foot.dataset.shows = shows;
    this.foot.replaceChildren();
    if (foot === "failed") this.foot.append(this.#failure());
    else if (foot === "done") this.foot.append(this.#copyButton(), ...this.#buttons());
    else if (foot) this.foot.append(thinking(foot));
  }

  #failure() {
    const retry = element("button", { type: "button", class: "button" }, "Try again");
    retry.addEventListener("click", () => this.onRetry());
    return element("div", { class: "failure", role: "alert" }, element("p", {}, this.message.error), retry);
  }

  #buttons() {
    return this.message.buttons?.answer ? [buttonsNode(this.message, this.isLast ? this.onAgain : null, this.onVote)] : [];
  }

  #copyButton() {
    const copy = element("button", { type: "button", class: "copy" }, "Copy answer");
    copy.addEventListener("click", () => copyText(answerText(this.message), copy));
    return copy;
  }
}

function button(label, onClick, style = "button") {
  const made = element("button", { type: "button", class: style }, label);
  made.addEventListener("click", onClick);
  return made;
}

const NO_TEXT = ["tool", "table", "file"];

/** Returns the text of an answer, without its steps; its tables come last, as in the whole answer. */
export function answerText({ parts }) {
  const text = parts
    .filter((part) => !NO_TEXT.includes(part.type))
    .map((part) => (part.type === "text" ? part.text : `\n\n${part.text}\n\n`))
    .join("")
    .trim();
  return [text, ...parts.filter((part) => part.type === "table").map((part) => part.text)].filter(Boolean).join("\n\n");
}

function partNode(part) {
  if (part.type === "tool") return stepNode(part);
  if (part.type === "table") return tableNode(part);
  if (part.type === "file") return fileNode(part);
  return element("div", { class: part.type === "notice" ? "notice markdown" : "markdown" }, render(part.text));
}

const thinking = (word) =>
  element("p", { class: "thinking" }, word, element("span", { class: "dots", "aria-hidden": "true" }));
