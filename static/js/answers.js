// Choosing an answer puts the cursor where that answer goes on: the reason, the arguments, the outcome. Only where there
// is a keyboard: on a phone it would cover what is being decided. A rejection asks for its reason before it is sent.
const hasKeyboard = matchMedia("(hover: hover)");

function require(form) {
  const { answer, code, reason } = form.elements;
  const always = form.dataset.reason === "always" || answer.value === "ask";
  reason.required = always || (answer.value === "reject" && (!code || code.value === "other")); // a code says enough by itself
}

document.addEventListener("change", (event) => {
  if (event.target.matches(".answers select[name=code]")) require(event.target.form);
  if (!event.target.matches(".answers input[name=answer]")) return;
  const form = event.target.form;
  claim(form);
  const answer = event.target.value;
  require(form);
  if (form.elements.outcome) form.elements.outcome.required = answer === "outcome" && !form.elements.option;
  if (!hasKeyboard.matches) return;
  event.target.focus(); // at once: what somebody is in the middle of is not renewed under their hands
  // Afterwards: the key that chose would be typed into the field that it leads to.
  setTimeout(() => form.querySelector(`[data-first~="${answer}"]`)?.focus());
});

// Who begins to answer claims the question, so that nobody else begins as well.
function claim(form) {
  const { claim: address } = form.dataset;
  if (!address) return;
  delete form.dataset.claim;
  const body = new URLSearchParams({ csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value });
  fetch(address, { method: "POST", body, redirect: "manual" }).catch(() => {}); // a refusal is told when one decides
}

// What was chosen and written stays when the question around it is renewed.
const RENEWED = ["csrfmiddlewaretoken", "request_id", "place", "carried", "digest"];
let begun = null;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const form = detail.requestConfig?.triggeringEvent?.type === "live" ? detail.target?.querySelector?.(".answers") : null;
  begun = form && { address: form.getAttribute("action"), values: [...new FormData(form)].filter(([name]) => !RENEWED.includes(name)) };
});
document.addEventListener("htmx:afterSettle", () => {
  const form = begun && document.querySelector(`.answers[action="${CSS.escape(begun.address)}"]`);
  for (const [name, value] of form ? begun.values : []) {
    if (form.elements[name]) form.elements[name].value = value;
  }
  begun = null;
});
