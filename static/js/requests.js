// What htmx's requests need beyond htmx: refusals where they belong, expired sessions, a server that is away.
import { toast } from "./toasts.js";

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (new URL(xhr.responseURL, location.href).pathname !== new URL(requestConfig.path, location.href).pathname && isSignIn(xhr)) {
    event.preventDefault();
    location.reload(); // the session has ended: the reload asks for a name and comes back here
    return;
  }
  if (xhr.status < 400) return;
  const refused = xhr.getResponseHeader("HX-Retarget") === "#toasts";
  const refusal = refused && new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector("[data-refusal]");
  const slot = refusal && place(requestConfig.elt, refusal.dataset.field);
  if (slot) {
    event.preventDefault();
    slot.textContent = refusal.querySelector(".state").textContent;
  } else if (refused || xhr.status === 422) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  } else {
    toast("bad", ANSWERS[xhr.status] || "The server could not do that. It stands in its log.");
  }
});

const ANSWERS = {
  403: "You may not do this, or this page was open too long. Reload it and try again.",
  404: "This is not there any more, or not for you to see.",
  429: "Too many requests. Wait a moment and try again.",
};

function isSignIn(xhr) {
  return /\/login\/$/.test(new URL(xhr.responseURL).pathname);
}

// Where a refusal is read: in the dialog that asked, or in the form, with the keyboard in the field that it names; else
// as a notice at the edge.
function place(asked, name) {
  const dialog = asked.closest("dialog[open]");
  if (dialog) return dialog.querySelector("[data-error]");
  const field = name && asked.elements?.namedItem(name);
  const slot = field && asked.querySelector("[data-error]");
  if (slot && field.offsetParent) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
  return slot;
}

document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (!detail.elt.matches("form")) return;
  for (const field of detail.elt.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const slot of detail.elt.querySelectorAll("[data-error]")) slot.textContent = "";
});

// A refresh that fails is what the live indicator is for; an act that fails must be told.
for (const failure of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, ({ detail }) => {
    if (detail.requestConfig?.verb === "get" && detail.requestConfig.triggeringEvent?.type === "live") return;
    const slot = detail.elt.closest("dialog[open]")?.querySelector("[data-error]");
    const text = "The cockpit did not answer. Nothing may have happened; look before you repeat it.";
    if (slot) slot.textContent = text;
    else toast("bad", text);
  });
}
