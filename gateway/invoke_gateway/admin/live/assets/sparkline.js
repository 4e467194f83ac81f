"use strict";
// Sparklines. All have the same width, and their top is the ceiling.
const SVG = "http://www.w3.org/2000/svg";
function makeSpark() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  for (const part of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", part);
    svg.append(path);
  }
  return svg;
}
function drawSpark(svg, history, {steps, step_seconds: seconds}, ceiling) {
  const key = history.join() + "/" + ceiling + "/" + seconds;
  if (svg.drawn === key) return;
  svg.drawn = key;
  const peak = Math.max(0, ...history), scale = Math.max(ceiling, peak, 1), first = steps - history.length;
  svg.setAttribute("viewBox", `0 0 ${steps} 20`);
  let line = "";
  if (peak) history.forEach((level, index) => {
    const y = (19.25 - (level ? Math.max(1, 18.5 * level / scale) : 0)).toFixed(1);
    line += `${index ? "L" : "M"}${first + index} ${y}L${first + index + 1} ${y}`;
  });
  svg.children[1].setAttribute("d", line);
  svg.children[0].setAttribute("d", line ? `${line}L${steps} 20L${first} 20Z` : "");
  const label = `Highest of the last ${Math.round(steps * seconds / 60)} minutes: ${count.format(peak)} of ${count.format(ceiling)}`;
  svg.setAttribute("aria-label", label);
}
