"use strict";
// Completions are put on the page a few at a time: thousands of them stay quick to search and to scroll.
(function () {
  const PAGE = 25;
  const QUESTION = 700;
  const { shared, problems } = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("problems");
  const more = document.getElementById("more");
  const found = document.getElementById("found");
  const search = document.getElementById("search");
  const verdict = document.getElementById("verdict");
  const difficulty = document.getElementById("difficulty-choice");
  let chosen = [];
  let shown = 0;

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function solvedSamples(problem) {
    return problem.a.slice(1).filter((attempt) => attempt[1]).length;
  }

  const VERDICTS = {
    all: () => true,
    right: (problem) => problem.a[0][1],
    wrong: (problem) => !problem.a[0][1],
    mixed: (problem) => solvedSamples(problem) > 0 && solvedSamples(problem) < problem.a.length - 1,
    never: (problem) => problem.a.every((attempt) => !attempt[1]),
    cut: (problem) => problem.a.some((attempt) => !attempt[4]),
    win: (problem) => problem.outcome === "win",
    tie: (problem) => problem.outcome === "tie",
    loss: (problem) => problem.outcome === "loss",
  };

  function contains(problem, words) {
    if (!words) return true;
    // Looked through as they are: a second copy of all the texts would double the memory.
    return (
      problem.q.toLowerCase().includes(words) ||
      problem.right.toLowerCase().includes(words) ||
      problem.a.some((attempt) => attempt[0].toLowerCase().includes(words))
    );
  }

  function attemptCard(attempt, name) {
    const [text, correct, score, tokens, finished] = attempt;
    const card = element("div", "attempt");
    const head = element("h4", "", name);
    head.append(element("span", correct ? "verdict right" : "verdict", correct ? "✓ right" : "✗ wrong"));
    if (score !== 0 && score !== 1) head.append(element("span", "", "score " + Number(score.toPrecision(3))));
    head.append(element("span", "", tokens + (tokens === 1 ? " token" : " tokens")));
    if (!finished) head.append(element("span", "", "cut at the limit"));
    const body = element("pre", "", text);
    body.tabIndex = 0;
    card.append(head, body);
    return card;
  }

  function problemCard(problem) {
    const card = element("article", "card problem");
    const head = element("div", "head");
    head.append(element("span", "", "problem " + problem.n), element("span", "", problem.d));
    if (problem.right) head.append(element("span", "", "answer: " + (problem.right.length > 120 ? problem.right.slice(0, 120) + "…" : problem.right)));
    if (problem.a.length > 1) {
      head.append(element("span", "", solvedSamples(problem) + " of " + (problem.a.length - 1) + " samples right"));
    }
    if (problem.outcome) head.append(element("span", "", problem.outcome + " against the baseline"));
    // The end of a long prompt is what was asked; what all prompts begin with is left to the whole prompt below.
    const asked = element("div", "question", problem.q.length > QUESTION ? "…" + problem.q.slice(-QUESTION) : problem.q);
    card.append(head, asked, attemptCard(problem.a[0], "greedy"));
    const samples = problem.a.length - 1;
    if (samples || shared || problem.q.length > QUESTION) {
      const details = element("details");
      const all = samples === 1 ? "the sample" : "all " + samples + " samples";
      const what = samples ? all + " and the prompt" : "the prompt";
      details.append(element("summary", "", what));
      details.addEventListener("toggle", function open() {
        details.removeEventListener("toggle", open);
        problem.a.slice(1).forEach((attempt, place) => details.append(attemptCard(attempt, "sample " + (place + 1))));
        const prompt = element("div", "attempt");
        prompt.append(element("h4", "", "prompt"), element("pre", "", shared + problem.q));
        details.append(prompt);
      });
      card.append(details);
    }
    return card;
  }

  function showMore() {
    const part = document.createDocumentFragment();
    chosen.slice(shown, shown + PAGE).forEach((problem) => part.append(problemCard(problem)));
    list.append(part);
    shown = Math.min(shown + PAGE, chosen.length);
    more.hidden = shown === chosen.length;
    more.textContent = "show " + Math.min(PAGE, chosen.length - shown) + " more";
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    chosen = problems.filter(
      (problem) =>
        VERDICTS[verdict.value](problem) &&
        (difficulty.value === "" || problem.d === difficulty.value) &&
        contains(problem, words)
    );
    found.textContent = chosen.length + " of " + problems.length + " problems";
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  verdict.addEventListener("change", filter);
  difficulty.addEventListener("change", filter);
  more.addEventListener("click", showMore);
  filter();
})();
