// The health dot in the header and its dialog.

import { find } from "./dom.js";
import { element } from "./markdown.js";
import { Refused, health } from "./stream.js";

const EVERY_MS = 30_000;
const WORDS = { ok: "Healthy", degraded: "Degraded", down: "Unhealthy", off: "Not reachable", locked: "Token needed" };

/** Updates the dot while the page is visible; calls `onLocked` if a token is needed. */
export function watch(onLocked) {
  const look = () => document.visibilityState === "visible" && refresh(onLocked);
  setInterval(look, EVERY_MS);
  document.addEventListener("visibilitychange", look);
  find("health").addEventListener("click", () => {
    find("health-dialog").showModal();
    refresh(onLocked);
  });
  return refresh(onLocked);
}

/** Updates the dot now; returns the parts, or null if the bot does not report them. */
export async function refresh(onLocked = () => {}) {
  try {
    const { status, agent_status: parts } = await health();
    show({ healthy: "ok", degraded: "degraded" }[status] ?? "down", parts);
    return parts;
  } catch (error) {
    const locked = error instanceof Refused && error.status === 401;
    show(locked ? "locked" : "off", {}, error.message);
    if (locked) onLocked();
    return null;
  }
}

function show(state, parts, problem) {
  find("health").dataset.state = state;
  find("health-word").textContent = WORDS[state];
  find("health-summary").textContent = problem ?? `As of ${new Date().toLocaleTimeString()}.`;
  find("health-parts").replaceChildren(...Object.entries(parts).map(([name, part]) => row(name, part)));
}

function row(name, { state, ...evidence }) {
  const facts = Object.entries(evidence).map(([key, value]) =>
    element("div", {}, element("dt", {}, key.replaceAll("_", " ")), element("dd", {}, plain(value))),
  );
  return element(
    "li",
    { "data-state": state },
    element("div", { class: "bar" }, element("strong", {}, element("span", { class: "dot" }), name), state),
    element("dl", {}, ...facts),
  );
}

const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "–"));
