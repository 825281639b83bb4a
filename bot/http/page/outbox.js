// Messages that the bot may not have yet: sent again after a reload, under the same key, so that none is lost or doubled.

const NAME = "agent.outbox";
const MOST = 20;
const DAY_MS = 86_400_000; // the bot knows the key of a message for three days

/** Returns the messages {thread, key, text, at}, the oldest first. */
export function list() {
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(found) ? found.filter(({ at }) => at > Date.now() - DAY_MS) : [];
  } catch {
    return []; // damaged or foreign: ignore it
  }
}

const save = (messages) => {
  try {
    localStorage.setItem(NAME, JSON.stringify(messages.slice(-MOST)));
  } catch {
    // no room: the message is still being sent
  }
};

export const add = (message) => save([...list().filter(({ key }) => key !== message.key), { ...message, at: Date.now() }]);
export const clear = () => localStorage.removeItem(NAME);
export const remove = (key) => save(list().filter((each) => each.key !== key));
