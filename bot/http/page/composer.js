// The message box: typing, files that are picked, dropped or pasted, and the button that sends or stops.

import { find } from "./dom.js";
import { element } from "./markdown.js";
import { readableSize } from "./files.js";
import { say } from "./list.js";

const MOST_CHARS = 32_000;
const MOST_FILES = 20;
const MOST_BYTES = 8 << 20; // of one file, as the bot stores it
const MOST_BYTES_TOGETHER = 16 << 20; // of one message: they are sent as base64
const SIGNS = { send: "M10 16V4M4.5 9.5 10 4l5.5 5.5", stop: "M5 5h10v10H5z" };

/** Message box; `onSend` is called with a text and files, `onStop` if an answer is to be stopped. */
export class Composer {
  constructor({ onSend, onStop }) {
    this.files = [];
    this.isBusy = false;
    this.edits = false;
    this.on = { onSend, onStop };
    this.input = find("question");
    this.input.addEventListener("input", () => this.fit());
    this.input.addEventListener("keydown", (event) => this.#press(event));
    this.input.addEventListener("paste", (event) => this.#paste(event));
    find("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    find("attach").addEventListener("click", () => find("files").click());
    find("files").addEventListener("change", ({ target }) => {
      this.add([...target.files]);
      target.value = "";
    });
    find("cancel-edit").addEventListener("click", () => this.cancel());
    this.#takeDrops();
  }

  /** Puts the last question into the box; what is sent next takes its place. */
  edit(text) {
    this.edits = true;
    find("editing").hidden = false;
    this.input.value = text;
    this.fit();
    this.input.focus();
  }

  cancel() {
    this.edits = false;
    find("editing").hidden = true;
    this.input.value = "";
    this.fit();
    this.input.focus();
  }

  add(files) {
    for (const file of files) {
      const together = this.files.reduce((sum, each) => sum + each.size, file.size);
      if (file.size > MOST_BYTES) say(`${file.name} is too large: at most ${readableSize(MOST_BYTES)} each.`);
      else if (this.files.length === MOST_FILES) say(`At most ${MOST_FILES} files can be sent at once.`);
      else if (together > MOST_BYTES_TOGETHER) say(`${file.name}: at most ${readableSize(MOST_BYTES_TOGETHER)} can be sent at once.`);
      else this.files.push(file);
    }
    this.#showFiles();
    this.input.focus();
  }

  fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
    this.show();
  }

  show(isBusy = this.isBusy) {
    this.isBusy = isBusy;
    const length = this.input.value.trim().length;
    const isEmpty = !length && !this.files.length;
    const stops = isBusy && isEmpty;
    find("send").dataset.does = stops ? "stop" : "send";
    find("send").setAttribute("aria-label", stops ? "Stop" : "Send");
    find("sign").setAttribute("d", SIGNS[stops ? "stop" : "send"]);
    find("send").disabled = !stops && (isEmpty || length > MOST_CHARS);
    find("too-long").hidden = length <= MOST_CHARS;
    find("too-long").textContent = `${length.toLocaleString("en-US")} of at most ${MOST_CHARS.toLocaleString("en-US")} characters: please shorten it, or attach it as a file.`;
  }

  #press(event) {
    if (event.key === "Escape" && this.edits) this.cancel();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (this.input.value.trim() || this.files.length) find("composer").requestSubmit(); // Enter alone never stops
  }

  #submit() {
    if (find("send").disabled) return;
    if (find("send").dataset.does === "stop") return this.on.onStop();
    const [text, files, edits] = [this.input.value.trim(), this.files, this.edits];
    this.files = [];
    this.#showFiles();
    this.cancel();
    this.on.onSend(text, files, edits);
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  #takeDrops() {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const mark = (isOver) => document.body.classList.toggle("dropping", isOver);
    addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(true);
    });
    addEventListener("dragleave", (event) => !event.relatedTarget && mark(false));
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(false);
      this.add([...event.dataTransfer.files]);
    });
  }

  #showFiles() {
    find("picked").replaceChildren(...this.files.map((file, index) => this.#row(file, index)));
    this.show();
  }

  #row(file, index) {
    const remove = element("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}` }, "✕");
    remove.addEventListener("click", () => {
      this.files.splice(index, 1);
      this.#showFiles();
      this.input.focus();
    });
    return element("li", { dir: "auto" }, `${file.name} (${readableSize(file.size)})`, remove);
  }
}
