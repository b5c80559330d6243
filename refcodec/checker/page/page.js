"use strict";
// The page is whole without this script: it only filters the streams, opens what a link leads to, and copies commands.
const form = document.getElementById("filters");
const rows = [...document.querySelectorAll("#table > tbody > tr")];
const texts = rows.map((row) => row.cells[0].textContent.toLowerCase());
const byClause = JSON.parse(document.getElementById("clause-streams").textContent);

// Words of a query; what stands in brackets is one word: a feature, a clause or a requirement.
function words(query) {
  return query.toLowerCase().match(/\[[^\]]*\]|\S+/g) || [];
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const all = words(wanted.q).concat(wanted.feature ? [`[${wanted.feature.toLowerCase()}]`] : []);
  const ofClause = wanted.clause ? new Set(byClause[wanted.clause]) : null;
  let count = 0;
  rows.forEach((row, i) => {
    const shown = (!wanted.kind || row.dataset.kind === wanted.kind) &&
      (!wanted.profile || row.dataset.profile === wanted.profile) &&
      (!wanted.verdict || row.dataset.verdict.split(" ").includes(wanted.verdict)) &&
      (!ofClause || ofClause.has(i)) && all.every((word) => texts[i].includes(word));
    row.hidden = !shown;
    count += shown;
  });
  document.getElementById("shown").textContent = `${count} of ${rows.length} streams`;
}

// '#streams?q=...&clause=...' sets the filters; any other '#id' is a place, which is shown and opened.
function follow() {
  const [id, query] = decodeURI(location.hash.slice(1)).split("?");
  if (query !== undefined) {
    form.reset();
    for (const [name, value] of new URLSearchParams(location.hash.split("?")[1])) {
      if (form.elements[name]) form.elements[name].value = value;
    }
    filter();
  }
  const target = id && document.getElementById(id);
  if (!target) return;
  if (target.hidden) {
    form.reset();
    filter();
  }
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  if (target.tagName === "TR") target.querySelector("details").open = true;
  target.scrollIntoView();
}

for (const pre of document.querySelectorAll("pre.command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", () => {
    getSelection().selectAllChildren(pre.firstChild.parentElement);
    const copied = navigator.clipboard ? navigator.clipboard.writeText(pre.firstChild.textContent) : Promise.reject();
    copied.then(() => { button.textContent = "copied"; }, () => { button.textContent = "press Ctrl+C"; });
  });
  pre.append(button);
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
addEventListener("hashchange", follow);
follow();
