// Fetches the results anew whenever a text has changed; without it, the form's button does.
const form = document.getElementById("texts");
const results = document.getElementById("results");
const status = document.getElementById("status");
const PAUSE = 300; // Milliseconds without a key before a text is worth asking about.

let timer;
let request = new AbortController();

async function refresh() {
  request.abort();
  request = new AbortController();
  const query = new URLSearchParams(new FormData(form));
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`/console/results?${query}`, { signal: request.signal });
    const content = await answer.text();
    if (!answer.ok) throw new Error(content);
    results.innerHTML = content;
    const count = results.querySelectorAll("article").length;
    status.textContent = count ? `Previewed ${count} ${count === 1 ? "text" : "texts"}.` : "";
    history.replaceState(null, "", `/console?${query}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    status.textContent = `No preview: ${error.message}`;
  }
  results.removeAttribute("aria-busy");
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(refresh, PAUSE);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  refresh();
});
