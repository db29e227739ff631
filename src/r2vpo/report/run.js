// The page of one run or several: reads the data, fills the page, and takes new data by window.r2vpo.update(data).

const view = { x: "step", window: 1, usual: false, zoom: null, hidden: new Set(), log: {} };
let charts;
let browser;
let data;

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent.trim()), (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function update(next) {
  data = next;
  document.title = `${data.title} · R²VPO report`;
  byId("title").textContent = data.title;
  const one = data.runs.length === 1 ? data.runs[0] : null;
  fill("lede", ...(one ? [h("span", { class: one.going ? "state going" : "state" }, one.state), ...one.lede.map((text) => h("span", {}, text))] : []));
  smoothing();
  const sections = charts.show(data);
  const accuracy = sections.get("Result") || [];
  fill("hero", one ? resultCard(one.result) : null, one ? accuracy[0] || emptyCard() : null);
  byId("hero").hidden = !one;
  fill("overlay", one ? null : resultTable(data));
  fill("facts", ...(one ? one.facts.map(([name, value, more]) => h("div", { class: "card" }, h("dt", {}, name), h("dd", {}, value, more && h("small", {}, more)))) : []));
  const rest = one ? accuracy.slice(1) : accuracy;
  sections.delete("Result");
  fill("charts", ...[...(rest.length ? [["Held-out accuracy", rest]] : []), ...sections].map(([name, figures]) =>
    h("section", { "aria-label": name }, h("h2", {}, name), h("div", { class: "figures" }, ...figures))));
  byId("no-charts").hidden = sections.size > 0;
  runButtons();
  drawnRows();
  browser.show(data);
  notes();
  settingRows();
  requestAnimationFrame(() => charts.redraw());
}

function emptyCard() {
  return h("div", { class: "card" }, h("h3", {}, "Held-out accuracy"), h("p", { class: "empty" }, "There is no evaluation yet."));
}

const ends = (accuracy) => (accuracy && accuracy.low !== null ? `95 % interval ${(100 * accuracy.low).toFixed(1)} to ${(100 * accuracy.high).toFixed(1)} %` : "");

function measure(name, accuracy, kind) {
  const at = (share) => `${(100 * share).toFixed(2)}%`;
  const bar = !accuracy ? [] : [h("i", { style: { width: at(accuracy.value) } }), accuracy.low !== null && h("u", { style: { left: at(accuracy.low), width: at(accuracy.high - accuracy.low) } })];
  return h("div", { class: "measure" }, h("span", { class: "name" }, name),
    h("span", { class: "value" }, ...(accuracy ? [h("b", {}, percent(accuracy.value)), h("span", {}, ends(accuracy))] : [h("span", {}, "not evaluated yet")])),
    h("span", { class: `bar ${kind}`, "aria-hidden": "true" }, ...bar));
}

function resultCard({ before, after, after_name: now, gain, by_difficulty: by }) {
  const card = h("div", { class: "card result" }, h("h3", {}, "Accuracy on held-out problems"));
  if (gain) card.append(h("p", { class: "gain" }, signed(gain.value), h("small", {}, " points"), gain.low !== null && h("span", {}, `95 % interval ${signed(gain.low)} to ${signed(gain.high)}, on the same problems`)));
  card.append(measure("before", before, "before"), measure(now, after, "after"));
  if (by.length) {
    card.append(h("div", { class: "scroll" }, h("table", { class: "by-difficulty" },
      h("thead", {}, h("tr", {}, ...["difficulty", "problems", "before", now].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...by.map(([label, was, is]) => h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, String((is || was || {}).n ?? "–")), ...[was, is].map((one) => h("td", { title: ends(one) }, one ? percent(one.value) : "–"))))))));
  }
  return card;
}

const interval = (accuracy) => (accuracy ? [percent(accuracy.value), accuracy.low !== null && h("small", {}, `${(100 * accuracy.low).toFixed(1)} to ${(100 * accuracy.high).toFixed(1)}`)] : ["–"]);
const gained = (gain) => (gain ? [signed(gain.value), gain.low !== null && h("small", {}, `${signed(gain.low)} to ${signed(gain.high)}`)] : ["–"]);

function resultTable({ runs, compared: paired }) {
  const heads = ["run", "state", "before", "now", "gain, points", `against ${runs[0].name}, points`, "rollouts generated", "time"];
  const fact = (run, name) => (run.facts.find(([known]) => known === name) || [])[1] || "–";
  const rows = runs.map((run, r) => [
    [run.state], interval(run.result.before), interval(run.result.after), gained(run.result.gain),
    r === 0 ? ["–"] : paired[r] ? gained(paired[r]) : ["other problems"], [fact(run, "rollouts generated")], [fact(run, "time")],
  ].map((cells) => h("td", {}, ...cells)));
  return h("div", { class: "card scroll" }, h("h3", {}, "Held-out accuracy; small numbers are 95 % intervals, differences are paired over the same problems"),
    h("table", { class: "measures" }, h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...rows.map((cells, r) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: "swatch", style: { background: seriesColor(r) } }), runs[r].name), ...cells)))));
}

/** One button per run, which hides it everywhere. */
function runButtons() {
  const many = data.runs.length > 1;
  fill("runs", ...(many ? data.runs : []).map((run, r) => h("button", { type: "button", class: "run", "aria-pressed": String(!view.hidden.has(`run ${r}`)), onclick: () => charts.toggle(`run ${r}`) },
    h("i", { class: "swatch", style: { background: seriesColor(r) } }), run.name)));
}

