// From the data of a page to the lines of a chart.

/** The lines of a chart, over all runs: name, curve, the x columns of its table, and how it looks. */
function linesOf(chart, runs) {
  return runs.flatMap((run, r) => {
    const named = chart.lines.flatMap((line) => {
      const tables = [run.tables.steps, run.tables.evaluations];
      if (!line.metric.endsWith(".*")) {
        const table = tables.find((one) => one.curves[line.metric]);
        return table ? [{ ...line, table }] : [];
      }
      const stem = line.metric.slice(0, -1);
      return tables.flatMap((table) =>
        Object.keys(table.curves)
          .filter((name) => name.startsWith(stem))
          .map((metric) => ({ ...line, metric, table, label: `${line.label} ${metric.slice(stem.length)}`.trim() }))
      );
    });
    if (named.length < chart.at_least) return [];
    return named.map((line, place) => ({
      ...line,
      run: r,
      key: runs.length > 1 ? `run ${r}` : `${chart.key} ${line.metric}`,
      curve: line.table.curves[line.metric],
      evaluated: line.table === run.tables.evaluations,
      stroke: runs.length > 1 ? seriesColor(r) : line.role === "target" ? color("limit") : seriesColor(place),
      dash: line.role === "target" && runs.length === 1 ? [5, 4] : DASHES[(runs.length > 1 ? place : 0) % DASHES.length],
      label: runs.length > 1 ? (named.length > 1 ? `${run.name} · ${line.label}` : run.name) : line.label,
    }));
  });
}

/** Columns of x and of the given values, without the points that have no x; on a log axis only what is above 0. */
function points(line, x, columns, log, at = line.curve.at) {
  const found = [[], ...columns.map(() => [])];
  let last = -Infinity;
  at.forEach((place, i) => {
    const here = line.table.x[x][place];
    if (here === null || here === undefined || here < last) return;
    const next = here === last ? last + 1e-9 * Math.max(1, Math.abs(last)) : here;
    last = next;
    found[0].push(next);
    columns.forEach((column, c) => {
      const value = column[i];
      found[c + 1].push(value === null || (log && value <= 0) ? null : value);
    });
  });
  return found;
}

/** The mean over all records within half a window of steps to both sides; on a log axis the geometric one. */
function smoothed(line, x, steps, log) {
  const source = line.curve.means || line.curve;
  const places = source.at.map((_, i) => i).filter((i) => !log || source.y[i] > 0);
  const rows = places.map((i) => source.at[i]);
  const at = rows.map((place) => line.table.x.step[place]);
  const values = places.map((i) => (log ? Math.log(source.y[i]) : source.y[i]));
  const count = places.map((i) => (source.n ? source.n[i] : 1));
  const means = [];
  let [from, to, sum, n] = [0, 0, 0, 0];
  at.forEach((here) => {
    for (; to < at.length && at[to] <= here + steps / 2; to += 1) [sum, n] = [sum + values[to] * count[to], n + count[to]];
    for (; at[from] < here - steps / 2; from += 1) [sum, n] = [sum - values[from] * count[from], n - count[from]];
    means.push(log ? Math.exp(sum / n) : sum / n);
  });
  return points(line, x, [means], log, rows);
}

/** What uPlot draws: aligned columns, and for each column the line it belongs to and its part. */
function columnsOf(chart, runs, view) {
  const log = isLog(chart, view);
  const lines = linesOf(chart, runs);
  const stacked = chart.stacked && runs.length === 1;
  const tables = [];
  const parts = [];
  lines.forEach((line) => {
    const banded = line.curve.low && line.curve.low.some((value) => value !== null);
    tables.push(points(line, view.x, banded ? [line.curve.y, line.curve.low, line.curve.high] : [line.curve.y], log));
    parts.push({ line, part: "value" });
    if (banded) parts.push({ line, part: "low" }, { line, part: "high" });
    const smooth = chart.smooth && !line.evaluated && line.role === "value" && view.window > 1 && line.curve.at.length > 2;
    line.smooth = smooth;
    if (smooth) {
      tables.push(smoothed(line, view.x, view.window, log));
      parts.push({ line, part: "mean" });
    }
  });
  const data = tables.length ? uPlot.join(tables) : [[]];
  const usual = view.usual && !stacked ? usualRange(data, parts, view) : null;
  return { lines, parts, data: stacked ? pile(data, lines, view) : data, plain: data, stacked, log, usual };
}

/** The range without the lowest and the highest hundredth of the values. */
function usualRange(data, parts, view) {
  const values = parts.flatMap(({ line }, place) => (view.hidden.has(line.key) ? [] : data[place + 1].filter((value) => value !== null && value !== undefined)));
  values.sort((a, b) => a - b);
  return values.length < 50 ? null : [values[Math.floor(values.length * 0.01)], values[Math.ceil(values.length * 0.99) - 1]];
}

/** Each column on top of those before it that are shown; a gap keeps the value before it. */
function pile(data, lines, view) {
  const base = data[0].map(() => 0);
  return data.map((column, c) => {
    if (c === 0 || view.hidden.has(lines[c - 1].key)) return column;
    let last = 0;
    return column.map((value, i) => (base[i] += last = value ?? last));
  });
}

const isLog = (chart, view) => chart.scale !== "linear" && (view.log[chart.key] ?? chart.scale === "log on");

/** The first and the last x of all curves. */
function domain(runs, x) {
  let [low, high] = [0, 0];
  runs.forEach((run) =>
    [run.tables.steps, run.tables.evaluations].forEach((table) =>
      table.x[x].forEach((value) => value !== null && value > high && (high = value))
    )
  );
  return [low, high || 1];
}

/** The position of the nearest value that is there. */
function nearest(column, place) {
  for (let far = 0; far < column.length; far += 1) {
    if (column[place - far] !== null && column[place - far] !== undefined) return place - far;
    if (column[place + far] !== null && column[place + far] !== undefined) return place + far;
  }
  return null;
}
