"use strict";
// Draws each chart from the JSON beside it, and sorts tables.
(() => {
  const compact = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (size >= 1e6) return +(value / 1e6).toPrecision(3) + "M";
    if (size >= 1e4) return +(value / 1e3).toPrecision(3) + "k";
    return String(+value.toPrecision(3));
  };
  const style = (name) => getComputedStyle(document.documentElement)
    .getPropertyValue(name).trim();

  // uPlot's series: each line, then the two ends of its band, which stay out of the legend.
  function prepare(chart) {
    const series = [{ label: chart.x_label, value: (_, x) => compact(x) }];
    const data = [chart.x];
    const bands = [];
    const ends = new Map();
    for (const line of chart.series) {
      const colour = line.colour || style("--faint");
      const known = line.values.filter((value) => value != null).length;
      const index = data.push(line.values) - 1;
      series.push({
        label: line.label || "",
        class: line.label ? null : "hidden",
        stroke: colour,
        width: line.thin ? 1 : 2,
        dash: line.dashed ? [6, 4] : undefined,
        points: { show: known === 1, size: 7, fill: colour },
        value: (u, value, _, i) => {
          if (value == null || !line.low || i == null) return compact(value);
          return `${compact(value)} [${compact(line.low[i])}, ${compact(line.high[i])}]`;
        },
      });
      if (!line.low) continue;
      for (const values of [line.high, line.low]) {
        data.push(values);
        series.push({ label: "", class: "hidden", width: 0, points: { show: false } });
      }
      bands.push({ series: [index + 1, index + 2], fill: colour + "33" });
      ends.set(index, [index + 1, index + 2]);
    }
    return { series, data, bands, ends };
  }

  function draw(place) {
    const chart = JSON.parse(place.nextElementSibling.textContent);
    const { series, data, bands, ends } = prepare(chart);
    const axis = {
      stroke: style("--text"),
      grid: { stroke: style("--line"), width: 1 },
      ticks: { stroke: style("--line"), width: 1 },
      values: (_, ticks) => ticks.map(compact),
    };
    place.replaceChildren();
    const plot = new uPlot({
      width: place.clientWidth,
      height: 240,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: chart.x_label, labelSize: 20, size: 36 },
             { ...axis, label: chart.y_label, labelSize: 20, size: 52 }],
      series,
      bands,
      cursor: { points: { size: 6 } },
      hooks: {
        setSeries: [(u, index, options) => {
          for (const end of ends.get(index) || []) {
            if (options.show != null) u.setSeries(end, { show: options.show });
          }
        }],
      },
    }, data, place);
    place.plot = plot;
  }

  const resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (!contentRect.width) continue;
      if (!target.plot) draw(target);
      else if (target.plot.width !== Math.floor(contentRect.width)) {
        target.plot.setSize({ width: Math.floor(contentRect.width), height: 240 });
      }
    }
  });
  const charts = document.querySelectorAll(".chart");
  for (const place of charts) resized.observe(place);  // those in a closed fold wait
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const place of charts) if (place.plot) { place.plot.destroy(); draw(place); }
  });

  function sort(button) {
    const head = button.closest("th");
    const table = head.closest("table");
    const body = table.tBodies[0];
    const ascending = head.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[head.cellIndex];
      return cell.dataset.value === undefined ? cell.textContent : +cell.dataset.value;
    };
    const empty = (value) => value === "";
    const rows = [...body.rows].sort((first, second) => {
      const [a, b] = [key(first), key(second)];
      if (empty(a) || empty(b)) return empty(a) - empty(b);  // the empty ones last
      const order = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b));
      return ascending ? order : -order;
    });
    body.append(...rows);
  }
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button));
  }
})();
