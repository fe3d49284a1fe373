// ---- what a person sees ------------------------------------------------------------------------------------------------

const facts = JSON.parse(document.getElementById("facts").textContent);
const fit = makeFit(facts.law), unit = facts.law.unit;
const $ = (id) => document.getElementById(id);

const short = (x) => {
  if (!Number.isFinite(x)) return "∞";
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (x >= size) return `${+(x / size).toPrecision(3)}${letter}`;
  }
  return `${+x.toPrecision(3)}`;
};
const inBytes = (x) => {
  for (const [size, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (x >= size) return `${+(x / size).toPrecision(3)} ${name}`;
  }
  return `${Math.round(x)} bytes`;
};
const percent = (x) => `${(100 * x).toFixed(0)} %`;

// ---- what is asked -----------------------------------------------------------------------------------------------------

const shapes = facts.shapes, question = facts.question;
const tokenRange = facts.tokens;

function fill(select, options, chosen) {
  for (const [name, label] of options) {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = label;
    select.append(option);
  }
  if (chosen !== null && chosen !== undefined) select.value = String(chosen);
}

function slide(input, [low, high], chosen) {
  input.min = low;
  input.max = high;
  input.value = Math.min(Math.max(chosen, low), high);
}

function open() {
  fill($("text"), facts.law.texts.map((text, i) => [i, text.label === "real" ? "real text" : text.label]), question.text);
  fill($("format"), facts.formats.map((f) => [f.name, `${f.name}, ${f.bits} bits`]), question.format);
  fill($("context"), facts.contexts.map((c) => [c, `${c} tokens`]), question.context);
  fill($("device"), facts.devices.map((d) => [d.name, `${d.label} (${d.year})`]), question.device);
  $("size").max = shapes.length - 1;
  $("size").value = question.shape;
  slide($("tokens"), tokenRange.map(Math.log10), Math.log10(question.tokens));
  slide($("target"), facts.losses, question.target);
  slide($("budget"), facts.budgets.map(Math.log2), Math.log2(question.budget));
  $("sure").value = question.probability;
  if (!fit.hasDoubt) { $("sure").disabled = true; $("sure").closest(".field").hidden = true; }
  if (facts.law.texts.length === 1) $("text").closest(".field").hidden = true;
  if (!facts.runs.length) hideRow("measured");
  const told = facts.recommended;
  $("recommended").textContent = told ? `${short(told.n)} parameters (width ${told.width}, ${told.layers} layers), ` +
    `${short(told.d)} tokens: ${told.loss.toFixed(4)} ${unit}, ${told.basis}; ` +
    `asked for ≤ ${+told.target.toFixed(4)}` : "";
  if (!told) hideRow("recommended");
  $("choose").addEventListener("click", choose);
  $("ask").addEventListener("input", (event) => {
    // Another phone brings its own memory; the budget may then be moved by itself.
    if (event.target.id === "device") {
      const phone = facts.devices.find((d) => d.name === $("device").value);
      slide($("budget"), facts.budgets.map(Math.log2), Math.log2(phone.budget));
    }
    show();
  });
  $("ask").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => {
      $(button.dataset.copy).select();
      (navigator.clipboard ? navigator.clipboard.writeText($(button.dataset.copy).value) : Promise.reject())
        .catch(() => document.execCommand("copy"));
    });
  }
  $("formula").textContent = facts.law.formula;
  tell();
  choose();
}

function hideRow(name) {
  for (const part of [$(name), $(name).previousElementSibling]) part.hidden = true;
}

// The smallest size that is good enough; where there is none, the size stays as it is.
function choose() {
  const ask = asked(), good = smallest(judged(ask), ask);
  if (good) $("size").value = shapes.indexOf(good.shape);
  show();
}

function asked() {
  return {
    shape: shapes[+$("size").value], d: Math.round(10 ** +$("tokens").value), text: +$("text").value,
    target: +$("target").value, sure: +$("sure").value, format: facts.formats.find((f) => f.name === $("format").value),
    context: $("context").value, device: facts.devices.find((d) => d.name === $("device").value),
    budget: 2 ** +$("budget").value,
  };
}

