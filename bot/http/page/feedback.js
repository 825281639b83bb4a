// Buttons below a finished answer: thumbs with a reason, another answer, and details.

import { element, render } from "./markdown.js";
import { details, vote } from "./stream.js";

const THUMBS = { up: ["👍", "Good answer"], down: ["👎", "Bad answer"] };
const REASON = "What was wrong with the answer?";

/** Returns the buttons of a message; `onAgain` is null if it is not the last one, `onVote` keeps its vote. */
export function buttonsNode(message, onAgain, onVote) {
  const { answer, can_be_rated: canBeRated } = message.buttons;
  const below = element("div", { class: "below", "aria-live": "polite" });
  const thumbs = canBeRated ? Object.keys(THUMBS).map((kind) => thumb(kind, () => rate(kind))) : [];
  const mark = () => thumbs.forEach((each) => each.setAttribute("aria-pressed", String(each.value === message.vote)));

  async function rate(kind) {
    if (!(await attempt(below, () => vote(answer, kind)))) return;
    message.vote = kind;
    onVote();
    mark();
    below.replaceChildren(...(kind === "down" ? [reasonForm(answer, below)] : []));
  }

  mark();
  const others = [small("Details", () => showDetails(answer, below))];
  if (onAgain) others.unshift(small("Regenerate", () => onAgain(answer)));
  return element("div", { class: "buttons" }, ...thumbs, ...others, below);
}

function thumb(kind, onClick) {
  const [sign, label] = THUMBS[kind];
  const made = small(sign, onClick);
  made.value = kind;
  made.setAttribute("aria-label", label);
  return made;
}

function small(label, onClick) {
  const made = element("button", { type: "button", class: "copy" }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** Asks for the reason of a vote against the answer; it can be left out. */
function reasonForm(answer, below) {
  const reason = element("textarea", { rows: "2", maxlength: "1000", "aria-label": REASON, placeholder: REASON });
  const send = element("button", { type: "submit", class: "button" }, "Send");
  const form = element("form", { class: "reason" }, reason, send);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!reason.value.trim()) return below.replaceChildren();
    if (!(await attempt(below, () => vote(answer, "down", reason.value), form))) return;
    below.replaceChildren(element("p", { class: "thinking" }, "Thank you."));
  });
  return form;
}

async function showDetails(answer, below) {
  const text = await attempt(below, () => details(answer));
  if (text) below.replaceChildren(element("section", { class: "details markdown", "aria-label": "Details" }, render(text)));
}

/** Returns the outcome of a request; if it fails, shows why, above `form` if there is one, and returns nothing. */
async function attempt(below, request, form) {
  try {
    return await request();
  } catch (error) {
    below.replaceChildren(element("p", { class: "failure", role: "alert" }, error.message), ...(form ? [form] : []));
  }
}
