// What the demo shows and predicts: recorded frames, put together as para/website/demo_frames.py
// does, and policies by ONNX Runtime Web. Everything comes from the folder demo/ beside the page.
import * as ort from "../demo/ort.wasm.bundle.min.js";

const HOME = new URL("../demo/", import.meta.url);

export let facts; // demo.json
const sessions = new Map(); // name of a policy -> promise of its session
const sheets = new Map(); // index of a view -> promise of its sheets, and of the empty scene
let pixels; // context of a canvas of one frame
let cache = "default"; // of the browser

// After a failure nothing is taken from the browser's cache.
export function distrust() {
  cache = "reload";
}

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

async function picture(name) {
  const blob = await (await load(name)).blob();
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

function sheet(view) {
  return once(sheets, view, async () => {
    for (const [other, promise] of sheets) {
      if (other === view) continue;
      sheets.delete(other); // a sheet takes some 40 MB of memory
      promise.then((all) => all.forEach((bitmap) => bitmap.close())).catch(() => {});
    }
    const { sheets: names, empty } = facts.views[view];
    return Promise.all([...names, ...(empty ? [empty] : [])].map(picture));
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

// Pixels of a frame of a sheet, four bytes each.
function cell(bitmap, [row, column]) {
  const size = facts.size;
  pixels.drawImage(bitmap, column * size, row * size, size, size, 0, 0, size, size);
  return pixels.getImageData(0, 0, size, size);
}

// Metres of a place of the grid.
export function metres([row, column]) {
  return [facts.x[row], facts.y[column], 0];
}

// The frame with everything at some places: where a sheet's pixels are not the empty scene's, they
// are of what it shows; what is nearer hides what is behind. As an ImageData, and as RGB.
async function frame({ view, places }) {
  const size = facts.size;
  const bitmaps = await sheet(view);
  const picture = cell(bitmaps.at(-1), places.length > 1 ? [0, 0] : places[0]);
  if (places.length > 1) {
    const all = new Uint32Array(picture.data.buffer);
    const empty = all.slice();
    const far = (k) => camera(view, metres(places[k]))[2];
    const order = places.map((_, k) => k).sort((a, b) => far(b) - far(a));
    for (const k of order) {
      const own = new Uint32Array(cell(bitmaps[k], places[k]).data.buffer);
      for (let i = 0; i < all.length; i++) if (own[i] !== empty[i]) all[i] = own[i];
    }
  }
  const rgba = picture.data;
  const rgb = new Uint8Array(size * size * 3);
  for (let i = 0, k = 0; i < rgba.length; i += 4, k += 3) {
    rgb[k] = rgba[i];
    rgb[k + 1] = rgba[i + 1];
    rgb[k + 2] = rgba[i + 2];
  }
  return { picture, rgb };
}

// What a policy plans from the frame of { view, places: [[row, column], ...] }: positions
// [[x, y, z], ...] in metres, gripper [0 | 1, ...], heatmaps (a Float32Array per waypoint) where it
// has some, milliseconds, and the frame.
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
// World point [m] in the camera's axes.
function camera(view, [x, y, z]) {
  const { T_world_camera: T } = facts.views[view];
  const p = [x - T[0][3], y - T[1][3], z - T[2][3]];
  return [0, 1, 2].map((i) => T[0][i] * p[0] + T[1][i] * p[1] + T[2][i] * p[2]);
}

// World point [m] to pixel (u, v): para/camera.py.
export function project(view, point) {
  const c = camera(view, point);
  const h = facts.views[view].intrinsics.map((row) => row[0] * c[0] + row[1] * c[1] + row[2] * c[2]);
  return [h[0] / h[2], h[1] / h[2]];
}
