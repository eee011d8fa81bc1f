// The demo's page: what is dragged, turned and chosen, and how a plan is drawn and told. Nothing of it
// is loaded before it is asked for (site.js).
import { distrust, facts, metres, predict, prepare, project } from "./demo_run.js";

const HEAT = [[43, 10, 61], [123, 31, 107], [216, 66, 79], [249, 160, 63], [255, 246, 201]];
const SVG = "http://www.w3.org/2000/svg";

function heatPicture(heatmap) {
  const side = Math.sqrt(heatmap.length);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const top = heatmap.reduce((a, b) => Math.max(a, b), 1e-12);
  heatmap.forEach((value, i) => {
    const level = Math.sqrt(value / top); // as in the films: faint modes are seen
    const place = Math.min(level * (HEAT.length - 1), HEAT.length - 1.001);
    const [a, b] = [HEAT[Math.floor(place)], HEAT[Math.floor(place) + 1]];
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = a[k] + (b[k] - a[k]) * (place % 1);
    image.data[4 * i + 3] = 255 * 0.75 * Math.min(1, 1.25 * level);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

// ---- Page --------------------------------------------------------------------------------------
class Demo {
  constructor(element) {
    this.element = element;
    const part = (name) => element.querySelector(`[data-demo=${name}]`);
    this.view = part("view").getContext("2d");
    [this.overlay, this.pad, this.side, this.result] =
      ["overlay", "pad", "side", "result"].map(part);
    const across = facts.movers.flatMap((_, k) => [`column${k}`, `row${k}`]);
    this.inputs = Object.fromEntries(
      [...across, "turn", "tilt", "waypoint"].map((name) => [name, part(name)]),
    );
    this.places = facts.start.map((place) => [...place]); // row and column of what is dragged
    this.small = document.createElement("canvas");
    this.small.width = this.small.height = facts.size;
    this.radios = [...element.querySelectorAll("input[type=radio]")];
    this.turns = [...new Set(facts.views.map((v) => v.turn_deg))].sort((a, b) => a - b);
    this.tilts = [...new Set(facts.views.map((v) => v.tilt_deg))].sort((a, b) => a - b);
    this.waypoint = null; // chosen by hand; else the one at which the fingers close
    const set = (name, count, value) => {
      this.inputs[name].max = String(count - 1);
      this.inputs[name].value = String(value);
    };
    this.places.forEach(([row, column], k) => {
      set(`column${k}`, facts.y.length, column);
      set(`row${k}`, facts.x.length, row);
      this.inputs[`row${k}`].addEventListener("input", () => this.slid(k, 0));
      this.inputs[`column${k}`].addEventListener("input", () => this.slid(k, 1));
    });
    set("turn", this.turns.length, this.turns.indexOf(0));
    set("tilt", this.tilts.length, this.tilts.indexOf(0));
    this.inputs.waypoint.addEventListener("input", () => {
      this.waypoint = Number(this.inputs.waypoint.value);
      this.draw();
    });
    for (const name of ["turn", "tilt"]) {
      this.inputs[name].addEventListener("input", () => this.moved());
    }
    for (const radio of this.radios) radio.addEventListener("change", () => this.moved());
    this.layOut();
    this.drag();
  }

  get policy() {
    return this.radios.find((radio) => radio.checked).value;
  }

  get place() {
    const [turn, tilt] = ["turn", "tilt"].map((name) => Number(this.inputs[name].value));
    const view = facts.views.findIndex(
      (v) => v.turn_deg === this.turns[turn] && v.tilt_deg === this.tilts[tilt],
    );
    return { view, places: this.places.map((place) => [...place]) };
  }

  // Where the expert's fingers close, and where they open.
  get marks() {
    return facts.marks.map(({ mover, offset }) => {
      const at = metres(this.places[mover]);
      return offset.map((value, i) => at[i] + value);
    });
  }

  // ---- What is dragged ---------------------------------------------------------------------------
  // On the table, and not in another's place?
  free(k, [row, column]) {
    if (!(row in facts.x) || !(column in facts.y)) return false;
    const [x, y] = metres([row, column]);
    return this.places.every((other, i) => {
      const [ox, oy] = metres(other);
      return i === k || Math.hypot(x - ox, y - oy) >= facts.spacing;
    });
  }

  // Rows (axis 0) or columns on by some; whom it meets it jumps over, or stays where it is.
  step(k, axis, by) {
    const wanted = [...this.places[k]];
    const last = (axis === 0 ? facts.x : facts.y).length - 1;
    wanted[axis] = Math.min(last, Math.max(0, wanted[axis] + by));
    while (wanted[axis] in (axis === 0 ? facts.x : facts.y) && !this.free(k, wanted)) {
      wanted[axis] += Math.sign(by);
    }
    if (this.free(k, wanted)) this.places[k] = wanted;
    this.moved();
  }

  slid(k, axis) {
    const value = Number(this.inputs[`${axis === 0 ? "row" : "column"}${k}`].value);
    this.step(k, axis, value - this.places[k][axis]);
  }

  // To the free place that is nearest to a point [m].
  put(k, x, y) {
    let least = Infinity;
    for (const [row, px] of facts.x.entries()) {
      for (const [column, py] of facts.y.entries()) {
        const away = Math.hypot(px - x, py - y);
        if (away >= least || !this.free(k, [row, column])) continue;
        least = away;
        this.places[k] = [row, column];
      }
    }
    this.moved();
  }

  // From above the robot stands at the top and +y is to the right, as in the picture; centimetres.
  layOut() {
    const [X, Y] = facts.workspace.map((half) => 100 * half);
    const [x0, y0, x1, y1] = facts.trained.map((value) => 100 * value);
    const make = (parent, name, attributes, text = "") => {
      const child = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
      child.textContent = text;
      parent.append(child);
      return child;
    };
    this.make = make;
    const box = (x, y, width, height, kind) =>
      make(this.pad, "rect", { x, y, width, height, class: kind });
    box(-Y, -X, 2 * Y, 2 * X, "table");
    box(y0, x0, y1 - y0, x1 - x0, "trained");
    make(this.pad, "text", { x: (y0 + y1) / 2, y: x1 + 3.2 }, "demonstrations");
    const unseen = y1 < 1 ? Y / 2 : y0 > -1 ? -Y / 2 : 0;
    if (unseen) make(this.pad, "text", { x: unseen, y: x1 + 3.2 }, "none");
    make(this.pad, "text", { x: 0, y: -X - 1.4 }, "robot");
    this.groups = facts.movers.map(({ title, objects }, k) => {
      const group = make(this.pad, "g", {
        class: "objects",
        tabindex: 0,
        role: "group",
        "data-mover": k,
        "aria-label": `${title}. Drag, or move with the arrow keys.`,
        "aria-describedby": "demo-result",
      });
      for (const { radius, colour, offset } of objects.toReversed()) {
        const fill = `rgb(${colour.map((c) => Math.round(255 * c)).join(" ")})`;
        const [cy, cx] = offset.map((value) => 100 * value);
        make(group, "circle", { cx, cy, r: 100 * radius, fill });
      }
      return group;
    });
    this.above = make(this.pad, "g", {});
    make(this.side, "line", { x1: -44, x2: 44, y1: 0, y2: 0, class: "ground" });
    this.beside = make(this.side, "g", {});
  }

  drag() {
    const at = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY);
      const { x, y } = point.matrixTransform(this.pad.getScreenCTM().inverse());
      return [y / 100, x / 100];
    };
    // what is nearest to a point, by its edge
    const nearest = ([x, y]) => {
      const away = facts.movers.map(({ objects }, k) => {
        const [px, py] = metres(this.places[k]);
        const to = ({ offset, radius }) =>
          Math.hypot(x - px - offset[0], y - py - offset[1]) - radius;
        return Math.min(...objects.map(to));
      });
      return away.indexOf(Math.min(...away));
    };
    this.pad.addEventListener("pointerdown", (event) => {
      this.pad.setPointerCapture(event.pointerId);
      this.dragged = nearest(at(event));
      this.groups[this.dragged].focus({ preventScroll: true });
      event.preventDefault(); // or the focus would go elsewhere
      this.put(this.dragged, ...at(event));
    });
    this.pad.addEventListener("pointermove", (event) => {
      if (this.pad.hasPointerCapture(event.pointerId)) this.put(this.dragged, ...at(event));
    });
    const steps = { ArrowLeft: [1, -1], ArrowRight: [1, 1], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.groups.forEach((group, k) => {
      group.addEventListener("keydown", (event) => {
        const step = steps[event.key];
        if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        this.step(k, step[0], step[1] * (event.shiftKey ? 5 : 1));
      });
    });
  }

  // Something is asked for: the last wish is fulfilled, those between are dropped.
  async moved() {
    this.words();
    this.wanted = { policy: this.policy, place: this.place };
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      const { policy, place } = this.wanted;
      this.wanted = null;
      try {
        this.plan = { policy, place, ...(await predict(policy, place)) };
        if (!this.wanted) this.draw();
      } catch (error) {
        this.result.textContent = `This could not be loaded (${error.message}). Try again.`;
      }
    }
    this.busy = false;
  }

  // Sliders in words, objects where they are.
  words() {
    const side = (value, low, high, zero, unit) =>
      value === 0 ? zero : `${Math.abs(value)} ${unit} ${value < 0 ? low : high}`;
    const { turn_deg, tilt_deg } = facts.views[this.place.view];
    const texts = {
      turn: side(turn_deg, "to the left", "to the right", "as in training", "degrees"),
      tilt: side(tilt_deg, "lower", "higher", "as in training", "degrees"),
    };
    this.places.forEach((place, k) => {
      const [x, y] = metres(place).map((value) => Math.round(100 * value));
      texts[`column${k}`] = side(y, "left", "right", "in the middle", "cm");
      texts[`row${k}`] = side(x, "towards the robot", "towards the camera", "in the middle", "cm");
      this.inputs[`row${k}`].value = String(place[0]);
      this.inputs[`column${k}`].value = String(place[1]);
      const [px, py] = metres(place);
      this.groups[k].setAttribute("transform", `translate(${100 * py} ${100 * px})`);
    });
    for (const [name, text] of Object.entries(texts)) {
      this.inputs[name].setAttribute("aria-valuetext", text);
      this.inputs[name].closest("label").querySelector("output").textContent = text;
    }
  }

  draw() {
    const { policy, place, positions, gripper, heatmaps, milliseconds, picture } = this.plan;
    const closing = gripper.findIndex((open) => open < 0.5);
    const k = this.waypoint ?? (closing < 0 ? positions.length - 1 : closing);
    const { title } = facts.policies.find((candidate) => candidate.name === policy);
    this.inputs.waypoint.max = String(positions.length - 1);
    this.inputs.waypoint.value = String(k);
    const what = `${k + 1} of ${positions.length}, fingers ${gripper[k] < 0.5 ? "closed" : "open"}`;
    this.inputs.waypoint.setAttribute("aria-valuetext", what);
    this.inputs.waypoint.closest("label").querySelector("output").textContent = what;
    this.element.style.setProperty("--accent", this.radios.find((r) => r.checked).dataset.colour);
    this.drawView(picture, heatmaps?.[k]);
    this.drawPaths(place, positions, k);
    this.say(title, closing);
    this.element.dataset.shown = [policy, place.view, ...place.places.flat()].join(" ");
  }

  drawView(picture, heatmap) {
    const { canvas } = this.view;
    this.small.getContext("2d").putImageData(picture, 0, 0);
    this.view.imageSmoothingQuality = "high";
    this.view.drawImage(this.small, 0, 0, canvas.width, canvas.height);
    if (heatmap) this.view.drawImage(heatPicture(heatmap), 0, 0, canvas.width, canvas.height);
  }

  drawPaths(place, positions, k) {
    const path = [facts.ee_position, ...positions].filter((p) => p.every(Number.isFinite));
    const line = (parent, points, kind) =>
      this.make(parent, "polyline", { points: points.map((p) => p.join(",")).join(" "), class: kind });
    const draw = (parent, to, unit) => {
      parent.replaceChildren();
      line(parent, path.map((p) => to([p[0], p[1], 0])), "shadow");
      line(parent, path.map(to), "halo");
      line(parent, path.map(to), "path");
      for (const point of path.slice(1)) {
        const [cx, cy] = to(point);
        this.make(parent, "circle", { cx, cy, r: 0.9 * unit, class: "stop" });
      }
      if (positions[k].every(Number.isFinite)) {
        const [cx, cy] = to(positions[k]);
        this.make(parent, "circle", { cx, cy, r: 2 * unit, class: "marked" });
      }
      this.marks.forEach((mark, i) => {
        const [u, v] = to(mark);
        const r = 2.2 * unit;
        const closes = `M${u - r} ${v - r}L${u + r} ${v + r}M${u - r} ${v + r}L${u + r} ${v - r}`;
        const d = i === 0 ? closes : `M${u - r} ${v}H${u + r}M${u} ${v - r}V${v + r}`;
        this.make(parent, "path", { d, class: "halo" });
        this.make(parent, "path", { d, class: "expert" });
      });
    };
    draw(this.overlay, (point) => project(place.view, point), facts.size / 128);
    draw(this.above, ([x, y]) => [100 * y, 100 * x], 0.62);
    draw(this.beside, ([, y, z]) => [100 * y, -100 * z], 0.62);
  }

  say(title, closing) {
    const { positions, gripper, heatmaps, milliseconds } = this.plan;
    const [x0, y0, x1, y1] = facts.trained;
    const known = this.places.map((place) => {
      const [x, y] = metres(place);
      return x0 <= x && x <= x1 && y0 <= y && y <= y1;
    });
    const half = (which) => `in the half ${which} demonstrations`;
    const where =
      new Set(known).size > 1 ? "with objects in both halves" : half(known[0] ? "with" : "without");
    const off = (k, mark) => {
      const distance = Math.hypot(...positions[k].map((value, i) => value - mark[i]));
      return `${Math.round(1000 * distance)} mm`;
    };
    const [closes, opens] = this.marks;
    let found = `${title} never closes the fingers in this plan`;
    if (closing >= 0) {
      found = `${title} closes the fingers ${off(closing, closes)} from where the expert does`;
      const opening = gripper.findIndex((open, k) => k > closing && open >= 0.5);
      if (opens && opening >= 0) found += `, and opens them ${off(opening, opens)} from where it does`;
    }
    const map = heatmaps ? "" : " It has no heatmap: it answers with numbers.";
    this.result.textContent = `${found}, ${where}.${map} (${Math.round(milliseconds)} ms)`;
  }
}

export async function start(element) {
  try {
    await prepare();
    // the first run of a session takes longer; and what cannot run leaves the page as it was
    await predict(facts.policies[0].name, { view: 0, places: facts.start });
  } catch (error) {
    distrust();
    throw error;
  }
  const content = element.querySelector("template").content.cloneNode(true);
  element.querySelector(".demo-start").replaceWith(content);
  const demo = new Demo(element);
  await demo.moved();
  demo.groups[0].focus({ preventScroll: true });
  const rest = facts.policies.slice(1).map(({ name }) => predict(name, demo.place));
  await Promise.allSettled(rest); // so that switching does not wait
}
