// Charts that share their x axis, its zoom and the cursor.

const HEIGHT = 230;
const WHOLE = [1, 2, 5].flatMap((n) => [...Array(10).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b);
const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200].concat(WHOLE.map((n) => n * 86400));
const X = { step: "optimizer steps", rollouts: "rollouts generated", seconds: "time" };

/** Ticks of a logarithmic axis: whole decades, or 1, 2 and 5 of each if there are few. */
function decades(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const step = Math.ceil((last - first) / 6);
  const factors = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push(...factors.map((factor) => +`${factor}e${power}`));
  const inside = ticks.filter((value) => value >= low && value <= high);
  return inside.length > 1 ? inside : [low, (low + high) / 2, high].map((value) => +value.toPrecision(2)).filter((value) => value >= low && value <= high);
}

class Charts {
  constructor(view) {
    this.view = view;
    this.figures = new Map();
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.see(entry.target.chart, entry.isIntersecting)), { rootMargin: "300px" });
    this.sized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.chart.resize()));
  }

  /** Show data, keeping zoom, scales and what is hidden. Returns elements by section. */
  show(data) {
    this.runs = data.runs;
    const sections = new Map();
    const kept = new Map();
    data.charts.forEach((declared) => {
      if (!linesOf(declared, this.runs).length) return;
      const chart = this.figures.get(declared.key) || new Figure(this, declared);
      chart.declare(declared, data);
      kept.set(declared.key, chart);
      sections.set(declared.section, [...(sections.get(declared.section) || []), chart.element]);
    });
    this.figures = kept;
    this.redraw();
    return sections;
  }

  see(chart, visible) {
    chart.visible = visible;
    if (visible && chart.dirty) chart.draw();
  }

  redraw(all = false) {
    this.figures.forEach((chart) => {
      chart.dirty = true;
      if (all || chart.visible) chart.draw();
    });
  }

  range() {
    return this.view.zoom || domain(this.runs, this.view.x);
  }

  zoom(range) {
    this.view.zoom = range;
    const [min, max] = this.range();
    this.figures.forEach((chart) => chart.plot && chart.plot.setScale("x", { min, max }));
    byId("reset").disabled = !range;
  }

  toggle(key) {
    if (!this.view.hidden.delete(key)) this.view.hidden.add(key);
    this.redraw();
    document.dispatchEvent(new Event("r2vpo-hidden"));
  }

  /** Move the cursor of all charts to one x; null takes it away. */
  point(x, source) {
    this.figures.forEach((chart) => {
      if (!chart.plot || chart.dirty) return;
      if (chart !== source) chart.plot.setCursor({ left: x === null ? -10 : chart.plot.valToPos(x, "x"), top: 0 }, false);
      chart.values(x !== null);
    });
  }
}

class Figure {
  constructor(charts, declared) {
    this.charts = charts;
    this.plotted = h("div", { class: "plot", tabindex: "0", role: "group", "aria-describedby": `${declared.key}-about` });
    this.plotted.addEventListener("keydown", (event) => this.key(event));
    this.legend = h("ul", { class: "legend" });
    this.where = h("output", { class: "where" });
    this.said = h("p", { class: "said" });
    this.log = h("button", { type: "button", class: "small", onclick: () => this.toggleLog() }, "log");
    this.element = h("figure", { class: "card chart", id: declared.key },
      h("div", { class: "head" }, h("h3", { id: `${declared.key}-title` }, declared.title), this.where, this.log),
      this.legend, this.plotted,
      h("figcaption", { id: `${declared.key}-about` },
        h("p", {}, declared.about), h("p", { class: "healthy" }, h("b", {}, "Healthy: "), declared.healthy), this.said,
        h("p", { class: "metrics" }, "docs/metrics.md: ", ...declared.metrics.flatMap((name) => [h("code", {}, name), " "]))));
    this.element.chart = this;
    this.plotted.chart = this;
    charts.seen.observe(this.element);
    charts.sized.observe(this.plotted);
  }

