"use strict";
(() => {
  const root = document.documentElement;
  for (const choice of document.querySelectorAll("[data-theme-choice]")) {
    choice.addEventListener("change", () => {
      if (choice.value === "auto") root.removeAttribute("data-theme");
      else root.setAttribute("data-theme", choice.value);
      document.dispatchEvent(new Event("themechange"));
    });
  }

  // Pictures over each other: the left one is cut at the line, the right one lies under it.
  for (const pair of document.querySelectorAll("[data-pair]")) {
    const layers = [...pair.querySelectorAll(".stage img")];
    const line = pair.querySelector(".line");
    const wipe = pair.querySelector("[data-wipe]");
    const flip = pair.querySelector("[data-flip]");
    const left = pair.querySelector("[data-left]");
    const right = pair.querySelector("[data-right]");
    const shown = pair.querySelector("[data-shown]");
    const name = (select) => select.options[select.selectedIndex].text;
    const update = () => {
      const at = Number(wipe.value);
      layers.forEach((layer, number) => {
        const isLeft = number === Number(left.value);
        layer.style.visibility = isLeft || number === Number(right.value) ? "visible" : "hidden";
        layer.style.zIndex = isLeft ? 2 : 1;
        layer.style.clipPath = isLeft && left.value !== right.value ? `inset(0 ${100 - at}% 0 0)` : "none";
      });
      line.style.zIndex = 3;
      line.style.left = `${at}%`;
      line.style.visibility = at === 0 || at === 100 ? "hidden" : "visible";
      const whole = at === 0 ? name(right) : at === 100 ? name(left) : "";
      shown.textContent = whole ? `Shown: ${whole}` : `Left of the line: ${name(left)}. Right: ${name(right)}.`;
      wipe.setAttribute("aria-valuetext", `${at} % ${name(left)}`);
    };
    wipe.addEventListener("input", update);
    for (const list of [left, right]) list.addEventListener("change", update);
    flip.addEventListener("click", () => {
      wipe.value = wipe.value === "100" ? "0" : "100";
      update();
    });
    const strip = pair.querySelector("[data-strip]");
    layers.forEach((layer, number) => {
      if (!strip) return;
      const button = document.createElement("button");
      const picture = document.createElement("img");
      const label = left.options[number].text;
      button.type = "button";
      button.setAttribute("aria-label", `Show ${label} alone`);
      picture.src = layer.src;
      picture.alt = "";
      button.append(picture, label);
      button.addEventListener("click", () => {
        right.value = String(number);
        wipe.value = "0";
        update();
      });
      strip.append(button);
    });
    const stage = pair.querySelector(".stage");
    const drag = (event) => {
      if (event.buttons !== 1 && event.type === "pointermove") return;
      const box = stage.getBoundingClientRect();
      wipe.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
      update();
    };
    stage.addEventListener("pointerdown", (event) => { event.preventDefault(); drag(event); });
    stage.addEventListener("pointermove", drag);
    update();
  }
})();
