// Keys of the staff pages, and what is copied at a press. Without this file every page works as well.
"use strict";
const dialog = document.getElementById("keys");
const open = document.getElementById("keys-open");
const on = document.getElementById("keys-on");
const OFF = "ops-keys-off";

on.checked = !localStorage.getItem(OFF);
on.addEventListener("change", () => on.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
open.hidden = false;
open.addEventListener("click", () => dialog.showModal());

// one link a row: that of its first cell
function step(by) {
  const links = [...document.querySelectorAll("main tbody tr, main .timeline > li")]
    .map((row) => row.querySelector("a")).filter(Boolean);
  const here = links.indexOf(document.activeElement);
  const next = here < 0 ? (by > 0 ? 0 : links.length - 1) : here + by;
  links[next]?.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (typing || !on.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    "/": () => document.getElementById("q").focus(),
    "?": () => dialog.showModal(),
    j: () => step(1),
    k: () => step(-1),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

// <button data-copy="…" hidden>: shown where it can work
function showCopies() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = !navigator.clipboard;
}
showCopies();
document.addEventListener("htmx:after:swap", showCopies);
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = button.dataset.copied;
});
