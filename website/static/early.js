// Runs before the first paint, so that nothing flashes or jumps when site.js arrives.
"use strict";
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("para-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  /* a page opened from disk may have no storage */
}
