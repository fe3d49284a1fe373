"use strict";

// ---- arithmetic: numbers, and numbers with their derivatives by the coefficients -------------------------------------

const number = {
  add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, pow: Math.pow,
  neg: (a) => -a, exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, log10: Math.log10,
  sqrt: Math.sqrt, square: (a) => a * a, abs: Math.abs,
  logaddexp: (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)))),
  max: Math.max, min: Math.min,
  fmax: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.max(a, b)),
  fmin: (a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.min(a, b)),
  gt: (a, b) => (a > b ? 1 : 0), lt: (a, b) => (a < b ? 1 : 0), eq: (a, b) => (a === b ? 1 : 0),
  where: (c, a, b) => (c ? a : b),
};

const value = (a) => (typeof a === "number" ? a : a.v);

// The chain rule: a function of one or two operands, with the slope by each.
function chain(v, ...parts) {
  const known = parts.filter(([a]) => typeof a !== "number");
  if (!known.length) return v;
  const g = new Float64Array(known[0][0].g.length);
  for (const [a, slope] of known) {
    for (let i = 0; i < g.length; i++) if (a.g[i] !== 0) g[i] += slope * a.g[i];
  }
  return { v, g };
}
const one = (f, slope) => (a) => chain(f(value(a)), [a, slope(value(a), f(value(a)))]);
const pick = (chosen) => (a, b) => (chosen(value(a), value(b)) ? a : b);

const dual = {
  add: (a, b) => chain(value(a) + value(b), [a, 1], [b, 1]),
  sub: (a, b) => chain(value(a) - value(b), [a, 1], [b, -1]),
  mul: (a, b) => chain(value(a) * value(b), [a, value(b)], [b, value(a)]),
  div: (a, b) => chain(value(a) / value(b), [a, 1 / value(b)], [b, -value(a) / value(b) ** 2]),
  pow: (a, b) => {
    const x = value(a), y = value(b), v = Math.pow(x, y);
    return chain(v, [a, y * Math.pow(x, y - 1)], [b, v === 0 || x <= 0 ? 0 : v * Math.log(x)]);
  },
  neg: one((x) => -x, () => -1),
  exp: one(Math.exp, (x, v) => v),
  expm1: one(Math.expm1, (x) => Math.exp(x)),
  log: one(Math.log, (x) => 1 / x),
  log1p: one(Math.log1p, (x) => 1 / (1 + x)),
  log10: one(Math.log10, (x) => 1 / (x * Math.LN10)),
  sqrt: one(Math.sqrt, (x, v) => 0.5 / v),
  square: one((x) => x * x, (x) => 2 * x),
  abs: one(Math.abs, Math.sign),
  logaddexp: (a, b) => {
    const x = value(a), y = value(b), v = number.logaddexp(x, y);
    return chain(v, [a, Math.exp(x - v)], [b, Math.exp(y - v)]);
  },
  max: pick((x, y) => x >= y), min: pick((x, y) => x <= y),
  fmax: pick((x, y) => Number.isNaN(y) || x >= y), fmin: pick((x, y) => Number.isNaN(y) || x <= y),
  gt: (a, b) => number.gt(value(a), value(b)), lt: (a, b) => number.lt(value(a), value(b)),
  eq: (a, b) => number.eq(value(a), value(b)),
  where: (c, a, b) => (value(c) ? a : b),
};

// ---- the fit: what Fit.predict says, for one size, volume and text -----------------------------------------------------

function interpolate(at, xs, ys) {
  if (at <= xs[0]) return ys[0];
  const last = xs.length - 1;
  if (at >= xs[last]) return ys[last];
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= at) low = middle; else high = middle;
  }
  return ys[low] + ((at - xs[low]) / (xs[high] - xs[low])) * (ys[high] - ys[low]);
}

