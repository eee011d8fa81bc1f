// The demo: recorded frames, policies by ONNX Runtime Web. Nothing here is loaded before it is asked
// for (site.js), and everything comes from the folder demo/ beside the page.
import * as ort from "../demo/ort.wasm.bundle.min.js";

const HOME = new URL("../demo/", import.meta.url);
const HEAT = [[43, 10, 61], [123, 31, 107], [216, 66, 79], [249, 160, 63], [255, 246, 201]];
const SVG = "http://www.w3.org/2000/svg";

let facts; // demo.json
const sessions = new Map(); // name of a policy -> promise of its session
const sheets = new Map(); // index of a view -> promise of its frames, all in one picture
let pixels; // context of a canvas of one frame
let cache = "default"; // of the browser; after a failure nothing is taken from it

// ---- Files -------------------------------------------------------------------------------------
async function load(name) {
  const response = await fetch(new URL(name, HOME), { cache });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response;
}

// A server may have unpacked it already (Content-Encoding).
async function unpacked(name) {
  const packed = await (await load(name)).arrayBuffer();
  const [first, second] = new Uint8Array(packed, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return packed;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function once(map, key, make) {
  if (!map.has(key)) {
    const promise = make();
    map.set(key, promise);
    promise.catch(() => map.delete(key)); // so that it can be tried again
  }
  return map.get(key);
}

function session(name) {
  return once(sessions, name, async () => {
    const { file } = facts.policies.find((policy) => policy.name === name);
    return ort.InferenceSession.create(await (await load(file)).arrayBuffer(), {
      executionProviders: ["wasm"],
    });
  });
}

function sheet(view) {
  return once(sheets, view, async () => {
    for (const [other, promise] of sheets) {
      if (other === view) continue;
      sheets.delete(other); // a sheet takes some 40 MB of memory
      promise.then((bitmap) => bitmap.close()).catch(() => {});
    }
    const blob = await (await load(facts.views[view].file)).blob();
    return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  });
}

// ---- Prediction --------------------------------------------------------------------------------
export async function prepare() {
  facts = await (await load("demo.json")).json();
  ort.env.wasm.numThreads = 1; // more would need headers that not every server sends
  ort.env.wasm.wasmBinary = await unpacked("ort-wasm-simd-threaded.wasm.gz");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = facts.size;
  pixels = canvas.getContext("2d", { willReadFrequently: true });
  await Promise.all([session(facts.policies[0].name), sheet(0)]);
  return facts;
}

// A frame as an ImageData, and as RGB, size x size x 3.
async function frame({ view, row, column }) {
  const size = facts.size;
  const bitmap = await sheet(view);
  pixels.drawImage(bitmap, column * size, row * size, size, size, 0, 0, size, size);
  const picture = pixels.getImageData(0, 0, size, size);
  const rgba = picture.data;
  const rgb = new Uint8Array(size * size * 3);
  for (let i = 0, k = 0; i < rgba.length; i += 4, k += 3) {
    rgb[k] = rgba[i];
    rgb[k + 1] = rgba[i + 1];
    rgb[k + 2] = rgba[i + 2];
  }
  return { picture, rgb };
}

// What a policy plans from one frame: positions [[x, y, z], ...] in metres, gripper [0 | 1, ...],
// heatmaps (a Float32Array per waypoint) where it has some, milliseconds, and the frame.
export async function predict(name, place) {
  const { size, ee_position, gripper, views } = facts;
  const [{ picture, rgb }, policy] = await Promise.all([frame(place), session(name)]);
  const { intrinsics, T_world_camera } = views[place.view];
  const doubles = (values, dims) => new ort.Tensor("float64", Float64Array.from(values), dims);
  const all = {
    image: new ort.Tensor("uint8", rgb, [1, size, size, 3]),
    intrinsics: doubles(intrinsics.flat(), [1, 3, 3]),
    T_world_camera: doubles(T_world_camera.flat(), [1, 4, 4]),
    ee_position: doubles(ee_position, [1, 3]),
    gripper: doubles([gripper], [1]),
  };
  const feeds = Object.fromEntries(policy.inputNames.map((input) => [input, all[input]]));
  const start = performance.now();
  const found = await policy.run(feeds);
  const milliseconds = performance.now() - start;
  const rows = (tensor) => {
    const count = tensor.dims[1];
    const length = tensor.data.length / count;
    return Array.from({ length: count }, (_, k) => tensor.data.slice(k * length, (k + 1) * length));
  };
  return {
    positions: rows(found.positions).map((position) => [...position]),
    gripper: [...found.gripper_command.data],
    heatmaps: found.heatmaps ? rows(found.heatmaps) : null,
    milliseconds,
    picture,
  };
}

// ---- Geometry ----------------------------------------------------------------------------------
// World point [m] to pixel (u, v): para/camera.py.
export function project(view, [x, y, z]) {
  const { intrinsics: K, T_world_camera: T } = facts.views[view];
  const p = [x - T[0][3], y - T[1][3], z - T[2][3]];
  const c = [0, 1, 2].map((i) => T[0][i] * p[0] + T[1][i] * p[1] + T[2][i] * p[2]);
  const h = K.map((row) => row[0] * c[0] + row[1] * c[1] + row[2] * c[2]);
  return [h[0] / h[2], h[1] / h[2]];
}

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
    this.inputs = Object.fromEntries(
      ["column", "row", "turn", "tilt", "waypoint"].map((name) => [name, part(name)]),
    );
    this.radios = [...element.querySelectorAll("input[type=radio]")];
    this.turns = [...new Set(facts.views.map((v) => v.turn_deg))].sort((a, b) => a - b);
    this.tilts = [...new Set(facts.views.map((v) => v.tilt_deg))].sort((a, b) => a - b);
    this.waypoint = null; // chosen by hand; else the one at which the fingers close
    const set = (name, count, value) => {
      this.inputs[name].max = String(count - 1);
      this.inputs[name].value = String(value);
    };
    set("column", facts.y.length, Math.floor(facts.y.length * 0.25));
    set("row", facts.x.length, Math.floor(facts.x.length * 0.5));
    set("turn", this.turns.length, this.turns.indexOf(0));
    set("tilt", this.tilts.length, this.tilts.indexOf(0));
    for (const [name, input] of Object.entries(this.inputs)) {
      input.addEventListener("input", () => {
        if (name === "waypoint") {
          this.waypoint = Number(input.value);
          this.draw();
        } else this.moved();
      });
    }
    for (const radio of this.radios) radio.addEventListener("change", () => this.moved());
    this.layOut();
    this.drag();
  }

  get policy() {
    return this.radios.find((radio) => radio.checked).value;
  }

  get place() {
    const [column, row, turn, tilt] = ["column", "row", "turn", "tilt"].map((name) =>
      Number(this.inputs[name].value),
    );
    const view = facts.views.findIndex(
      (v) => v.turn_deg === this.turns[turn] && v.tilt_deg === this.tilts[tilt],
    );
    return { column, row, view };
  }

  get objects() {
    const { column, row } = this.place;
    return [facts.x[row], facts.y[column]];
  }

  get grasp() {
    const [x, y] = this.objects;
    return [x + facts.grasp[0], y + facts.grasp[1], facts.grasp[2]];
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
    this.group = make(this.pad, "g", { class: "objects" });
    for (const { radius, colour, offset } of facts.objects.toReversed()) {
      const fill = `rgb(${colour.map((c) => Math.round(255 * c)).join(" ")})`;
      const [cy, cx] = offset.map((value) => 100 * value);
      make(this.group, "circle", { cx, cy, r: 100 * radius, fill });
    }
    this.above = make(this.pad, "g", {});
    make(this.side, "line", { x1: -44, x2: 44, y1: 0, y2: 0, class: "ground" });
    this.beside = make(this.side, "g", {});
  }

  drag() {
    const nearest = (values, wanted) =>
      values.reduce((best, v, i) => (Math.abs(v - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);
    const to = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY);
      const { x, y } = point.matrixTransform(this.pad.getScreenCTM().inverse());
      this.inputs.column.value = String(nearest(facts.y, x / 100));
      this.inputs.row.value = String(nearest(facts.x, y / 100));
      this.moved();
    };
    this.pad.addEventListener("pointerdown", (event) => {
      this.pad.setPointerCapture(event.pointerId);
      to(event);
    });
    this.pad.addEventListener("pointermove", (event) => {
      if (this.pad.hasPointerCapture(event.pointerId)) to(event);
    });
    const steps = { ArrowLeft: ["column", -1], ArrowRight: ["column", 1], ArrowUp: ["row", -1], ArrowDown: ["row", 1] };
    this.pad.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const input = this.inputs[step[0]];
      input.value = String(Number(input.value) + step[1] * (event.shiftKey ? 5 : 1));
      this.moved();
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
    const [x, y] = this.objects.map((value) => Math.round(100 * value));
    const side = (value, low, high, zero, unit) =>
      value === 0 ? zero : `${Math.abs(value)} ${unit} ${value < 0 ? low : high}`;
    const { turn_deg, tilt_deg } = facts.views[this.place.view];
    const texts = {
      column: side(y, "left", "right", "in the middle", "cm"),
      row: side(x, "towards the robot", "towards the camera", "in the middle", "cm"),
      turn: side(turn_deg, "to the left", "to the right", "as in training", "degrees"),
      tilt: side(tilt_deg, "lower", "higher", "as in training", "degrees"),
    };
    for (const [name, text] of Object.entries(texts)) {
      this.inputs[name].setAttribute("aria-valuetext", text);
      this.inputs[name].closest("label").querySelector("output").textContent = text;
    }
    const [px, py] = this.objects;
    this.group.setAttribute("transform", `translate(${100 * py} ${100 * px})`);
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
    this.say(title, closing, positions, heatmaps, milliseconds);
    this.element.dataset.shown = `${policy} ${place.row} ${place.column} ${place.view}`;
  }

  drawView(picture, heatmap) {
    const { canvas } = this.view;
    pixels.putImageData(picture, 0, 0);
    this.view.imageSmoothingQuality = "high";
    this.view.drawImage(pixels.canvas, 0, 0, canvas.width, canvas.height);
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
      const [u, v] = to(this.grasp);
      const r = 2.2 * unit;
      const d = `M${u - r} ${v - r}L${u + r} ${v + r}M${u - r} ${v + r}L${u + r} ${v - r}`;
      this.make(parent, "path", { d, class: "halo" });
      this.make(parent, "path", { d, class: "expert" });
    };
    draw(this.overlay, (point) => project(place.view, point), facts.size / 128);
    draw(this.above, ([x, y]) => [100 * y, 100 * x], 0.62);
    draw(this.beside, ([, y, z]) => [100 * y, -100 * z], 0.62);
  }

  say(title, closing, positions, heatmaps, milliseconds) {
    const [x, y] = this.objects;
    const [x0, y0, x1, y1] = facts.trained;
    const known = x0 <= x && x <= x1 && y0 <= y && y <= y1;
    const where = known ? "in the half with demonstrations" : "in the half without demonstrations";
    let found = `${title} never closes the fingers in this plan`;
    if (closing >= 0) {
      const distance = Math.hypot(...positions[closing].map((value, i) => value - this.grasp[i]));
      found = `${title} closes the fingers ${Math.round(1000 * distance)} mm from where the expert does`;
    }
    const map = heatmaps ? "" : " It has no heatmap: it answers with numbers.";
    this.result.textContent = `${found}, ${where}.${map} (${Math.round(milliseconds)} ms)`;
  }
}

export async function start(element) {
  try {
    await prepare();
    // the first run of a session takes longer; and what cannot run leaves the page as it was
    await predict(facts.policies[0].name, { view: 0, row: 0, column: 0 });
  } catch (error) {
    cache = "reload";
    throw error;
  }
  const content = element.querySelector("template").content.cloneNode(true);
  element.querySelector(".demo-start").replaceWith(content);
  const demo = new Demo(element);
  await demo.moved();
  element.querySelector("[data-demo=pad]").focus({ preventScroll: true });
  const rest = facts.policies.slice(1).map(({ name }) => predict(name, demo.place));
  await Promise.allSettled(rest); // so that switching does not wait
}
