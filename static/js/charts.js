// Draws the charts of a page. Plotly (4.8 MB) is fetched only where there is one; its colours are the page's tokens.
let plotly = null;

function load(address) {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return plotly;
}

// Plotly reads no oklch() and no light-dark(): a pixel painted with the token tells its colour.
function colour(token) {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return `rgb(${red}, ${green}, ${blue})`;
}

function look() {
  const [ink, muted, line, surface] = ["--ink", "--muted", "--line", "--raised"].map(colour);
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { color: muted }, automargin: true };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    colorway: [1, 2, 3, 4, 5, 6].map((place) => colour(`--series-${place}`)),
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 8, t: 8, b: 8 }, xaxis: { ...axis, showgrid: false }, yaxis: axis, bargap: 0.25,
    legend: { orientation: "h", traceorder: "normal", y: -0.2, font: { color: muted } }, hovermode: "x unified",
    hoverlabel: { bgcolor: surface, bordercolor: line, font: { color: ink } },
  };
}

function merged(base, own) {
  const both = { ...base };
  for (const [name, value] of Object.entries(own || {})) {
    const isPlain = value && typeof value === "object" && !Array.isArray(value);
    both[name] = isPlain ? merged(base[name] || {}, value) : value;
  }
  return both;
}

async function draw(frame) {
  const { data, layout } = JSON.parse(document.getElementById(frame.dataset.chart).textContent);
  const library = await load(frame.dataset.plotly);
  for (const trace of data) if (trace.error_y) trace.error_y.color = colour("--ink");
  for (const trace of data) if (trace.meta === "mark") trace.line.color = colour("--ink"); // it is read against all others
  await library.react(frame, data, merged(look(), layout), { displayModeBar: false, responsive: true });
  delete frame.dataset.failed;
}

function drawAll(within) {
  within.querySelectorAll("[data-chart]").forEach((frame) => draw(frame).catch((error) => {
    frame.dataset.failed = "";
    console.warn("A chart could not be drawn:", error);
  }));
}

drawAll(document);
document.addEventListener("htmx:load", ({ detail }) => detail.elt !== document.body && drawAll(detail.elt));
document.addEventListener("themed", () => drawAll(document));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