function makeFit(facts) {
  const members = facts.members.map((m) => ({ ...m, law: new Function("o", "p", "x", "return " + m.formula) }));
  const cal = facts.calibration, known = facts.known;

  function reach(name, at) {
    const ends = facts.ranges[name];
    return ends ? Math.max(1, at / ends[1], ends[0] / at) : 1;
  }

  function factor(n, d) {
    if (cal.inside !== null && n <= 1 && d <= 1) return cal.inside;
    if (!cal.factors.n) return 1;
    const farN = Math.min(Math.log(n), 100), farD = Math.min(Math.log(d), 100);
    const both = Math.min(farN, farD), whole = Math.max(farN + farD, 1e-12);
    const shareN = (farN - both) / whole, shareD = (farD - both) / whole;
    const f = cal.factors;
    return Math.exp(shareN * Math.log(f.n) + shareD * Math.log(f.d) + (1 - shareN - shareD) * Math.log(f.c));
  }

  const ofSeeds = ({ share, slope, centre, least, most }, n) =>
    Math.sqrt(share) * (Math.min(Math.max(n, least), most) / centre) ** slope;
  const noiseAt = (n) => cal.trend ? cal.noise * Math.sqrt(ofSeeds(cal.trend, n) ** 2 + 1 - cal.trend.share) : cal.noise;
  const seedsAt = (n) => cal.trend ? cal.noise * ofSeeds(cal.trend, n) : known.seeds;

  // Of every member; without end of size and data one whose E is zero would take the mean to nothing.
  function logsOf(x) {
    const logs = members.map((m) => Math.log(Math.max(m.law(number, m.p, x), 1e-300)));
    return logs.map((log) => Math.min(Math.max(log, logs[0] - facts.apart), logs[0] + facts.apart));
  }

  // Slope of log loss over the coordinates in which the law's coefficients were searched.
  function slopeOf(m, x) {
    const k = m.p.length;
    if (!m.covariance) return new Float64Array(k);
    const found = m.law(dual, m.p.map((v, i) => { const g = new Float64Array(k); g[i] = 1; return { v, g }; }), x);
    return Float64Array.from(m.p, (_, i) => (typeof found === "number" ? 0 : found.g[i] * m.coordinates[i] / found.v));
  }

  // Standard error of log loss of one member, to first order in its coefficients.
  function doubt(m, slope) {
    if (!m.covariance) return 0;
    let variance = 0;
    for (let i = 0; i < slope.length; i++) {
      for (let j = 0; j < slope.length; j++) variance += slope[i] * m.covariance[i][j] * slope[j];
    }
    if (Number.isNaN(variance)) variance = Infinity;
    return Math.sqrt(Math.min(Math.max(variance, 0), 0.25));
  }

  const columns = (n, d, text) => ({ ...facts.texts[text].columns, n, d });
  const runs = known ? known.loss.map((loss, i) => {
    const x = Object.fromEntries(Object.entries(known.columns).map(([name, values]) => [name, values[i]]));
    return { x, log: Math.log(loss), off: known.off[i] };
  }) : [];
  if (known && known.share > 0) {
    for (const run of runs) {
      run.logs = logsOf(run.x);
      run.slopes = members.map((m) => slopeOf(m, run.x));
    }
  }

  const sameText = (a, b) => a.teacher === b.teacher && ["delta_coverage", "delta_noise"].every(
    (name) => Math.abs((a[name] ?? 0) - (b[name] ?? 0)) < 1e-6);

  // Of the residuals of two runs (scaling/fit/neighbours.py).
  function correlation(a, b) {
    const r = Math.min(Math.sqrt(3) / known.length * Math.hypot(Math.log(a.n / b.n), Math.log(a.d / b.d)), 1e3);
    return (1 + r) * Math.exp(-r) * (sameText(a, b) ? 1 : known.other_text);
  }

  // What each of the nearest runs adds per unit of its residual, and the share of a run's variance that stays unknown.
  function influence(x) {
    const near = runs.map((run) => ({ run, shared: run.off ? 0 : correlation(x, run.x) }))
      .sort((a, b) => b.shared - a.shared).slice(0, known.most).filter((one) => known.share * one.shared !== 0);
    const own = near.map((one) => known.share * one.shared);
    const between = near.map((a, i) => near.map((b, j) =>
      known.share * correlation(a.run.x, b.run.x) + (i === j ? 1 - known.share : 0)));
    const weights = solve(between, own);
    return { near, weights, left: 1 - weights.reduce((sum, w, i) => sum + w * own[i], 0) };
  }

  function lossOfReal(n, d, text) {
    const x = columns(n, d, text);
    return Math.exp(logsOf(x).reduce((sum, log, i) => sum + log * members[i].weight, 0));
  }

  // A law of real text says nothing of teachers: at most, all that a teacher's text misses is learned and adds itself.
  const loss = (n, d, text) => lossOfReal(n, d, text) + (facts.texts[text].delta ?? 0);

  // At least, it is a bottleneck: E + (x^nu + delta^nu)^(1/nu) with x = L - E (scaling/predict/explain/teacher.py).
  function taught(value, { delta, sharpness, floor }) {
    const real = floor - delta, excess = Math.max(value - real, 0);
    return { high: value + delta, low: real + (excess ** sharpness + delta ** sharpness) ** (1 / sharpness) };
  }

  function predict(n, d, text, level = 0.9) {
    const x = columns(n, d, text);
    const logs = logsOf(x), slopes = members.map((m) => slopeOf(m, x));
    let left = 1;
    if (known && known.share > 0) {
      const found = influence(x);
      left = found.left;
      // Each law is held against the runs by itself.
      found.near.forEach(({ run }, j) => members.forEach((_, i) => {
        logs[i] += found.weights[j] * (run.log - run.logs[i]);
        run.slopes[i].forEach((slope, k) => { slopes[i][k] -= found.weights[j] * slope; });
      }));
    }
    let centre = logs.reduce((sum, log, i) => sum + members[i].weight * log, 0);
    let variance = noiseAt(n) ** 2 * left;
    members.forEach((m, i) => { variance += m.weight * ((logs[i] - centre) ** 2 + doubt(m, slopes[i]) ** 2); });
    const far = { n: reach("n", n), d: reach("d", d) };
    let scale = Math.sqrt(variance) * factor(far.n, far.d);
    // Of a cell that was measured the law is not asked.
    const cell = runs.filter((run) => Math.abs(Math.log(run.x.n / n)) < known.same_cell &&
      Math.abs(Math.log(run.x.d / d)) < known.same_cell && sameText(run.x, x));
    if (cell.length) {
      centre = cell.reduce((sum, run) => sum + run.log, 0) / cell.length;
      scale = seedsAt(n) * Math.sqrt(1 + 1 / cell.length);
    }
    if (facts.texts[text].delta !== undefined) {
      const { low, high } = taught(Math.exp(centre), facts.texts[text]);
      return { value: high, low, high, scale, reach: Math.max(far.n, far.d), centre: Math.log(high), cell: 0 };
    }
    const [low, high] = [(1 - level) / 2, (1 + level) / 2].map(
      (q) => Math.exp(centre + scale * interpolate(q, cal.levels, cal.quantiles)));
    return { value: Math.exp(centre), low, high, scale, reach: Math.max(far.n, far.d), centre, cell: cell.length };
  }

  function probability(target, said) {
    if (!(target > 0)) return 0;
    const error = (Math.log(target) - said.centre) / Math.max(said.scale, 1e-300);
    return interpolate(error, cal.quantiles, cal.levels);
  }

  return { loss, predict, probability, hasDoubt: facts.has_doubt };
}

