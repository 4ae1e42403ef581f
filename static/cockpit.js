// The script of every page. Pages work without it; it makes them live and quick. Each part stands in a file of its own.
import "./js/times.js";
import "./js/dialogs.js";
import "./js/toasts.js";
import "./js/requests.js";
import "./js/rows.js";
import "./js/answers.js";
import "./js/passkeys.js";
import "./js/selection.js";
import "./js/scrolling.js";
import "./js/palette.js";
import "./js/preferences.js";
import "./js/charts.js";
import "./js/reading.js";
import "./js/live.js";
