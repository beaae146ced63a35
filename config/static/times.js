// Times of a page in the reader's own zone and language. Without this file they are those of the shop.
"use strict";
const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;

function ownTimes() {
  const language = document.documentElement.lang;
  for (const time of document.querySelectorAll("time[data-own]:not([data-done])")) {
    const at = new Date(time.dateTime);
    time.textContent = at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
    time.title = at.toISOString();
    time.dataset.done = "";
  }
  const zone = document.querySelector("[data-zone]");
  if (zone) zone.textContent = mine;
}
ownTimes();
document.addEventListener("htmx:after:swap", ownTimes);
