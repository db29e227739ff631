// Elements, numbers and colours. Texts of a run only ever become text nodes.

function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== "" && child !== false));
  return made;
}

const byId = (id) => document.getElementById(id);
const fill = (id, ...children) => byId(id).replaceChildren(...children.flat().filter(Boolean));

/** A text with control characters, and marks that change the direction of writing, made visible. */
function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (one) => String.fromCharCode(0x2400 + one.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (one) => `[U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function duration(seconds) {
  const s = Math.round(seconds);
  if (Math.abs(seconds) < 10 && s !== seconds) return `${+seconds.toPrecision(3)} s`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s` : `${s / 60} min`;
  const minutes = Math.round(s / 60) % 60;
  const hours = Math.floor(Math.round(s / 60) / 60);
  return minutes ? `${whole.format(hours)} h ${String(minutes).padStart(2, "0")} min` : `${whole.format(hours)} h`;
}

function number(value, digits = 4) {
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return whole.format(value);
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e9)) {
    return value.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  return Math.abs(value) >= 10 ** digits ? whole.format(value) : String(+value.toPrecision(digits));
}

/** A value with its unit, as in a legend. */
function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return `${(100 * value).toFixed(1)} %`;
  if (unit === "seconds") return duration(value);
  return unit ? `${number(value)} ${unit}` : number(value);
}

/** The texts of an axis: all ticks of a linear one have the same unit. */
function tickTexts(ticks, unit, log = false) {
  const largest = Math.max(...ticks.map(Math.abs));
  return ticks.map((value) => {
    if (unit === "share") return `${+(100 * value).toFixed(4)} %`;
    if (unit === "seconds") return duration(value);
    const size = log ? Math.abs(value) : largest;
    if (size >= 1e6 && size < 1e9) return value ? `${+(value / 1e6).toPrecision(4)} M` : "0";
    if (size >= 1e4 && size < 1e6) return value ? `${+(value / 1e3).toPrecision(4)} k` : "0";
    return number(value);
  });
}

const percent = (value) => shown(value, "share");
const signed = (value) => (100 * value).toFixed(1).replace(/^(?!-)/, "+").replace("-", "−");

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const DASHES = [[], [8, 3], [2, 3], [8, 3, 2, 3], [4, 2], [12, 4]];
const seriesColor = (place) => color(`series-${(place % 6) + 1}`);