// A size as it is stored: the law's loss, and what rounding the weights adds.
function judge(shape, ask, level = 0.9) {
  const said = fit.predict(shape.n, ask.d, ask.text, level);
  const added = roundingCost(ask.format, shape.n_body, ask.d);
  const bytes = bytesOf(shape, ask.format.name, ask.context);
  // Where the law comes without doubt, a target is met or it is not.
  const p = fit.hasDoubt ? fit.probability(ask.target - added, said) : +(said.value + added <= ask.target);
  // Of a student that the sweep has trained the measurement decides; the law is asked about its like.
  const own = measured(shape, ask).sort((a, b) => a.seed - b.seed)[0], student = own ? own.loss + added : null;
  const loss = said.value + added;
  return { shape, said, student, loss, best: student ?? loss, low: said.low + added, high: said.high + added, bytes, p,
    speed: speedOf(shape, ask.format.name, ask.device) };
}

// All sizes, those of the fewest bytes first.
const judged = (ask) => shapes.map((shape) => judge(shape, ask)).sort((a, b) => a.bytes.total - b.bytes.total);

// ---- what is answered --------------------------------------------------------------------------------------------------

function show() {
  const ask = asked();
  const now = judge(ask.shape, ask);
  const all = judged(ask), good = smallest(all, ask);
  $("size-out").textContent = `${short(ask.shape.n)} (width ${ask.shape.width}, ${ask.shape.layers} layers)`;
  $("tokens-out").textContent = short(ask.d);
  $("target-out").textContent = `${ask.target.toFixed(4)} ${unit}`;
  $("sure-out").textContent = percent(ask.sure);
  $("budget-out").textContent = inBytes(ask.budget);
  $("loss").textContent = now.loss.toFixed(4);
  $("interval").textContent = interval(now);
  $("verdict").textContent = verdict(now, ask);
  $("binds").textContent = binding(ask);
  const b = now.bytes;
  $("bytes").textContent = `${inBytes(b.total)}: weights ${inBytes(b.weights)}` +
    (b.repacked ? `, their copy in the processor's layout ${inBytes(b.repacked)}` : "") +
    `, cache ${inBytes(b.cache)}, activations ${inBytes(b.compute)}, engine ${inBytes(b.engine)}`;
  $("speed").textContent = `${short(now.speed.value)} tokens/s (${short(now.speed.low)} – ${short(now.speed.high)}) on ` +
    `${ask.device.label}`;
  $("measured").textContent = measuredHere(ask);
  $("smallest").textContent = good ? described(good)
    : "none within this budget: allow more memory, a higher loss, or more tokens";
  $("choose").hidden = !good || good.shape === ask.shape;
  $("far").textContent = now.said.reach > 1.001
    ? `This lies ${now.said.reach.toPrecision(3)} × beyond the runs behind the law` +
      (now.said.reach > 10 ? ": more than 10 ×, which the command line refuses without --force." : ".") : "";
  commands(ask);
  drawCurve(ask, now);
  drawMap(ask);
  drawFront(ask, now, all, good);
}

function interval(now) {
  if (fit.hasDoubt) return `${unit}; 90 % of such runs lie between ${now.low.toFixed(4)} and ${now.high.toFixed(4)}`;
  if (now.low === now.high) return `${unit}, by a published law, which gives no interval`;
  return `${unit} at most, if all of the teacher's errors are learned; ${now.low.toFixed(4)} if only its gaps count`;
}

function verdict(now, ask) {
  const fits = now.bytes.total <= ask.budget, p = `P ${now.p.toFixed(2)}`;
  const basis = now.student !== null ? ` (measured ${now.student.toFixed(4)}; ${p} of another seed)`
    : fit.hasDoubt ? ` (${p})` : "";
  const otherwise = now.student !== null ? "Not good enough" : fit.hasDoubt ? "Not surely good enough"
    : now.low <= ask.target ? "Good enough if only the teacher's gaps count" : "Not good enough";
  return `${meets(now, ask) ? "Good enough" : otherwise}${basis}; ${fits ? "fits" : "does not fit"} the memory budget.`;
}

