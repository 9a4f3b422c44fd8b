"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const clock = (seconds) => {
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  };
  const element = (tag, text) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const facts = (list, pairs) => list.replaceChildren(...pairs.map(([name, value]) => {
    const row = element("div");
    row.append(element("dt", name), element("dd", String(value)));
    return row;
  }));
  const meters = (place, pairs) => place.replaceChildren(...pairs.map(([name, share, told]) => {
    const label = element("label", `${name}: ${told}`);
    const meter = element("meter");
    meter.value = share;
    label.append(meter);
    return label;
  }));
  const megabytes = (size) => `${Math.round(size / 1048576)} MB`;
  let shown = 0;

  const show = (state) => {
    const done = by("done");
    if (state.done === null) done.removeAttribute("value");
    else done.value = state.done;
    facts(by("facts"), [
      ["Done", state.done === null ? "the length is not known" : `${(100 * state.done).toFixed(1)} %`],
      ["Time to go", state.remaining === null ? "not known" : clock(state.remaining)],
      ["Speed", state.speed === null ? "not known" : `${state.speed.toPrecision(3)} times as fast as it plays`],
      ["Output so far", clock(state.out_time)],
      ["Working for", clock(state.elapsed)],
      ...Object.entries(state.frames),
      ...Object.entries(state.engines).map(([name, count]) => [`interpolated by ${name}`, count]),
    ]);
    meters(by("load"), Object.entries(state.load).map(([name, share]) => [name, share, `${Math.round(100 * share)} %`]));
    by("bottleneck").textContent = state.bottleneck ? `The others wait for ${state.bottleneck}.`
      : "Of each worker, on average.";
    const { in_use: used, set_aside: aside } = state.memory;
    if (used !== null && aside) meters(by("memory"), [["In use", Math.min(used / aside, 1), `${megabytes(used)} of ${megabytes(aside)} that are set aside`]]);
    else by("memory").textContent = used === null ? "What is in use is not known." : `In use by this process: ${megabytes(used)}.`;
    const rows = [...Object.entries(state.segments).map(([what, count]) => [`segments ${what}`, count]),
      ...Object.entries(state.workers).map(([name, count]) => [`made by ${name}`, count])];
    if (rows.length) {
      const list = element("dl");
      list.className = "facts";
      facts(list, rows);
      by("workers").replaceChildren(element("h3", "Segments"), list);
    }
    if (state.pair !== shown && state.newest) {
      shown = state.pair;
      by("no-pair").hidden = true;
      by("pair").hidden = false;
      const [before, made] = by("pair").querySelectorAll(".stage img");
      before.src = `/before.jpg?${shown}`;
      made.src = `/interpolated.jpg?${shown}`;
      const estimate = state.newest.psnr_db === null ? "" : `; ${state.newest.psnr_db} dB expected`;
      by("pair-facts").textContent = `Source frame at ${state.newest.times[0].toFixed(3)} s, interpolated at `
        + `${state.newest.times[1].toFixed(3)} s by ${state.newest.engine}${estimate}`;
    }
  };
  const say = (text) => { if (by("state").textContent !== text) by("state").textContent = text; };
  const look = async () => {
    try {
      const answer = await fetch("/state.json");
      const state = await answer.json();
      if (state.frames) {
        show(state);
        say("Working.");
      }
      setTimeout(look, 1000);
    } catch {
      say("The run has ended, or its process is gone. What stands here is the last that it told.");
    }
  };
  look();
})();
