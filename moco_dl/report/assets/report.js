"use strict";
// What the page does beyond showing: the divider, the player, and reading frames off the charts.
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  document.documentElement.classList.add("scripted");

  const nearest = (frames, frame) =>
    frames.reduce((best, other, i) => (Math.abs(other - frame) < Math.abs(frames[best] - frame) ? i : best), 0);

  // Calls `report` with the place of the pointer, 0 to 1 from the left of what `extent` gives as [left, width],
  // while it is pressed in `element` or, with `hover`, above it.
  function follow(element, extent, report, hover) {
    const place = (event) => {
      const [left, width] = extent();
      report(Math.min(1, Math.max(0, (event.clientX - left) / width)));
    };
    element.addEventListener("pointerdown", (event) => {
      if (!hover) element.setPointerCapture(event.pointerId);
      place(event);
    });
    element.addEventListener("pointermove", (event) => {
      if (event.buttons || (hover && event.pointerType === "mouse")) place(event);
    });
  }

  function setUpDivider() {
    const picture = find("compare-picture");
    const divider = find("divider");
    const width = picture.viewBox.baseVal.width;
    const show = () => {
      const x = (width * divider.value) / 100;
      find("curtain-opening").setAttribute("width", x);
      find("curtain-edge").setAttribute("x1", x);
      find("curtain-edge").setAttribute("x2", x);
    };
    divider.addEventListener("input", show);
    const extent = () => { // of the image: the picture around it may be wider
      const { a, e } = picture.getScreenCTM();
      return [e, a * width];
    };
    follow(picture, extent, (place) => {
      divider.value = 100 * place;
      show();
    }, false);
    show();
  }

  function setUpMoments() {
    const { frames, columns, size } = data.moments;
    const [height, width] = size;
    const cells = document.querySelectorAll("#moments .cell");
    const slider = find("moment");
    const button = find("play");
    let timer = null;
    const show = () => {
      const i = Number(slider.value);
      const box = `${(i % columns) * width} ${Math.floor(i / columns) * height} ${width} ${height}`;
      cells.forEach((cell) => cell.setAttribute("viewBox", box));
      find("moment-words").textContent = `from frame ${frames[i]}`;
      slider.setAttribute("aria-valuetext", `from frame ${frames[i]}`);
    };
    const play = (on) => {
      clearInterval(timer);
      timer = on ? setInterval(() => { slider.value = (Number(slider.value) + 1) % frames.length; show(); }, 125) : null;
      button.textContent = on ? "Pause" : "Play";
    };
    slider.addEventListener("input", () => { play(false); show(); });
    button.addEventListener("click", () => play(timer === null));
    find("over-reference").addEventListener("change", (event) =>
      find("moments").classList.toggle("mixing", event.target.checked));
    show();
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    still.addEventListener("change", () => { if (still.matches) play(false); });
    if (!still.matches && frames.length > 1) play(true);
  }

  function setUpField(chosen) {
    if (!data.fields) return () => {};
    const slider = find("field-view");
    const uses = document.querySelectorAll("#field use[data-view]");
    const frames = data.fields.map((view) => view.frame);
    const show = () => {
      const view = data.fields[slider.value];
      uses.forEach((use) => use.setAttribute("href", `#${use.dataset.view}${view.frame}`));
      find("field-words").textContent = `frame ${view.frame}: ${view.words}`;
      slider.setAttribute("aria-valuetext", `frame ${view.frame}`);
    };
    slider.addEventListener("input", () => {
      show();
      chosen(frames[slider.value]);
    });
    show();
    return (frame) => {
      slider.value = nearest(frames, frame);
      show();
    };
  }

  function setUpTime() {
    const time = find("time");
    const slider = find("frame");
    const cursors = time.querySelectorAll(".cursor");
    const outputs = time.querySelectorAll("output[data-curve]");
    const bins = data.starts.length;
    const written = (value) =>
      value === null ? "–" : String(Math.abs(value) < 1e-6 ? 0 : Number(value.toPrecision(3))).replace("-", "\u2212");
    const reading = (key, bin) => {
      const { low, high } = data.curves[key];
      return high && low[bin] !== high[bin] ? `${written(low[bin])} to ${written(high[bin])}` : written(low[bin]);
    };
    const binOf = (frame) => {
      let [first, last] = [0, bins - 1];
      while (first < last) {
        const middle = Math.ceil((first + last) / 2);
        if (data.starts[middle] <= frame) first = middle;
        else last = middle - 1;
      }
      return first;
    };
    const show = () => {
      const frame = Number(slider.value);
      const bin = binOf(frame);
      const end = bin + 1 < bins ? data.starts[bin + 1] : data.frames;
      const place = `${(100 * (frame + 0.5)) / data.frames}%`;
      cursors.forEach((cursor) => { cursor.setAttribute("x1", place); cursor.setAttribute("x2", place); });
      const span = end - data.starts[bin] > 1 ? `frames ${data.starts[bin]}–${end - 1}` : `frame ${frame}`;
      const flag = data.flags[bin];
      const words = flag ? `${span}, flagged: ${flag}` : span;
      outputs.forEach((output) => { output.textContent = reading(output.dataset.curve, bin); });
      time.querySelectorAll(".at").forEach((output) => { output.textContent = flag ? `${span}, flagged` : span; });
      find("frame-words").textContent = words;
      const values = [...outputs].map((output) => output.parentNode.textContent.trim());
      slider.setAttribute("aria-valuetext", [words, ...values].join("; "));
      time.classList.add("reading");
    };
    const choose = (frame) => {
      slider.value = frame;
      show();
    };
    const chooseField = setUpField(choose);
    slider.addEventListener("input", () => {
      show();
      chooseField(Number(slider.value));
    });
    const flagged = Object.keys(data.flags).map((bin) => data.starts[bin]).sort((a, b) => a - b);
    const jump = (forward) => {
      const bin = data.starts[binOf(Number(slider.value))];
      const others = forward ? flagged.filter((frame) => frame > bin) : flagged.filter((frame) => frame < bin).reverse();
      if (others.length) { choose(others[0]); chooseField(others[0]); }
    };
    if (flagged.length) {
      find("previous-flag").addEventListener("click", () => jump(false));
      find("next-flag").addEventListener("click", () => jump(true));
    }
    const point = (place) => {
      choose(Math.min(data.frames - 1, Math.floor(place * data.frames)));
      chooseField(Number(slider.value));
    };
    time.querySelectorAll(".plot").forEach((plot) => {
      const extent = () => [plot.getBoundingClientRect().left, plot.clientWidth];
      follow(plot, extent, point, true);
    });
  }

  setUpDivider();
  setUpMoments();
  setUpTime();
})();