const meets = (c, ask) => (c.student !== null ? c.student <= ask.target : c.p >= (fit.hasDoubt ? ask.sure : 0.5));

// What costs most of the loss above the floor: the size, the tokens, or the text itself.
function binding(ask) {
  const here = fit.loss(ask.shape.n, ask.d, ask.text);
  const unlimited = fit.loss(ask.shape.n, Infinity, ask.text), floor = fit.loss(Infinity, Infinity, ask.text);
  if (!facts.law.identified) return "not told: the runs do not show the floor of the loss";
  const parts = [["size", unlimited - floor], ["tokens", here - unlimited]];
  if (facts.real !== null && ask.text !== facts.real) {
    parts.push(["teacher", floor - fit.loss(Infinity, Infinity, facts.real)]);
  }
  const most = parts.reduce((a, b) => (b[1] > a[1] ? b : a)), text = facts.law.texts[ask.text];
  const adds = parts.map(([name, cost]) => `${name} ${cost.toFixed(3)}`).join(", ");
  return `${most[0]} (what each adds to the loss: ${adds})` +
    (text.floor === null ? "" : `; no student of this text gets below its floor, ${text.floor.toFixed(4)}` +
      (text.floor_ends?.[0] ? ` (90 %: ${text.floor_ends.map((v) => v.toFixed(2)).join(" – ")})` : ""));
}

// Runs of one size, volume and text.
const measured = (shape, ask) => facts.runs.filter((r) => r.text === ask.text &&
  Math.abs(Math.log(r.n / shape.n)) < 1e-3 && Math.abs(Math.log(r.d / ask.d)) < 0.02);

function measuredHere(ask) {
  const same = measured(ask.shape, ask);
  if (!same.length) return "no run of this size, volume and text";
  return same.map((r) => `${r.loss.toFixed(4)} (seed ${r.seed ?? "?"})`).join(", ");
}

const smallest = (all, ask) => all.find((c) => meets(c, ask) && c.bytes.total <= ask.budget && c.said.reach <= 10);

const described = (c) => `${short(c.shape.n)} parameters (width ${c.shape.width}, ${c.shape.layers} layers): ` +
  `${c.best.toFixed(4)} ${unit}${c.student === null ? "" : " measured"}, ${inBytes(c.bytes.total)}, ${short(c.speed.value)} tokens/s`;

function commands(ask) {
  const name = facts.law.texts[ask.text].asked, n = ask.shape.n;
  const told = (line) => line.replace("{n}", n).replace("{d}", ask.d);
  $("shell").value = told(facts.commands.shell) + (name ? ` --teacher "${name}"` : "");
  $("python").value = told(facts.commands.python).replace("{text}", name ? `, teacher="${name}"` : "");
}

function tell() {
  if (!facts.ledger.length) return;
  $("past").hidden = false;
  const head = ["sweep", "N", "D", "asked", "P", "forecast", "interval", "measured", "target", "interval held"];
  const cells = facts.ledger.map((r) => [r.sweep, short(+r.n_params), short(+r.n_tokens), r.target_loss,
    r.probability === null ? "" : (+r.probability).toFixed(2), (+r.loss_forecast).toFixed(4),
    `${(+r.loss_low).toFixed(4)} – ${(+r.loss_high).toFixed(4)}`, (+r.loss_measured).toFixed(4),
    yes(r.target_met, "met", "missed"), yes(r.loss_in_interval, "yes", "no")]);
  for (const [tag, row] of [["th", head], ...cells.map((row) => ["td", row])]) {
    const tr = document.createElement("tr");
    for (const text of row) {
      const cell = document.createElement(tag);
      cell.textContent = text ?? "";
      tr.append(cell);
    }
    $("ledger").append(tr);
  }
}
const yes = (flag, good, bad) => (flag === true || flag === "True" ? good : flag === null || flag === "" ? "" : bad);

// ---- figures -----------------------------------------------------------------------------------------------------------

const WIDE = 420, HIGH = 300, LEFT = 56, BOTTOM = 42, TOP = 10, RIGHT = 14;

function element(svg, tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, v] of Object.entries(attributes)) node.setAttribute(name, v);
  if (text !== undefined) node.textContent = text;
  svg.append(node);
  return node;
}

