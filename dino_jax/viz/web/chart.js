"use strict";
// Values under the pointer, in place of the last ones; without this script those stay.
for (const chart of document.querySelectorAll("figure.chart[data-lines]")) {
  const plot = chart.querySelector("svg.plot");
  const lines = JSON.parse(chart.dataset.lines);
  const [left, right, low, high] = JSON.parse(chart.dataset.axis);
  const where = chart.querySelector(".where");
  const values = [...chart.querySelectorAll(".value")];
  const lasting = [where, ...values].map((part) => part.textContent);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  const box = plot.viewBox.baseVal;
  const title = plot.querySelector("title");
  plot.setAttribute("aria-label", title.textContent);
  title.remove(); // a browser would show it beside the pointer

  const nearest = (xs, x) => {
    let from = 0, to = xs.length - 1;
    while (to - from > 1) {
      const middle = (from + to) >> 1;
      if (xs[middle] <= x) from = middle; else to = middle;
    }
    return x - xs[from] <= xs[to] - x ? from : to;
  };
  const rest = () => {
    cursor.remove();
    [where, ...values].forEach((part, i) => { part.textContent = lasting[i]; });
  };
  const show = (event) => {
    const shown = plot.getBoundingClientRect();
    const place = (event.clientX - shown.left) / shown.width * box.width;
    const pointed = low + (high - low) * Math.min(Math.max((place - left) / (right - left), 0), 1);
    const found = lines.filter(([xs]) => xs.length).map(([xs]) => xs[nearest(xs, pointed)]);
    const x = found.reduce((a, b) => Math.abs(b - pointed) < Math.abs(a - pointed) ? b : a);
    const at = left + (right - left) * (high > low ? (x - low) / (high - low) : 0.5);
    for (const [name, value] of [["x1", at], ["x2", at], ["y1", box.y + 16], ["y2", +chart.dataset.base]])
      cursor.setAttribute(name, value);
    plot.append(cursor);
    where.textContent = `${chart.dataset.x} ${x}`;
    lines.forEach(([xs, texts], i) => {
      const outside = !xs.length || x < xs[0] || x > xs[xs.length - 1];
      values[i].textContent = outside ? "–" : texts[nearest(xs, x)];
    });
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", rest);
}