// Gaussian elimination with pivots; the matrix is used up.
function solve(a, b) {
  const n = b.length, x = b.slice();
  for (let i = 0; i < n; i++) {
    let best = i;
    for (let r = i + 1; r < n; r++) if (Math.abs(a[r][i]) > Math.abs(a[best][i])) best = r;
    [a[i], a[best], x[i], x[best]] = [a[best], a[i], x[best], x[i]];
    for (let r = i + 1; r < n; r++) {
      const share = a[r][i] / a[i][i];
      for (let c = i; c < n; c++) a[r][c] -= share * a[i][c];
      x[r] -= share * x[i];
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let c = i + 1; c < n; c++) x[i] -= a[i][c] * x[c];
    x[i] /= a[i][i];
  }
  return x;
}

function roundingCost(format, nLinear, d) {
  return format.law ? format.law.k * d ** format.law.b / (nLinear ** format.law.a * (2 ** format.bits - 1) ** 2) : format.added;
}

function bytesOf(shape, format, context) {
  const [cache, compute, engine] = shape.at[context];
  const parts = { weights: shape.weights[format], repacked: shape.repacked[format], cache, compute, engine };
  parts.total = Object.values(parts).reduce((a, b) => a + b, 0);
  return parts;
}

// Tokens a second at the central figures of a device, and at their slow and fast ends.
function speedOf(shape, format, device) {
  const bytes = shape.read[format];
  const seconds = (t, l, b) => t + l * shape.layers + bytes / b;
  const [t, l, b] = [device.token_s, device.layer_s, device.bandwidth];
  return { value: 1 / seconds(t[0], l[0], b[0]), low: 1 / seconds(t[2], l[2], b[1]), high: 1 / seconds(t[1], l[1], b[2]) };
}

if (typeof module !== "undefined") module.exports = { number, dual, makeFit, bytesOf, speedOf, roundingCost };