// Axes with their grid; gives the functions from values to places.
function axes(svg, x, y) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
  const scale = (axis, from, to) => {
    const f = axis.log ? Math.log : (v) => v, [low, high] = axis.ends.map(f);
    return (v) => from + (to - from) * (f(v) - low) / (high - low);
  };
  const px = scale(x, LEFT, WIDE - RIGHT), py = scale(y, HIGH - BOTTOM, TOP);
  for (const v of ticks(x)) {
    element(svg, "line", { class: "grid", x1: px(v), x2: px(v), y1: TOP, y2: HIGH - BOTTOM });
    element(svg, "text", { x: px(v), y: HIGH - BOTTOM + 16, "text-anchor": "middle" }, x.label(v));
  }
  for (const v of ticks(y)) {
    element(svg, "line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: py(v), y2: py(v) });
    element(svg, "text", { x: LEFT - 6, y: py(v) + 4, "text-anchor": "end" }, y.label(v));
  }
  element(svg, "path", { class: "axis", d: `M${LEFT},${TOP}V${HIGH - BOTTOM}H${WIDE - RIGHT}` });
  element(svg, "text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 8, "text-anchor": "middle" }, x.title);
  element(svg, "text", { x: 12, y: (TOP + HIGH - BOTTOM) / 2, "text-anchor": "middle",
    transform: `rotate(-90 12 ${(TOP + HIGH - BOTTOM) / 2})` }, y.title);
  return { px, py };
}

function ticks({ ends: [low, high], log, binary }) {
  const found = [];
  if (binary) {
    const steps = Math.ceil(Math.log2(high / low) / 6);
    for (let e = Math.ceil(Math.log2(low)); 2 ** e <= high; e += steps) found.push(2 ** e);
    return found;
  }
  if (log) {
    const decades = Math.log10(high / low), steps = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      for (const s of steps) { const v = s * 10 ** e; if (v >= low && v <= high) found.push(v); }
    }
    return found.length > 8 ? found.filter((_, i) => i % Math.ceil(found.length / 8) === 0) : found;
  }
  const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push(+v.toPrecision(12));
  return found;
}

