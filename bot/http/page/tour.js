// The tour: what to ask first, what was seen already, and what to connect next.

import { element } from "./markdown.js";
import { welcome } from "./stream.js";

const SEEN = "agent.tour";
const HEADING = "What would you like to know?";
const DEMONSTRATION =
  "This is a demonstration without a language model: it understands the sentences below, about the data of a sample shop, and answers with the bot's real tools.";
const WITH_MODEL = "The agent answers from your data, shows each step it takes, and remembers the conversation.";
const NEXT = 3;

const seen = () => {
  try {
    return new Set(JSON.parse(localStorage.getItem(SEEN)) ?? []);
  } catch {
    return new Set(); // damaged: the tour begins again
  }
};

function markSeen(text) {
  try {
    localStorage.setItem(SEEN, JSON.stringify([...seen().add(text)]));
  } catch {
    // quota exceeded: only the marks are missing
  }
}

/** The tour in its place below the messages. `onAsk` receives a suggestion's text and its files. */
export class Tour {
  constructor(place, onAsk) {
    this.place = place;
    this.onAsk = onAsk;
    this.known = null;
    this.state = { isEmpty: true, isRunning: false };
  }

  /** Asks the bot what to suggest; without an answer, such as before the token, there is no tour. */
  async load() {
    this.known = await welcome().catch(() => null);
    this.show(this.state);
  }

  /** Shows all of it in an empty conversation; below a demonstration's answer only what comes next. */
  show(state) {
    this.state = state;
    this.place.replaceChildren(...(this.known && !state.isRunning ? this.#nodes(state.isEmpty) : []));
  }

  #nodes(isEmpty) {
    const { suggestions, connections, is_demonstration: isDemonstration } = this.known;
    const done = seen();
    if (isEmpty) {
      const words = element("p", {}, isDemonstration ? DEMONSTRATION : WITH_MODEL);
      const buttons = suggestions.map((each) => this.#button(each, done.has(each.text)));
      return [element("section", { class: "welcome" }, element("h2", {}, HEADING), words, ...buttons, ...connect(connections))];
    }
    if (!isDemonstration) return [];
    const next = suggestions.filter(({ text }) => !done.has(text)).slice(0, NEXT);
    const nodes = next.length ? next.map((each) => this.#button(each, false)) : connect(connections);
    return [element("section", { class: "tour", "aria-label": "Next in the tour" }, ...nodes)];
  }

  #button({ text, shows, file }, isDone) {
    const mark = element("span", { class: "shows" }, isDone ? "✓ seen" : shows);
    const button = element("button", { type: "button", class: isDone ? "suggestion seen" : "suggestion" }, text, mark);
    button.addEventListener("click", () => {
      markSeen(text);
      this.onAsk(text, file ? [new File([file.text], file.name, { type: "text/plain" })] : []);
    });
    return button;
  }
}

/** Returns the card with what is not connected yet, or nothing. */
function connect(connections) {
  const missing = connections.filter((each) => !each.is_connected);
  if (!missing.length) return [];
  const rows = missing.map(({ title, advice }) => element("li", {}, element("strong", {}, title), `: ${advice}`));
  return [
    element(
      "section",
      { class: "connect", "aria-label": "Connect next" },
      element("h3", {}, "Connect next"),
      element("p", {}, "Put this into the environment or a file .env, and start the bot again:"),
      element("ul", {}, ...rows),
    ),
  ];
}
