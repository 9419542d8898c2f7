// The token that the server asks for. It stays in the memory of the page, and a reload asks again.

import { get, signIn } from "./api.js";
import { at } from "./dom.js";

const dialog = at("sign-in");
const form = at("sign-in-form");
let whenIn = null;

/** Ask for a token until the server takes one, then call a function. */
export function askForToken(then) {
  whenIn = then;
  if (!dialog.open) dialog.showModal();
}

// Behind it there is nothing to see without a token.
dialog.addEventListener("cancel", (event) => event.preventDefault());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = at("sign-in-problem");
  problem.hidden = true;
  signIn(form.elements.token.value.trim());
  form.elements.token.value = "";
  try {
    await get("status");
    dialog.close();
    whenIn();
  } catch (error) {
    signIn(null);
    problem.textContent = error.message;
    problem.hidden = false;
  }
});
