// Theme switch, videos in step, tables that sort, buttons that copy. The page is complete without.
"use strict";

const root = document.documentElement;
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// ---- Theme (early.js has set the one that was chosen before) ------------------------------------
const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.querySelector("#theme");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : darkPreferred.matches;
}

function showTheme() {
  themeButton.textContent = isDark() ? "Light theme" : "Dark theme";
}

themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("para-theme", root.dataset.theme);
  } catch {
    /* without storage the choice lasts until the page is closed */
  }
  showTheme();
});
darkPreferred.addEventListener("change", showTheme);
showTheme();

// ---- Videos ------------------------------------------------------------------------------------
const HOLD_MS = 1200; // the outcome stays on screen before all start over
const STEP_MS = 50;
const WAIT_BEYOND_S = 0.06; // farther ahead than this: wait; closer: go a little slower

// All videos of one `.sync` element share one clock: that of the longest of them.
class Group {
  constructor(element) {
    this.element = element;
    this.videos = [...element.querySelectorAll("video")];
    this.button = element.querySelector("button");
    this.slider = element.querySelector("input");
    this.output = element.querySelector("output");
    this.wanted = !stillness.matches && !(navigator.connection && navigator.connection.saveData);
    this.visible = false;
    this.running = false;
    this.holding = null;
    for (const video of this.videos) {
      video.controls = false; // the group's own controls move all of them at once
      video.addEventListener("click", () => this.toggle());
      video.addEventListener("ended", () => this.ended());
      video.addEventListener("error", () => video.classList.add("failed"));
      video.addEventListener("loadedmetadata", () => this.show());
    }
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value) / 1000));
    this.show();
  }

  get usable() {
    return this.videos.filter((video) => !video.classList.contains("failed"));
  }

  get clock() {
    const known = this.usable.filter((video) => video.duration > 0);
    return known.reduce((a, b) => (b.duration > a.duration ? b : a), known[0] ?? this.videos[0]);
  }

  toggle() {
    this.wanted = !(this.wanted && this.visible);
    if (this.wanted) this.visible = true;
    this.update();
    showAll();
  }

  // Play or pause, as wish, place on screen and tab say.
  async update() {
    const play = this.wanted && this.visible && !document.hidden;
    if (play === this.running) return this.show();
    this.running = play;
    clearInterval(this.timer);
    clearTimeout(this.holding);
    if (!play) {
      for (const video of this.videos) video.pause();
      return this.show();
    }
    this.show();
    await Promise.all(this.usable.map(ready));
    if (!this.running) return;
    if (this.clock.ended) return this.restart();
    this.start();
  }

  start() {
    const at = this.clock.currentTime;
    for (const video of this.usable) {
      if (at >= video.duration) continue;
      if (Math.abs(video.currentTime - at) > 0.02) video.currentTime = at;
      video.play().catch(() => {});
    }
    clearInterval(this.timer);
    this.timer = setInterval(() => this.keepInStep(), STEP_MS);
  }

  // The one that is behind sets the pace: the others slow down, or wait where that is not enough.
  // Nobody jumps, so a slow machine does not have to decode anything twice.
  keepInStep() {
    const going = this.usable.filter((video) => !video.ended);
    const slowest = Math.min(...going.map((video) => video.currentTime));
    for (const video of going) {
      const ahead = video.currentTime - slowest;
      if (ahead > WAIT_BEYOND_S) {
        video.pause();
      } else {
        video.playbackRate = ahead < 0.01 ? 1 : Math.max(0.25, 1 - 6 * ahead);
        if (video.paused) video.play().catch(() => {});
      }
    }
    this.show();
  }

  ended() {
    this.show();
    if (!this.running || !this.usable.every((video) => video.ended)) return;
    clearTimeout(this.holding);
    this.holding = setTimeout(() => this.restart(), HOLD_MS);
  }

  restart() {
    if (!this.running) return;
    for (const video of this.usable) {
      video.currentTime = 0;
      video.playbackRate = 1;
    }
    this.start();
  }

  async seek(fraction) {
    await Promise.all(this.usable.map(ready));
    const at = fraction * (this.clock.duration || 0);
    for (const video of this.usable) video.currentTime = Math.min(at, video.duration);
    if (this.running) this.start();
    this.show();
  }

  show() {
    const { currentTime, duration } = this.clock;
    const playing = this.wanted && (this.running || !this.visible);
    this.button.textContent = playing ? "Pause" : "Play";
    this.button.setAttribute("aria-label", `${playing ? "Pause" : "Play"}: ${this.element.dataset.title}`);
    if (!(duration > 0)) return;
    this.slider.value = String(Math.round((1000 * currentTime) / duration));
    this.slider.setAttribute("aria-valuetext", `${currentTime.toFixed(1)} of ${duration.toFixed(1)} s`);
    this.output.textContent = `${currentTime.toFixed(1)} / ${duration.toFixed(1)} s`;
  }
}

