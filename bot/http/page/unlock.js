// The dialog that asks for the token.

import { find } from "./dom.js";
import * as outbox from "./outbox.js";
import { token } from "./stream.js";

const locked = new Set(); // callbacks for when there is a token

/** Asks for the token, and calls `then` once there is one. */
export function unlock(then) {
  locked.add(then);
  find("token-problem").hidden = !token.get();
  if (!find("token-dialog").open) find("token-dialog").showModal();
}

find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(find("token").value.trim());
  find("token").value = "";
  find("token-dialog").close();
  find("sign-out").hidden = false;
  const waiting = [...locked];
  locked.clear();
  waiting.forEach((then) => then());
});
find("sign-out").hidden = !token.get();
find("sign-out").addEventListener("click", () => {
  token.forget();
  outbox.clear(); // another caller's messages are not sent
  location.reload();
});
