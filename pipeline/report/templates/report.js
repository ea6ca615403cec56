"use strict";

// Filter boxes: a row stays if it has every word.
for (const box of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.querySelectorAll(`#${box.dataset.filters} tbody tr`)];
  const count = document.querySelector(`output[for="${box.id}"]`);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  });
}

// Plots: drawn in the page's colors, and drawn again when those change.
async function loadPlotly(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

const PAPER_WIDTH = 330; // as in the style sheet: nothing resizes a plot on paper

function draw(figures) {
  const onPaper = matchMedia("print").matches;
  const style = getComputedStyle(document.documentElement);
  const painted = figures.replace(/var\((--[a-z-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  for (const [key, figure] of Object.entries(JSON.parse(painted))) {
    if (onPaper) figure.layout.width = PAPER_WIDTH;
    Plotly.react(`plot-${key}`, figure.data, figure.layout, {
      displayModeBar: false,
      responsive: true,
    });
  }
}

async function drawPlots() {
  const figures = document.getElementById("figures").textContent;
  await loadPlotly(document.getElementById("plotly").textContent);
  draw(figures);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => draw(figures));
  }
}

if (document.getElementById("figures")) drawPlots();