// Resolves when a video can play from where it is, or cannot be loaded at all.
function ready(video) {
  if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA || video.ended || video.error) return null;
  return new Promise((resolve) => {
    for (const event of ["canplay", "error"]) video.addEventListener(event, resolve, { once: true });
    if (video.preload !== "auto") {
      video.preload = "auto";
      video.load();
    }
  });
}

const groups = [...document.querySelectorAll(".sync")].map((element) => new Group(element));
const allButton = document.querySelector("#all-videos");

function showAll() {
  const playing = groups.some((group) => group.wanted);
  allButton.textContent = playing ? "Pause videos" : "Play videos";
}

if (groups.length) {
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const group = groups.find((candidate) => candidate.element === entry.target);
        group.visible = entry.isIntersecting;
        group.update();
      }
    },
    { threshold: 0.35 },
  );
  for (const group of groups) watcher.observe(group.element);
  document.addEventListener("visibilitychange", () => groups.forEach((group) => group.update()));
  allButton.addEventListener("click", () => {
    const play = !groups.some((group) => group.wanted);
    for (const group of groups) {
      group.wanted = play;
      group.update();
    }
    showAll();
  });
  showAll();
}

// ---- Tables ------------------------------------------------------------------------------------
// A cell sorts by its data-sort (a number, or text); cells without one come last.
function sortBy(header) {
  const table = header.closest("table");
  const up = header.getAttribute("aria-sort") === "descending";
  const column = Number(header.dataset.column);
  const key = (row) => row.cells[column]?.dataset.sort ?? "";
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return up ? order : -order;
  });
  for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  table.tBodies[0].append(...rows);
}

for (const header of document.querySelectorAll("th[data-column]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sort";
  button.append(...header.querySelector(".sort").childNodes);
  button.addEventListener("click", () => sortBy(header));
  header.replaceChildren(button);
}

// ---- Copy --------------------------------------------------------------------------------------
for (const block of document.querySelectorAll(".code")) {
  if (!navigator.clipboard) break; // only offered where it works
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${block.dataset.what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  block.append(button);
}

// ---- Demo --------------------------------------------------------------------------------------
const demoButton = document.querySelector("#demo-start");

// Why the demo cannot run here, or "".
function demoObstacle() {
  if (location.protocol === "file:") {
    return "This page was opened from disk, where a page may not read files: this is a film of the " +
      "demo. To run it, serve this folder, for example by python -m http.server, and open it from " +
      "there.";
  }
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") {
    return "This browser runs no WebAssembly, which the demo needs: this is a film of it instead.";
  }
  return "";
}

// Show the film in the place of the picture, and say why.
function showFilm(why) {
  document.querySelector(".demo-start").classList.add("film");
  document.querySelector("#demo-status").textContent = why;
}

if (demoButton && demoObstacle()) {
  demoButton.parentElement.hidden = true;
  showFilm(demoObstacle());
}

demoButton?.addEventListener("click", async () => {
  document.querySelector("#demo-status").textContent = "Loading …";
  demoButton.disabled = true;
  try {
    const { start } = await import("./demo.js");
    await start(document.querySelector("#demo"));
  } catch (error) {
    demoButton.disabled = false;
    showFilm(`The demo could not be started (${error.message}): this is a film of it instead.`);
  }
});

// ---- Where am I? -------------------------------------------------------------------------------
const places = new Map(
  [...document.querySelectorAll(".bar nav a")].map((link) => [link.hash.slice(1), link]),
);
const reader = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of places.values()) link.removeAttribute("aria-current");
      places.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-30% 0px -65% 0px" },
);
for (const section of document.querySelectorAll("main > section[id]")) reader.observe(section);