  declare(declared, data) {
    this.declared = declared;
    this.said.textContent = data.runs.length === 1 ? data.runs[0].said[declared.key] || "" : "";
    this.log.hidden = declared.scale === "linear";
    this.plotted.setAttribute("aria-label", `${declared.title}. Arrow keys move along the curves, plus and minus zoom, Escape resets.`);
  }

  toggleLog() {
    this.charts.view.log[this.declared.key] = !isLog(this.declared, this.charts.view);
    this.draw();
  }

  draw() {
    const { view, runs } = this.charts;
    this.dirty = false;
    this.shown = columnsOf(this.declared, runs, view);
    this.log.setAttribute("aria-pressed", this.shown.log);
    this.log.title = this.shown.log ? "logarithmic axis; values of 0 are not drawn" : "linear axis";
    if (this.plot) this.plot.destroy();
    this.width = this.plotted.clientWidth;
    this.plot = new uPlot(this.options(), this.shown.data, this.plotted);
    this.entries();
    this.values(false);
  }

  options() {
    const { parts, stacked, log } = this.shown;
    const { view } = this.charts;
    const axis = { stroke: color("muted"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const unit = this.declared.unit;
    const [min, max] = this.charts.range();
    return {
      width: Math.max(this.width, 120),
      height: HEIGHT,
      padding: [10, 24, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, min, max, range: (u, low, high) => [low, high] }, y: { distr: log ? 3 : 1, range: (u, low, high) => this.high(low, high, log) } },
      axes: [
        { ...axis, grid: { show: false }, size: 34, space: view.x === "seconds" ? 80 : 60, incrs: view.x === "seconds" ? CLOCK : WHOLE, values: (u, ticks) => tickTexts(ticks, view.x === "seconds" ? "seconds" : "") },
        {
          ...axis,
          ...(unit === "seconds" ? { incrs: CLOCK } : ["rollouts", "staleness"].includes(this.declared.key) || unit === "tokens" ? { incrs: WHOLE } : {}),
          ...(log ? { splits: (u, place, low, high) => decades(low, high), filter: (u, ticks) => ticks } : {}),
          space: 34,
          values: (u, ticks) => tickTexts(ticks, unit, log),
          size: (u, texts) => Math.max(40, ...(texts || []).map((text) => 7 * String(text ?? "").length + 16)),
        },
      ],
      series: [{}, ...parts.map((part) => this.series(part))],
      bands: parts.flatMap(({ line, part }, place) => {
        if (part === "high") return [{ series: [place + 1, place], fill: `${line.stroke}26` }];
        if (stacked && place > 0) return [{ series: [place + 1, place], fill: `${line.stroke}59`, dir: -1 }];
        return [];
      }),
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        dataIdx: (u, series, place) => (series === 0 ? place : nearest(u.data[series], place)),
        points: { show: (u, series) => (["low", "high"].includes(parts[series - 1].part) || parts[series - 1].line.smooth !== (parts[series - 1].part === "mean") ? null : h("div", { class: "dot", style: { background: parts[series - 1].line.stroke } })) },
        bind: { dblclick: () => () => (this.charts.zoom(null), null) },
      },
      hooks: {
        setCursor: [(u) => u.over.matches(":hover") && this.charts.point(u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x"), this)],
        setSelect: [(u) => this.select(u)],
        ready: [(u) => u.over.addEventListener("mouseleave", () => this.charts.point(null, null))],
      },
    };
  }

  series({ line, part }) {
    const { stacked } = this.shown;
    const bound = part === "low" || part === "high";
    const faint = part === "value" && line.smooth;
    return {
      show: !this.charts.view.hidden.has(line.key),
      stroke: bound ? "transparent" : faint ? `${line.stroke}4d` : line.stroke,
      width: bound ? 0 : faint ? 1 : 2,
      dash: faint ? [] : line.dash,
      spanGaps: true,
      fill: stacked && line === this.shown.lines[0] ? `${line.stroke}59` : undefined,
      points: { show: !bound && (line.evaluated ? line.curve.at.length < 80 : line.curve.at.length === 1), size: 6, fill: line.stroke },
    };
  }

  /** The ends of the y axis, from the lowest and the highest value in sight. */
  high(low, high, log) {
    if (this.shown.usual) [low, high] = this.shown.usual;
    if (low === null || low === undefined) return log ? [0.1, 1] : [this.declared.low ?? 0, this.declared.high ?? 1];
    if (log) return low === high ? [low / 2, high * 2] : [low / 1.15, high * 1.15];
    const from = Math.min(low, this.declared.low ?? low);
    const to = Math.max(high, this.declared.high ?? high);
    const room = (to - from || Math.abs(to) || 1) * 0.06;
    const exact = this.declared.high !== null && to === this.declared.high;
    return [this.declared.low !== null && from === this.declared.low ? from - (from === 0 ? 0 : room) : from - room, exact ? to * 1.02 : to + room];
  }

  select(u) {
    if (u.select.width < 5) return;
    const range = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.charts.zoom(range);
  }

  entries() {
    const { hidden } = this.charts.view;
    this.legend.replaceChildren(...this.shown.lines.map((line) => {
      line.value = h("span", { class: "value" });
      const dashed = line.dash.length ? `repeating-linear-gradient(90deg, ${line.stroke} 0 4px, transparent 4px 7px)` : line.stroke;
      return h("li", {}, h("button", { type: "button", "aria-pressed": String(!hidden.has(line.key)), title: line.smooth ? "value (smoothed); click to hide or show" : "click to hide or show", onclick: () => this.charts.toggle(line.key) },
        h("i", { style: { background: dashed } }), h("span", {}, line.label), line.value));
    }));
  }

  /** Write the values at the cursor into the legend, or the last ones. */
  values(atCursor) {
    const { idxs } = this.plot.cursor;
    const here = atCursor && idxs && idxs[0] !== null && idxs[0] !== undefined;
    const end = this.shown.data[0].length - 1;
    this.shown.parts.forEach(({ line, part }, place) => {
      const column = this.shown.plain[place + 1];
      const found = nearest(column, here ? idxs[0] : end);
      const value = found === null ? null : column[found];
      if (part === "value") line.value.textContent = shown(value, this.declared.unit);
      else if (part === "mean") line.value.textContent += ` (${shown(value, this.declared.unit).replace(/ (%|[a-z/]+)$/, "")})`;
      else if (value !== null) line.value.textContent = part === "low" ? `${line.value.textContent} (${shown(value, this.declared.unit).replace(" %", "")}` : `${line.value.textContent} to ${shown(value, this.declared.unit)})`;
    });
    this.where.textContent = here ? this.position(this.shown.data[0][idxs[0]]) : "";
  }

  position(x) {
    return this.charts.view.x === "seconds" ? duration(x) : `${this.charts.view.x === "step" ? "step" : "rollout"} ${whole.format(Math.round(x))}`;
  }

  key(event) {
    const { plot } = this;
    const [xs, { left }] = [plot.data[0], plot.cursor];
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -xs.length, End: xs.length };
    const now = left >= 0 && plot.cursor.idx !== null ? plot.cursor.idx : xs.length;
    if (event.key in moves) {
      const place = Math.min(Math.max(now + moves[event.key] * (event.shiftKey ? 10 : 1), 0), xs.length - 1);
      plot.setCursor({ left: plot.valToPos(xs[place], "x"), top: 0 }, false);
      this.charts.point(xs[place], this);
      byId("spoken").textContent = [this.where.textContent, ...this.shown.lines.map((line) => `${line.label} ${line.value.textContent}`)].join(", ");
    } else if (event.key === "+" || event.key === "-") {
      const [low, high] = this.charts.range();
      const middle = now < xs.length ? xs[now] : (low + high) / 2;
      const [first, last] = domain(this.charts.runs, this.charts.view.x);
      const half = ((high - low) / 2) * (event.key === "+" ? 0.5 : 2);
      const range = [Math.max(middle - half, first), Math.min(middle + half, last)];
      this.charts.zoom(range[1] - range[0] >= last - first ? null : range);
    } else if (event.key === "Escape") {
      this.charts.zoom(null);
      this.charts.point(null, null);
    } else return;
    event.preventDefault();
  }

  resize(width = this.plotted.clientWidth) {
    if (!this.plot || !width || width === this.width) return;
    this.width = width;
    this.plot.setSize({ width, height: HEIGHT });
  }
}
