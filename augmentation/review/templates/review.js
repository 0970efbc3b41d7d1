"use strict";
const byId = (id) => document.getElementById(id);
const samples = [...document.querySelectorAll("article")].map((element) => ({
  element, id: element.dataset.id,
  ...JSON.parse(element.querySelector('script[type="application/json"]').textContent),
}));
const decisions = JSON.parse(byId("decisions").textContent);
decisions.rows = Object.assign(Object.create(null), decisions.rows);  // an id may be `constructor`
const row = (sample) => {
  const known = (decisions.rows[sample.id] ??= { spans: {} });
  if ((known.text ??= sample.text) !== sample.text)  // decided on what stood here before
    Object.assign(known, { sample: undefined, spans: {}, text: sample.text });
  return known;
};
let unsaved = 0;

function tell(message) { byId("state").textContent = message; }

const nothing = { spans: {} };
const decisionOn = (sample) => {
  const known = decisions.rows[sample.id] ?? nothing;
  return (known.text ?? sample.text) === sample.text ? known : nothing;
};

function show(sample) {
  const { sample: verdict, spans } = decisionOn(sample);
  sample.element.classList.toggle("rejected", verdict === "rejected");
  for (const button of sample.element.querySelectorAll("header button"))
    button.setAttribute("aria-pressed", String(button.dataset.decide === verdict));
  for (const button of sample.element.querySelectorAll("td button"))
    button.setAttribute("aria-pressed", String(button.dataset.decide === spans[button.dataset.span]));
  for (const line of sample.element.querySelectorAll(".on"))
    line.classList.toggle("rejected", spans[line.dataset.key] === "rejected");
}

function decided(sample) {
  const known = decisionOn(sample);
  return Boolean(known.sample || Object.keys(known.spans).length);
}

function forget(id) {
  const known = decisions.rows[id];
  if (known && !known.sample && !Object.keys(known.spans).length) delete decisions.rows[id];
}

function changed(sample) {
  forget(sample.id);
  unsaved += 1;
  show(sample);
  tell(`${Object.keys(decisions.rows).length} samples decided, not saved yet`);
}

function decide(sample, button) {
  const known = row(sample);
  const verdict = button.dataset.decide;
  const key = button.dataset.span;
  if (key === undefined) known.sample === verdict ? delete known.sample : (known.sample = verdict);
  else known.spans[key] === verdict ? delete known.spans[key] : (known.spans[key] = verdict);
  changed(sample);
}

function list(sample, details) {
  if (details.querySelector("table")) return;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of ["text", "label", "from", "decision"]) {
    const cell = document.createElement("th");
    cell.textContent = name;
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const span of sample.spans) {
    const line = body.insertRow();
    for (const value of [span.text, span.label, span.source]) {
      const shown = line.insertCell();
      shown.textContent = value;
      shown.dir = "auto";
    }
    const cell = line.insertCell();
    for (const [name, verdict] of [["accept", "accepted"], ["reject", "rejected"]]) {
      const button = document.createElement("button");
      button.className = name;
      button.dataset.decide = verdict;
      button.dataset.span = span.key;
      button.textContent = name;
      button.setAttribute("aria-label", `${name} ${span.label}: ${span.text}`);
      cell.append(button, " ");
    }
  }
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.append(table);
  details.append(scroll);
  show(sample);
}

function filter() {
  const label = byId("label").value, kind = byId("kind").value, text = byId("text").value.toLowerCase();
  let visible = 0;
  for (const sample of samples) {
    const fits = (!label || sample.spans.some((span) => span.label === label))
      && (!kind || sample.element.dataset.kind === kind)
      && (!text || sample.element.querySelector(".spans").dataset.text.includes(text))
      && (!byId("dropped").checked || sample.element.dataset.dropped !== "0")
      && (!byId("undecided").checked || !decided(sample));
    sample.element.hidden = !fits;
    visible += fits;
  }
  byId("none").hidden = visible > 0;
  tell(`${visible} samples`);
}

function draw() {
  const hide = !byId("extensions").checked;
  for (const line of document.querySelectorAll(".of-word")) line.classList.toggle("hidden", hide);
}

for (const sample of samples) {
  const spans = sample.element.querySelector(".spans");
  spans.dataset.text = [...spans.querySelectorAll(".plain, .piece")].map((piece) => piece.firstChild.textContent).join("").toLowerCase();
  sample.element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) decide(sample, button);
  });
  const details = sample.element.querySelector("details.list");
  details.addEventListener("toggle", () => details.open && list(sample, details));
  show(sample);
}
for (const id of ["label", "kind", "dropped", "undecided"]) byId(id).addEventListener("change", filter);
byId("text").addEventListener("input", filter);
byId("extensions").addEventListener("change", draw);
byId("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(decisions, null, 1) + "\n"], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  unsaved = 0;
  tell("saved; put decisions.json into the run folder");
});
addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
tell(`${samples.length} samples`);
