"use strict";
(() => {
  const holder = document.getElementById("timeline-data");
  const places = [...document.querySelectorAll("[data-plot]")];
  if (!holder || !places.length || typeof uPlot === "undefined") return;
  const data = JSON.parse(holder.textContent);
  const slider = document.querySelector("[data-moment]");
  const reading = document.querySelector("[data-reading]");
  const names = Object.keys(data.made);
  const kinds = Object.keys(data.events);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const series = (at) => color(`--series-${(at % 5) + 1}`);
  const clock = (seconds) => {
    const whole = Math.floor(Math.max(seconds, 0));
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    return (hours ? `${hours}:` : "") + `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  };
  const tick = (seconds, step) => clock(seconds) + (step < 1 ? (seconds % 1).toFixed(1).slice(1) : "");
  const edges = [...data.x, data.x[data.x.length - 1] + data.width];
  const held = (values) => [...values, values[values.length - 1]];

  const axes = (labels) => {
    const line = { stroke: color("--edge"), width: 1 };
    const common = { stroke: color("--front"), grid: line, ticks: line, font: "12px system-ui, sans-serif" };
    return [
      { ...common, values: (_, all) => all.map((each) => tick(each, all[1] - all[0])), space: 70, size: 34 },
      { ...common, size: labels ? Math.min(150, 12 + 7 * Math.max(...kinds.map((kind) => kind.length))) : 44,
        ...(labels ? { splits: () => kinds.map((_, at) => at), values: () => kinds } : {}) },
    ];
  };
  const steps = uPlot.paths.stepped({ align: 1 });
  const filled = (at) => ({ stroke: series(at), fill: series(at), width: 1, paths: steps, points: { show: false } });
  const line = (at, width) => ({ stroke: series(at), width, paths: steps, points: { show: false }, spanGaps: false });

  const contents = {
    made() {  // stacked: the highest sum is drawn first, and covered by the lower ones
      const all = data.x.map((_, at) => names.reduce((sum, name) => sum + data.made[name][at], 0) || 1);
      let sum = data.x.map(() => 0);
      const stacked = names.map((name) => (sum = sum.map((value, at) => value + (100 * data.made[name][at]) / all[at])));
      return { series: names.map((_, at) => filled(at)).reverse(), values: stacked.map(held).reverse(), range: [0, 100] };
    },
    quality: () => ({ series: [line(0, 2), line(1, 1)], values: [held(data.mean), held(data.min)] }),
    difficulty: () => ({ series: [line(3, 1.5)], values: [held(data.difficulty)], range: [0, 1] }),
    events: () => ({
      series: kinds.map((_, at) => ({ stroke: series(at), paths: () => null, points: { show: true, size: 7, width: 0, fill: series(at) } })),
      values: kinds.map((kind, at) => held(data.events[kind].map((count) => (count ? at : null)))),
      range: [-0.5, kinds.length - 0.5], labels: true,
    }),
  };

  let plots = [];
  const tell = (at) => {
    const parts = names.filter((name) => data.made[name][at]).map((name) => `${name} ${data.made[name][at]}`);
    const told = [`${clock(data.x[at])} to ${clock(data.x[at] + data.width)}: frames: ${parts.join(", ") || "none"}`];
    if (data.mean[at] !== null) told.push(`expected ${data.mean[at]} dB, the worst ${data.min[at]} dB`);
    if (data.difficulty[at] !== null) told.push(`difficulty up to ${data.difficulty[at]}`);
    const happened = kinds.filter((kind) => data.events[kind][at]).map((kind) => `${kind} ${data.events[kind][at]}`);
    if (happened.length) told.push(happened.join(", "));
    reading.textContent = `${told.join("; ")}.`;
    slider.setAttribute("aria-valuetext", clock(data.x[at]));
  };
  const show = (at, moved) => {
    tell(at);
    for (const plot of plots) {
      if (plot !== moved) plot.setCursor({ left: plot.valToPos(data.x[at] + data.width / 2, "x"), top: 0 }, false);
    }
  };
  const pointed = (plot) => {
    if (plot.cursor.left < 0 || !plot.over.matches(":hover")) return;
    const at = Math.floor((plot.posToVal(plot.cursor.left, "x") - data.x[0]) / data.width);
    const place = Math.min(Math.max(at, 0), data.x.length - 1);
    slider.value = String(place);
    show(place, plot);
  };
  const draw = () => {
    for (const plot of plots) plot.destroy();
    plots = places.map((place) => {
      const content = contents[place.dataset.plot]();
      const high = place.dataset.plot === "events" ? 50 + 22 * kinds.length : 170;
      return new uPlot({
        width: place.clientWidth, height: high, legend: { show: false }, select: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: false }, y: content.range ? { range: () => [content.range[0], content.range[1]] } : {} },
        axes: axes(content.labels), series: [{}, ...content.series],
        hooks: { setCursor: [pointed] },
      }, [edges, ...content.values], place);
    });
    tell(Number(slider.value));
    queueMicrotask(() => show(Number(slider.value)));  // once uPlot has laid them out
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  draw();
})();
