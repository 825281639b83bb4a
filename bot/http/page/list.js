// The list of conversations: from the server, searched, renamed, and deleted with a time to undo it.

import { find } from "./dom.js";
import { element } from "./markdown.js";
import { threads } from "./stream.js";

const UNDO_MS = 15_000;
const SEARCH_MS = 250;

/** List in the sidebar; `current` returns the id of the visible conversation, `onGone` is called with a deleted one. */
export class ThreadList {
  constructor({ current, onGone, onRenamed }) {
    this.on = { current, onGone, onRenamed };
    this.rows = [];
    this.older = []; // pages that were asked for
    this.etag = "";
    this.hasMore = false;
    let timer = 0;
    find("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.refresh(true), SEARCH_MS);
    });
    find("more").addEventListener("click", () => this.#loadMore());
  }

  /** Asks the server for the newest conversations; never throws. */
  async refresh(isNew = false) {
    const words = find("search").value.trim();
    try {
      const found = await threads.list(words, 0, isNew ? "" : this.etag);
      if (!found || words !== find("search").value.trim()) return;
      this.etag = found.etag;
      this.rows = found.threads;
      if (isNew || !this.older.length) {
        this.older = [];
        this.hasMore = found.has_more;
      }
      this.show();
    } catch {
      // the state of the bot is shown by its health
    }
  }

  async #loadMore() {
    const last = [...this.rows, ...this.older].at(-1);
    try {
      const found = await threads.list(find("search").value.trim(), last.updated_at, "");
      this.older.push(...found.threads);
      this.hasMore = found.has_more;
      this.show();
    } catch (error) {
      say(error.message);
    }
  }

  show() {
    if (find("threads").contains(document.querySelector("#threads input"))) return; // a title is being edited
    const seen = new Set();
    const all = [...this.rows, ...this.older].filter(({ id }) => !seen.has(id) && seen.add(id));
    const active = /** @type {HTMLElement | null} */ (document.activeElement);
    const focused = /** @type {HTMLElement | null} */ (active?.closest("#threads li"))?.dataset.id;
    const kind = active?.dataset.kind;
    find("threads").replaceChildren(...all.map((each) => this.#row(each)));
    find("more").hidden = !this.hasMore;
    find("no-threads").hidden = all.length > 0 || !find("search").value.trim();
    if (!focused) return;
    (rowOf(focused)?.querySelector(`[data-kind="${kind}"]`) ?? find("search")).focus();
  }

  #row({ id, title, is_running: isRunning }) {
    const name = title || "Conversation";
    const open = element("a", { href: `#/t/${encodeURIComponent(id)}`, dir: "auto", "data-kind": "open" }, name);
    if (id === this.on.current()) open.setAttribute("aria-current", "page");
    if (isRunning) open.append(element("span", { class: "hidden" }, " (answering)"));
    const row = element("li", { "data-id": id, class: isRunning ? "running" : "" }, open);
    row.append(small("✎", `Rename “${name}”`, "rename", () => this.#rename(row, id, name)));
    row.append(small("✕", `Delete “${name}”`, "delete", () => this.#remove(id, name)));
    return row;
  }

  #rename(row, id, title) {
    const input = element("input", { "aria-label": "Title", maxlength: "80", dir: "auto" });
    input.value = title;
    let isOver = false;
    const end = async (isKept) => {
      if (isOver) return;
      isOver = true;
      const named = input.value.trim();
      input.remove();
      if (isKept && named && named !== title) {
        try {
          await threads.rename(id, named);
          this.on.onRenamed(id, named);
        } catch (error) {
          say(error.message);
        }
      }
      await this.refresh(true);
      rowOf(id)?.querySelector("a")?.focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
      event.stopPropagation();
    });
    input.addEventListener("blur", () => end(true));
    row.replaceChildren(input);
    input.select();
    input.focus();
  }

  async #remove(id, title) {
    try {
      await threads.remove(id);
    } catch (error) {
      return say(error.message);
    }
    this.rows = this.rows.filter((each) => each.id !== id);
    this.older = this.older.filter((each) => each.id !== id);
    this.show();
    this.on.onGone(id);
    say(`“${title}” is deleted.`, "Undo", async () => {
      try {
        await threads.restore(id);
        location.hash = `#/t/${encodeURIComponent(id)}`;
      } catch (error) {
        say(error.message);
      }
      this.refresh(true);
    });
  }
}

const rowOf = (id) => [...find("threads").children].find((each) => each.dataset.id === id);

let closing = 0;

/** Shows a short message, with a button if there is an action; the button has the focus. */
export function say(text, label = "", act = () => {}) {
  const box = find("toast");
  clearTimeout(closing);
  const close = () => {
    if (box.contains(document.activeElement)) find("question").focus();
    box.hidden = true;
  };
  box.replaceChildren(element("span", { dir: "auto" }, text));
  box.hidden = false;
  closing = setTimeout(close, UNDO_MS);
  if (!label) return;
  const button = element("button", { type: "button", class: "button" }, label);
  button.addEventListener("click", () => {
    close();
    act();
  });
  box.append(button);
  button.focus();
}

function small(sign, label, kind, onClick) {
  const made = element("button", { type: "button", class: "quiet", "aria-label": label, title: label, "data-kind": kind }, sign);
  made.addEventListener("click", onClick);
  return made;
}
