// Messages that the bot may not have yet: sent again after a reload, under the same key, so that none is lost or doubled.

const NAME = "agent.outbox";
const MOST = 20;

/** Returns the messages {thread, key, text}, the oldest first. */
export function list() {
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(found) ? found : [];
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

export const add = (message) => save([...list().filter(({ key }) => key !== message.key), message]);
export const remove = (key) => save(list().filter((each) => each.key !== key));
