// Passkeys, asked for in place: a press makes the browser ask for one, and what it answers goes with the form it stands
// in. A form that could take one and holds no code asks by itself when it is sent, so that one press decides.
import { toast } from "./toasts.js";

const CANCELLED = "No passkey was shown, and nothing was sent. Try again, or use a code.";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-passkey]");
  if (!button) return;
  event.preventDefault();
  show(button);
});

// Before htmx hears of it.
document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    const button = form.querySelector("[data-passkey]");
    if (!button || answerOf(button).value || form.elements.factor_code?.value.trim()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    show(button);
  },
  true,
);

async function show(button) {
  const form = button.form;
  const makes = "passkeyMakes" in button.dataset;
  const field = answerOf(button);
  if (!form.reportValidity() || button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    const options = await ask(button.dataset.passkey, form);
    await import(button.dataset.webauthn); // a script that leaves `webauthnJSON` behind
    const answer = await (makes ? webauthnJSON.create(options) : webauthnJSON.get(options));
    field.value = JSON.stringify(answer);
  } catch (error) {
    tell(form, error.sentence || CANCELLED);
    return;
  } finally {
    button.ariaBusy = null;
  }
  form.requestSubmit(form.querySelector("[data-act]"));
  if (form.isConnected && !makes) field.value = ""; // it is good for one answer only
}

// In the form: a notice at the edge would lie behind a dialog.
function tell(form, text) {
  const slot = form.querySelector("[data-error]");
  if (slot) slot.textContent = text;
  else toast("bad", text);
}

function answerOf(button) {
  return button.form.elements["passkeyMakes" in button.dataset ? "made" : "passkey"];
}

async function ask(address, form) {
  const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const answer = await fetch(address, { method: "POST", headers }).catch(() => null);
  if (answer?.ok) return answer.json();
  throw Object.assign(new Error(), { sentence: "The cockpit could not ask for a passkey. Reload the page and try again." });
}