const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)},${b.toFixed(1)}`).join("");
const spaced = (low, high, count) => Array.from({ length: count }, (_, i) => low * (high / low) ** (i / (count - 1)));
const clamp = (v, [low, high]) => Math.min(Math.max(v, low), high);

// From the smallest to the largest size, with some room for the marks at both ends.
const sizeEnds = [shapes[0].n / 1.15, shapes[shapes.length - 1].n * 1.15];
const SIZES = `parameters (${facts.law.columns.n})`;

function drawCurve(ask, now) {
  const svg = $("curve"), n = sizeEnds, within = facts.law.ranges.n;
  const sizes = spaced(n[0], n[1], 60), said = sizes.map((size) => fit.predict(size, ask.d, ask.text));
  const runs = facts.runs.filter((r) => r.text === ask.text);
  const doubt = fit.hasDoubt || now.low < now.high;
  const seen = [...said.map((s) => s.value), now.low, now.high, ask.target, ...runs.map((r) => r.loss)];
  const y = { ends: widened(seen), title: `loss, ${unit}`, label: (v) => v.toPrecision(3) };
  const { px, py } = axes(svg, { ends: n, log: true, title: SIZES, label: short }, y);
  const at = (v) => py(clamp(v, y.ends));
  if (within) shade(svg, px, within, n);
  if (doubt) {
    element(svg, "path", { class: "band", d: path([...said.map((s, i) => [px(sizes[i]), at(s.high)]),
      ...said.map((s, i) => [px(sizes[i]), at(s.low)]).reverse()]) + "Z" });
  }
  // The law as a line within the runs, dashed beyond them.
  const inside = (size) => !within || (size >= within[0] * 0.999 && size <= within[1] * 1.001);
  const place = (i) => [px(sizes[i]), at(said[i].value)];
  for (let i = 1, from = 0; i < sizes.length; i++) {
    const here = inside(sizes[i]) && inside(sizes[i - 1]);
    const next = i + 1 < sizes.length && inside(sizes[i + 1]) && inside(sizes[i]);
    if (i + 1 < sizes.length && next === here) continue;
    element(svg, "path", { class: here ? "law" : "law beyond",
      d: path(Array.from({ length: i - from + 1 }, (_, k) => place(from + k))) });
    from = i;
  }
  for (const r of runs) {
    const same = Math.abs(Math.log(r.d / ask.d)) < 0.02;
    const place = { cx: px(clamp(r.n, n)), cy: at(r.loss), r: 3.5 };
    const dot = element(svg, "circle", { class: same ? "run same" : "run", ...place });
    element(dot, "title", {}, `run ${r.run}: N ${short(r.n)}, D ${short(r.d)}, loss ${r.loss.toFixed(4)}`);
  }
  element(svg, "line", { class: "limit", x1: LEFT, x2: WIDE - RIGHT, y1: at(ask.target), y2: at(ask.target) });
  element(svg, "path", { class: "here", d: diamond(px(ask.shape.n), at(now.said.value)) });
  $("curve-title").textContent = `Loss against size at ${short(ask.d)} tokens`;
  explain("curve", "◆ the size chosen",
    doubt && `band: ${fit.hasDoubt ? "90 % of such runs" : "from gaps only to all errors"}`,
    runs.length && "● runs of so many tokens, ○ of others",
    within && "grey and dashed: beyond the runs", "dotted: target");
}

// What the marks of a figure mean.
const explain = (name, ...parts) => { $(`${name}-key`).textContent = parts.filter(Boolean).join(" · "); };

function shade(svg, px, [low, high], [least, most]) {
  for (const [from, to] of [[least, Math.min(low, most)], [Math.max(high, least), most]]) {
    if (to > from) {
      element(svg, "rect", { class: "beyond-area", x: px(from), width: px(to) - px(from), y: TOP, height: HIGH - BOTTOM - TOP });
    }
  }
}

function drawMap(ask) {
  const svg = $("map"), n = sizeEnds;
  const { px, py } = axes(svg, { ends: n, log: true, title: SIZES, label: short },
    { ends: tokenRange, log: true, title: "training tokens", label: short });
  const corner = [fit.loss(n[0], tokenRange[0], ask.text), fit.loss(n[1], tokenRange[1], ask.text)];
  const sizes = spaced(n[0], n[1], 40), labels = [];
  for (let i = 1; i < 9; i++) {
    const level = corner[1] + (corner[0] - corner[1]) * (i / 9) ** 2;
    const line = sizes.map((size) => [size, tokensFor(size, level, ask.text)]).filter(([, d]) => d !== null);
    if (line.length < 2) continue;
    element(svg, "path", { class: "law", d: path(line.map(([size, d]) => [px(size), py(d)])) });
    const [size, d] = line[line.length - 1];
    const place = { x: px(size), y: Math.max(py(d) - 5, TOP + 10), "text-anchor": "end" };
    // One label upon another could not be read.
    if (labels.some((other) => Math.abs(other.x - place.x) < 32 && Math.abs(other.y - place.y) < 13)) continue;
    labels.push(place);
    element(svg, "text", { class: "level", ...place }, level.toPrecision(3));
  }
  const { n: rn, d: rd } = facts.law.ranges;
  if (rn && rd) {
    const x0 = px(clamp(rn[0], n)), x1 = px(clamp(rn[1], n)), y0 = py(clamp(rd[1], tokenRange)), y1 = py(clamp(rd[0], tokenRange));
    element(svg, "rect", { class: "axis", x: x0, y: y0, width: Math.max(x1 - x0, 1), height: Math.max(y1 - y0, 1),
      "stroke-dasharray": "4 3" });
  }
  for (const r of facts.runs.filter((run) => run.text === ask.text)) {
    element(svg, "circle", { class: "run", cx: px(clamp(r.n, n)), cy: py(clamp(r.d, tokenRange)), r: 2.5 });
  }
  element(svg, "path", { class: "here", d: diamond(px(ask.shape.n), py(ask.d)) });
  explain("map", "◆ what is chosen", `lines: equal loss, ${unit}`, facts.runs.length && "○ runs",
    rn && rd && "dashed: where the runs lie");
}

// Tokens at which a size reaches a loss; null outside of what is drawn.
function tokensFor(n, loss, text) {
  let [low, high] = tokenRange.map(Math.log);
  if (fit.loss(n, Math.exp(low), text) < loss || fit.loss(n, Math.exp(high), text) > loss) return null;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (fit.loss(n, Math.exp(middle), text) > loss) low = middle; else high = middle;
  }
  return Math.exp((low + high) / 2);
}

function drawFront(ask, now, all, good) {
  const svg = $("front"), bytes = all.map((c) => c.bytes.total), losses = all.map((c) => c.best);
  const x = { ends: [Math.min(...bytes, ask.budget) * 0.9, Math.max(...bytes, ask.budget) * 1.1], log: true, binary: true,
    title: `memory, weights as ${ask.format.name}, context ${ask.context}`, label: inBytes };
  const tries = facts.ledger.filter((r) => r.loss_measured !== null && shapeOf(+r.n_params) &&
    Math.abs(Math.log(r.n_tokens / ask.d)) < 0.02);
  const far = all.some((c) => c.said.reach > 1.001);
  const y = { ends: widened([...losses, ask.target, ...tries.map((r) => +r.loss_measured)]), title: `loss, ${unit}`,
    label: (v) => v.toPrecision(3) };
  const { px, py } = axes(svg, x, y);
  const at = (v) => py(clamp(v, y.ends));
  // No other size is as small and as good.
  const front = all.filter((c, i) => all.slice(0, i).every((other) => other.best > c.best));
  element(svg, "path", { class: "law", d: path(front.map((c) => [px(c.bytes.total), at(c.best)])) });
  for (const c of front) {
    const place = { cx: px(c.bytes.total), cy: at(c.best), r: 3 };
    const dot = element(svg, "circle", { class: c.said.reach > 1.001 ? "run" : "run same", ...place });
    element(dot, "title", {}, `N ${short(c.shape.n)}: ${c.best.toFixed(4)}, ${inBytes(c.bytes.total)}`);
  }
  element(svg, "line", { class: "limit", x1: px(ask.budget), x2: px(ask.budget), y1: TOP, y2: HIGH - BOTTOM });
  element(svg, "line", { class: "limit", x1: LEFT, x2: WIDE - RIGHT, y1: at(ask.target), y2: at(ask.target) });
  for (const r of tries) {
    const b = bytesOf(shapeOf(+r.n_params), ask.format.name, ask.context).total;
    const mark = element(svg, "rect", { class: "try", x: px(b) - 4, y: at(+r.loss_measured) - 4, width: 8, height: 8 });
    element(mark, "title", {}, `tried: measured ${(+r.loss_measured).toFixed(4)}`);
  }
  const chosen = facts.recommended;
  const here = chosen && chosen.text === ask.text && Math.abs(Math.log(chosen.d / ask.d)) < 0.02;
  if (here && shapeOf(chosen.n)) {
    const b = bytesOf(shapeOf(chosen.n), ask.format.name, ask.context).total;
    element(svg, "text", { class: "star", x: px(b), y: at(chosen.loss) + 6, "text-anchor": "middle" }, "★");
  }
  if (good) element(svg, "circle", { class: "best", cx: px(good.bytes.total), cy: at(good.best), r: 10 });
  element(svg, "path", { class: "here", d: diamond(px(now.bytes.total), at(now.best)) });
  explain("front", "◆ the size chosen", good && "ringed: the smallest that is good enough",
    `● sizes that nothing of their bytes beats${far ? ", ○ beyond the runs" : ""}`,
    here && "★ recommended by the sweep", tries.length && "□ students that were tried", "dotted: budget and target");
}

const shapeOf = (n) => shapes.find((s) => Math.abs(Math.log(s.n / n)) < 1e-3);
const diamond = (x, y) => `M${x},${y - 7}L${x + 6},${y}L${x},${y + 7}L${x - 6},${y}Z`;
function widened(values) {
  const known = values.filter(Number.isFinite), low = Math.min(...known), high = Math.max(...known), room = 0.06 * (high - low || 1);
  return [low - room, high + room];
}

open();
