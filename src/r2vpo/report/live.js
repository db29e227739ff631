// Keeps an open report up to date: what the run does now, in a bar below, and new data when its records have changed.
// Everything that is open, zoomed or scrolled stays as it is.

const bar = document.createElement("aside");
bar.id = "live";
bar.setAttribute("role", "status");
bar.style.cssText = "position:fixed;inset:auto 0 0 0;padding:.5rem 1rem;font:14px system-ui,sans-serif;" +
  "background:Canvas;color:CanvasText;border-top:1px solid GrayText;z-index:10;display:flex;gap:1rem;align-items:center";
const progress = document.createElement("progress");
progress.style.flex = "1";
const words = document.createElement("span");
bar.append(words, progress);
document.body.append(bar);
document.body.style.paddingBottom = "3rem";

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function show(status) {
  const known = status.of_steps > 0;
  const parts = [status.state === "running" ? `${status.now ?? "starting"} ${status.how_far ?? ""}`.trim() : status.state];
  if (known) parts.push(`step ${status.step} of ${status.of_steps}`);
  if (status.state === "running" && status.seconds_left != null) parts.push(`${duration(status.seconds_left)} left`);
  words.textContent = parts.join(" · ");
  progress.hidden = !known;
  if (known) [progress.max, progress.value] = [status.of_steps, status.step];
  bar.dataset.state = status.state;
}

async function refresh(next) {
  const answer = await fetch("/", { cache: "no-store" });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  const data = new DOMParser().parseFromString(text, "text/html").getElementById("data");
  if (!window.r2vpo?.update || !data) return location.reload();
  const bytes = Uint8Array.from(atob(data.textContent.trim()), (one) => one.charCodeAt(0));
  window.r2vpo.update(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json());
  version = next;
}

async function look() {
  try {
    const status = await (await fetch("/status.json", { cache: "no-store" })).json();
    show(status);
    if (status.version !== version) await refresh(status.version);
  } catch (error) {
    bar.dataset.state = "gone";
    words.textContent = error instanceof TypeError ? "r2vpo watch has ended; this is the last state" : error.message;
  }
  setTimeout(look, 1000);
}

look();
