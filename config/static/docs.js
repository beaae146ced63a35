// /v1/docs: narrows what is shown to the words one looks for, and copies lines. Without it all is there to read.
"use strict"
const docs = document.querySelector(".docs")
const box = document.querySelector(".endpoints search"), input = box.querySelector("input")
const found = document.getElementById("found"), list = document.querySelector(".endpoints details")
// an endpoint, or a part of the page that holds none
const units = [...document.querySelectorAll("article, .all > section:not(:has(article))")]
const texts = new Map(units.map(one => [one, (one.matches("article") ? one.firstElementChild : one).textContent.toLowerCase()]))

function narrow() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean)
  const shown = units.filter(one => words.every(word => texts.get(one).includes(word)))
  for (const one of units) one.hidden = !shown.includes(one)
  for (const item of list.querySelectorAll("li")) {
    item.hidden = document.getElementById(item.firstElementChild.hash.slice(1)).hidden
  }
  for (const part of document.querySelectorAll(".all > section:has(article)")) {
    part.hidden = !part.querySelector("article:not([hidden])")
  }
  for (const title of list.querySelectorAll("h2")) {
    title.hidden = !title.nextElementSibling.querySelector("li:not([hidden])")
  }
  list.open = words.length > 0 || list.open
  const count = found.dataset.words.replace("%s", shown.length).replace("%s", units.length)
  found.textContent = words.length ? (shown.length ? count : found.dataset.none) : ""
}

box.hidden = false
input.addEventListener("input", narrow)
input.addEventListener("keydown", event => {
  if (event.key === "Escape") { input.value = ""; narrow() }
})
// a link into what the search has hidden shows all again
window.addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1))
  if (target?.closest("[hidden]")) { input.value = ""; narrow(); target.scrollIntoView() }
  if (target?.matches("details")) target.open = true
})
if (navigator.clipboard) for (const line of document.querySelectorAll(".curl")) {
  const button = document.createElement("button")
  button.type = "button"
  button.textContent = docs.dataset.copy
  button.addEventListener("click", () => navigator.clipboard.writeText(line.textContent).then(() => {
    button.textContent = docs.dataset.copied
  }))
  line.parentElement.prepend(button)
}
