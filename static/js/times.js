// Keeps ages, countdowns and the clock true. The wording is that of `age` and `left` in templatetags/formatting.py.
const NBSP = "\u00a0";
const UNITS = [["d", 86400, 172800], ["h", 3600, 3600], ["min", 60, 60]];

export function coarse(seconds) {
  const [unit, size] = UNITS.find(([, , from]) => seconds >= from) || ["s", 1];
  return `${Math.floor(seconds / size)}${NBSP}${unit}`;
}

export function countdown(seconds) {
  if (seconds <= 0) return "overdue";
  if (seconds >= 3600) return coarse(seconds);
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

const WORDING = {
  age(passed) {
    return passed < -1 ? `in${NBSP}${coarse(-passed)}` : `${coarse(Math.max(passed, 0))}${NBSP}ago`;
  },
  "age-bare": (passed) => coarse(Math.abs(passed)),
  left: (passed) => countdown(-passed),
  "left-happens": (passed) => (passed < 0 ? countdown(-passed) : "now"),
};

// The server's clock is the one that counts: the stream says by how much this machine's is off.
let skew = 0;

export function correct(milliseconds) {
  if (Math.abs(milliseconds - skew) > 1_500) skew = milliseconds;
}

function renew() {
  const now = Date.now() + skew;
  for (const time of document.querySelectorAll("time[data-time]")) {
    const passed = (now - Date.parse(time.dateTime)) / 1000;
    const text = WORDING[time.dataset.time](passed);
    if (time.textContent !== text) time.textContent = text;
    if (time.dataset.time === "left") time.classList.toggle("late", passed > -60);
  }
  const zone = document.body.dataset.zone;
  for (const clock of document.querySelectorAll("[data-clock]")) {
    clock.textContent = new Date(now).toLocaleTimeString("en-GB", { timeZone: zone });
  }
}

renew();
setInterval(renew, 1000);