function notes() {
  const shownNotes = data.runs.flatMap((run) => run.notes.map((note) => ({ ...note, run: run.name })));
  byId("notes").hidden = !shownNotes.length;
  fill("notes-list", ...shownNotes.map(({ run, kind, step, text }) => h("li", { class: kind }, h("b", {}, kind), step !== null && step !== undefined && h("span", {}, `step ${whole.format(step)}`), h("span", {}, data.runs.length > 1 ? `${run}: ${visible(text)}` : visible(text)))));
  const versions = data.runs.length === 1 ? data.runs[0].versions : [];
  byId("versions").hidden = !versions.length;
  fill("versions-list", ...versions.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** What runs drew from a store, by source and version. */
function drawnRows() {
  const many = data.runs.length > 1;
  const drawn = data.runs.filter((run) => run.stored);
  const named = (run, text) => (many ? `${run.name}: ${text}` : text);
  byId("drawn").hidden = !drawn.length;
  byId("drawn-note").textContent = drawn.flatMap((run) => [run.stored.drawn, run.stored.note].filter(Boolean).map((text) => named(run, visible(text)))).join(" ");
  const heads = [...(many ? ["run"] : []), "source", "version", "age at the start", "rows drawn", "share, first to last", "weight in fresh rollouts", "left out since round"];
  fill("drawn-head", h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text))));
  fill("drawn-rows", ...drawn.flatMap((run) => run.stored.rows.map((row) => h("tr", {}, many && h("td", {}, run.name), h("th", { scope: "row" }, visible(row.source)),
    ...[number(row.version), row.age, number(row.rows), `${percent(row.first)} to ${percent(row.last)}`, number(row.weight), row.left_out_since === null ? "–" : number(row.left_out_since)].map((text) => h("td", {}, text))))));
  byId("drawn-table").hidden = !drawn.some((run) => run.stored.rows.length);
}

function settingRows() {
  const words = byId("setting-search").value.trim().toLowerCase();
  const matches = (texts) => !words || texts.some((text) => text && text.toLowerCase().includes(words));
  if (data.runs.length > 1) {
    const rows = data.differences.filter(([key, values]) => matches([key, ...values]));
    byId("settings-note").textContent = data.differences.length ? "Settings in which these runs differ." : "These runs have the same settings.";
    fill("settings-head", h("tr", {}, h("th", { scope: "col" }, "setting"), ...data.runs.map((run) => h("th", { scope: "col" }, run.name))));
    fill("settings-rows", ...rows.map(([key, values]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, key)), ...values.map((value) => h("td", {}, value)))));
    return;
  }
  const { settings } = data.runs[0];
  const rows = settings.filter((row) => matches([row.key, row.value, row.help]));
  byId("settings-note").textContent = `${settings.filter((row) => row.set).length} of ${settings.length} settings differ from their defaults and come first. ${words ? `${rows.length} found.` : ""}`;
  fill("settings-head", h("tr", {}, ...["setting", "value", "default", "meaning"].map((text) => h("th", { scope: "col" }, text))));
  const all = words || byId("setting-all").checked;
  fill("settings-rows", ...rows.filter((row) => all || row.set).map((row) =>
    h("tr", { class: row.set ? "set" : "" }, h("th", { scope: "row" }, h("code", {}, row.key)), h("td", {}, row.value), h("td", {}, row.default ?? "required"), h("td", { class: "help" }, row.help))));
}

/** The slider is quadratic: fine for short windows, and at most half of the run. */
function smoothing() {
  const steps = Math.max(...data.runs.map((run) => run.tables.steps.x.step.at(-1) || 1));
  view.window = Math.max(1, Math.round((byId("smoothing").value / 100) ** 2 * 0.5 * steps));
  byId("window").textContent = view.window > 1 ? `mean of ${whole.format(view.window)} steps` : "off";
}

/** Colours and widths of the paper while printing. */
function printing(on) {
  document.documentElement.classList.toggle("printing", on);
  charts.figures.forEach((chart) => {
    if (!chart.plot && !on) return;
    chart.draw();
    chart.resize(on ? 320 : undefined);
  });
}

function listen() {
  byId("smoothing").addEventListener("input", () => {
    smoothing();
    charts.redraw();
  });
  byId("x").addEventListener("change", (event) => {
    view.x = event.target.value;
    charts.zoom(null);
    charts.redraw();
  });
  byId("usual").addEventListener("change", (event) => {
    view.usual = event.target.checked;
    charts.redraw();
  });
  byId("reset").addEventListener("click", () => charts.zoom(null));
  byId("setting-search").addEventListener("input", settingRows);
  byId("setting-all").addEventListener("change", settingRows);
  document.addEventListener("r2vpo-hidden", runButtons);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    charts.redraw();
    runButtons();
  });
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));
}

async function start() {
  charts = new Charts(view);
  browser = new Completions();
  listen();
  update(await unpacked("data"));
  window.r2vpo = { update, view };
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  byId("no-charts").hidden = false;
  byId("no-charts").textContent = `This page could not be drawn: ${error}. It needs a browser of 2023 or later.`;
  throw error;
});
