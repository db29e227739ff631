// The completions of two evaluations side by side, with what has changed between them.

const PAGE = 12;
const QUESTION = 600;
const MOST_WORDS = 1500;
const VERDICTS = {
  all: () => true,
  solved: (a, b) => b && b.correct,
  unsolved: (a, b) => b && !b.correct,
  gained: (a, b) => a && b && !a.correct && b.correct,
  lost: (a, b) => a && b && a.correct && !b.correct,
  changed: (a, b) => a && b && a.text !== b.text,
  cut: (a, b) => b && b.finished === false,
};

class Completions {
  constructor() {
    this.open = new Set();
    this.most = PAGE;
    let waiting;
    byId("search").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.filter(), 120);
    });
    ["from", "to", "verdict", "difficulty-choice"].forEach((id) => byId(id).addEventListener("change", () => this.filter()));
    byId("differences").addEventListener("change", () => this.list());
    byId("more").addEventListener("click", () => {
      this.most += PAGE;
      this.list();
    });
  }

  show(data) {
    this.data = data.completions;
    this.evaluations = data.runs.flatMap((run, r) =>
      this.data.runs[r].map((evaluation, e) => ({ ...evaluation, ...this.result(run, e), run: r, name: `${data.runs.length > 1 ? `${run.name}, ` : ""}step ${whole.format(evaluation.step)}` }))
    );
    this.evaluations.forEach((one) => {
      one.by = new Map((one.made || []).map(([problem, text, correct, score, tokens, finished]) => [problem, { text, correct, score, tokens, finished }]));
    });
    const kept = this.evaluations.filter((one) => one.by.size);
    byId("completions-empty").hidden = kept.length > 0;
    byId("completions-body").hidden = !kept.length;
    if (!kept.length) return;
    this.choose("from", kept, kept[0]);
    this.choose("to", kept, kept.at(-1));
    const labels = [...new Set(this.data.problems.map(([, , difficulty]) => difficulty))].filter(Boolean).sort();
    const chosen = byId("difficulty-choice").value;
    fill("difficulty-choice", h("option", { value: "" }, "every difficulty"), ...labels.map((label) => h("option", { value: label }, label)));
    byId("difficulty-choice").value = labels.includes(chosen) ? chosen : "";
    const left = this.evaluations.filter((one) => one.made === null).length;
    byId("left-out").textContent = left ? `To keep this page small, it has the completions of ${kept.length} of ${this.evaluations.length} evaluations, with the first and the last; evaluations.jsonl has all of them.` : "";
    byId("shots").hidden = !this.data.shared;
    byId("shots-text").textContent = visible(this.data.shared);
    this.filter();
  }

  result(run, e) {
    const { at, y } = run.tables.evaluations.curves.accuracy || { at: [], y: [] };
    return { accuracy: y[at.indexOf(e)] ?? null };
  }

  /** Offer evaluations; whoever looks at the first or the last one stays there when there is another. */
  choose(id, kept, usual) {
    const select = byId(id);
    const followed = select.value === "" || select.value === select.dataset.usual;
    const name = (one) => `${one.run}:${one.step}`;
    const value = followed ? name(usual) : select.value;
    select.replaceChildren(...kept.map((one) => h("option", { value: name(one) }, one.accuracy === null ? one.name : `${one.name} · ${percent(one.accuracy)}`)));
    select.value = kept.some((one) => name(one) === value) ? value : name(usual);
    select.dataset.usual = name(usual);
    this[id] = () => kept.find((one) => name(one) === select.value);
  }

  filter() {
    const [a, b] = [this.from(), this.to()];
    const words = byId("search").value.trim().toLowerCase();
    const difficulty = byId("difficulty-choice").value;
    const wanted = VERDICTS[byId("verdict").value];
    const all = this.data.problems.map((problem, n) => [problem, a.by.get(n), b.by.get(n), n]).filter(([, one, other]) => one || other);
    this.chosen = all.filter(([[prompt, answer, label], one, other]) =>
      wanted(one, other) && (!difficulty || label === difficulty) &&
      (!words || [prompt, answer, one && one.text, other && other.text].some((text) => text && text.toLowerCase().includes(words))));
    byId("found").textContent = `${this.chosen.length} of ${all.length} problems`;
    byId("between").replaceChildren(...this.between(a, b));
    this.most = PAGE;
    this.list();
  }

  between(a, b) {
    if (a === b) return [`${a.name}: ${percent(a.accuracy)} solved.`];
    const said = [h("b", {}, a.name), ` ${percent(a.accuracy)} → `, h("b", {}, b.name), ` ${percent(b.accuracy)}`];
    if (a.correct.length && a.correct.length === b.correct.length && a.run === b.run) {
      const changed = (was, is) => [...a.correct].filter((one, n) => one === was && b.correct[n] === is).length;
      said.push(`. Of ${whole.format(a.correct.length)} held-out problems, ${whole.format(changed("0", "1"))} are newly solved and ${whole.format(changed("1", "0"))} no longer`);
    }
    return [...said, "."];
  }

  list() {
    const shownNow = this.chosen.slice(0, this.most);
    fill("problems", ...shownNow.map((one) => this.card(...one)));
    byId("more").hidden = this.most >= this.chosen.length;
    byId("more").textContent = `show ${Math.min(PAGE, this.chosen.length - this.most)} more`;
  }

  card([prompt, answer, difficulty], a, b, n) {
    const [from, to] = [this.from(), this.to()];
    const asked = visible(prompt.trim());
    const long = asked.length > QUESTION;
    const compare = from !== to && a && b;
    const [was, is] = compare && byId("differences").checked ? compared(a.text, b.text) : [a && [visible(a.text)], b && [visible(b.text)]];
    const reward = compare && typeof a.score === "number" && typeof b.score === "number" && a.score !== b.score ? `reward ${number(a.score)} → ${number(b.score)}` : "";
    const details = (long || this.data.shared) && h("details", { open: this.open.has(n), ontoggle: (event) => this.opened(event.target, n, prompt) }, h("summary", {}, "the whole prompt"));
    return h("article", { class: "card problem" },
      h("div", { class: "about" }, difficulty && h("span", {}, visible(difficulty)), answer && h("span", {}, `answer: ${visible(answer.length > 120 ? `${answer.slice(0, 120)}…` : answer)}`), reward && h("span", { class: "change" }, reward)),
      h("p", { class: "question" }, long ? `…${asked.slice(-QUESTION)}` : asked),
      h("div", { class: from === to ? "" : "pair" }, from !== to && this.attempt(from.name, a, was), this.attempt(to.name, b, is)),
      details);
  }

  attempt(name, made, words) {
    if (!made) return h("div", {}, h("h4", {}, name), h("p", { class: "empty" }, "not kept for this evaluation"));
    return h("div", {},
      h("h4", {}, name, h("span", { class: made.correct ? "verdict right" : "verdict" }, made.correct ? "✓ solved" : "✗ not solved"),
        typeof made.score === "number" && h("span", {}, `reward ${number(made.score)}`),
        typeof made.tokens === "number" && h("span", {}, `${whole.format(made.tokens)} ${made.tokens === 1 ? "token" : "tokens"}`),
        made.finished === false && h("span", { class: "verdict" }, "truncated")),
      h("pre", { tabindex: "0", dir: "auto" }, ...words));
  }

  opened(details, n, prompt) {
    if (!details.open) return this.open.delete(n);
    this.open.add(n);
    if (details.children.length === 1) details.append(h("pre", { tabindex: "0", dir: "auto" }, visible(this.data.shared + prompt)));
  }
}

/** Both texts as words, with those that only one of them has marked: the longest common subsequence. */
function compared(first, second) {
  const [a, b] = [first, second].map((text) => visible(text).match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || []);
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) return [[visible(first)], [visible(second)]];
  const wide = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * wide + j] = a[i] === b[j] ? longest[(i + 1) * wide + j + 1] + 1 : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
    }
  }
  const [was, is] = [[], []];
  let [i, j] = [0, 0];
  const add = (list, word, tag) => {
    const last = list.at(-1);
    if (last && last.tag === tag) last.words.push(word);
    else list.push({ tag, words: [word] });
  };
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(was, a[i], null);
      add(is, b[j], null);
      [i, j] = [i + 1, j + 1];
    } else if (j === b.length || (i < a.length && longest[(i + 1) * wide + j] >= longest[i * wide + j + 1])) add(was, a[i++], "del");
    else add(is, b[j++], "ins");
  }
  return [was, is].map((list) => list.map(({ tag, words }) => (tag ? h(tag, {}, words.join("")) : words.join(""))));
}
