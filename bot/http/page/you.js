// The dialog about the caller: usage, facts to correct or forget, export, and forgetting everything.

import { find } from "./dom.js";
import { saveButton } from "./files.js";
import { element, render } from "./markdown.js";
import { memory } from "./stream.js";

const MOST_FACTS = 100;

find("you").addEventListener("click", () => {
  find("you-dialog").showModal();
  refresh();
});
find("you-export").append(saveButton("/memory", "memory.json", "Export everything"));

/** Shows the dialog as the bot has it now; each part that fails says so. */
async function refresh() {
  await Promise.all([
    attempt(async () => find("you-usage").replaceChildren(render(await memory.usage()))),
    attempt(showFacts),
  ]);
}

async function showFacts() {
  let { facts, total, is_on: isOn } = await memory.facts(0);
  while (facts.length < Math.min(total, MOST_FACTS)) {
    const next = await memory.facts(facts.length);
    if (next.first !== facts.length) break; // some were forgotten meanwhile
    facts = [...facts, ...next.facts];
  }
  const more = total > facts.length ? ` The newest ${facts.length} of ${total} are shown.` : "";
  const words = facts.length ? `This is what is remembered about you.${more}` : "Nothing is remembered about you yet.";
  find("you-words").textContent = isOn ? words : `The memory is switched off. ${facts.length ? words : ""}`;
  find("you-facts").replaceChildren(...facts.map(row));
}

function row({ id, text, about }) {
  const input = element("input", { "aria-label": "Fact", maxlength: "1000", dir: "auto" });
  input.value = text;
  const save = element("button", { type: "submit", class: "button" }, "Save");
  save.hidden = true;
  input.addEventListener("input", () => (save.hidden = input.value.trim() === text || !input.value.trim()));
  const forget = element("button", { type: "button", class: "quiet", "aria-label": `Forget “${text}”`, title: "Forget" }, "✕");
  forget.addEventListener("click", () => change(() => memory.forget(id)));
  const form = element("form", { class: "bar" }, input, save, forget);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    change(() => memory.correct(id, input.value.trim()));
  });
  return element("li", {}, form, element("p", { class: "fine" }, about));
}

async function change(act) {
  if (!(await attempt(act))) return;
  await attempt(showFacts);
  find("you-close").focus();
}

let isSure = false;
find("you-forget").addEventListener("click", async ({ currentTarget: button }) => {
  if (!isSure) {
    isSure = true;
    button.textContent = "Really forget everything?";
    return;
  }
  isSure = false;
  button.textContent = "Forget everything";
  if (await attempt(() => memory.forgetAll())) location.assign("/");
});

/** Runs an action, and shows why if it fails; returns whether it succeeded. */
async function attempt(act) {
  try {
    await act();
    find("you-problem").hidden = true;
    return true;
  } catch (error) {
    find("you-problem").textContent = error.message;
    find("you-problem").hidden = false;
    return false;
  }
}
