// Steps of an answer: calls of tools with their rows and durations.

import { element } from "./markdown.js";

const MARKS = { started: "", finished: "✓", failed: "✕", stopped: "–" };
const STATES = { started: "running", finished: "done", failed: "failed", stopped: "stopped" };
const LONGEST = 359_940; // seconds: 99 h 59 min

/** Returns a part as it is shown: a step does not run any more once its answer has ended, however that was. */
export function shownState(part, answerState) {
  const isStopped = part.type === "tool" && part.state === "started" && answerState !== "pending";
  return isStopped ? { ...part, state: "stopped" } : part;
}

/** Returns a duration in words: "0.4 s", "12 s", "2 min 3 s", "1 h 5 min". */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(seconds, 0.1).toFixed(1)} s`;
  const whole = Math.round(Math.min(seconds, LONGEST));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  const words = (many, more, units) => (more ? `${many} ${units[0]} ${more} ${units[1]}` : `${many} ${units[0]}`);
  return minutes < 60 ? words(minutes, whole % 60, ["min", "s"]) : words(Math.floor(minutes / 60), minutes % 60, ["h", "min"]);
}

/** Returns the rows and the duration of a step in words, as far as they are known: "120 rows, 0.4 s". */
export function figures({ rows, seconds }) {
  const known = [];
  if (Number.isFinite(rows)) known.push(rows === 1 ? "1 row" : `${rows.toLocaleString("en-US")} rows`);
  if (Number.isFinite(seconds)) known.push(duration(seconds));
  return known.join(", ");
}

/** Returns the element of a step; one that runs says so in its words ("Running a query…"). */
export function stepNode(step) {
  const { name, state, title, activity, output } = step;
  const isRunning = state === "started";
  const summary = element(
    "summary",
    {},
    element("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? ""),
    element("span", { class: "what" }, title || name),
    element("span", { class: "figures" }, isRunning && activity ? `${activity}…` : figures(step)),
    element("code", {}, name),
    element("span", { class: "hidden" }, STATES[state] ?? state),
  );
  const node = element("details", { class: `step ${state in MARKS ? state : ""}` }, summary);
  const text = output || (isRunning ? "Still running." : "No output.");
  node.append(element("pre", { tabindex: "0" }, text));
  return node;
}
