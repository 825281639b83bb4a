// Conversations stored in this browser, one localStorage entry each, so that tabs do not collide.

const PREFIX = "agent.thread.";
const MAX_THREADS = 100;

/** Returns an unguessable id; crypto.randomUUID exists on https and localhost only. */
export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const freshThread = () => ({ id: freshId(), title: "", updated: Date.now(), messages: [] });

/** Returns all conversations, the latest first. */
export function list() {
  return Object.keys(localStorage)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => load(name.slice(PREFIX.length)))
    .filter(Boolean)
    .sort((one, other) => other.updated - one.updated);
}

/** Returns one conversation, or null. */
export function load(id) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + id));
  } catch {
    return null; // damaged or foreign: ignore it
  }
}

/** Stores a conversation; drops the oldest ones to make room. */
export function save(thread) {
  const others = list().filter((other) => other.id !== thread.id);
  others.splice(MAX_THREADS - 1).forEach((other) => remove(other.id));
  while (!trySave(thread) && others.length) remove(others.pop().id);
}

export const remove = (id) => localStorage.removeItem(PREFIX + id);

function trySave(thread) {
  try {
    localStorage.setItem(PREFIX + thread.id, JSON.stringify(thread));
    return true;
  } catch {
    return false; // quota exceeded
  }
}
