// Schedules as plain data, `{name: {field: value}}` as `Schedule.to_json` writes them:
// their values, and what is doubtful about them.

// --- values ---

const blend = (f, share) => f.start * share + f.end * (1 - share);

/** What each shape computes at `t`, progress from 0 to 1; the same formulas as in cosine_lr/. */
export const FORMULAS = {
  constant: (f, t) => f.value + 0 * t,
  linear: (f, t) => blend(f, 1 - t),
  cosine: (f, t) => blend(f, (1 + Math.cos(Math.PI * t)) / 2),
  polynomial: (f, t) => blend(f, (1 - t) ** f.power),
  exponential: (f, t) => f.start ** (1 - t) * f.end ** t,
  one_minus_sqrt: (f, t) => blend(f, 1 - Math.sqrt(t)),
  rex: (f, t) => blend(f, (1 - t) / (1 - t / 2)),
  k_decay: (f, t) => blend(f, (1 + Math.cos(Math.PI * t ** f.k)) / 2),
  power: (f, t) => blend(f, 1 - t ** f.k),
  tanh: (f, t) => blend(f, (1 - Math.tanh(f.low + (f.high - f.low) * t)) / 2),
  inverse_sqrt: (f, t) => (1 + f.scale * t) ** -.5,
  base: () => { throw new Error('base is the own value of an optimizer, which this page does not have'); },
  sum: (f, t) => f.operands.reduce((total, x) => total + formula(x, t), 0),
  product: (f, t) => f.operands.reduce((total, x) => total * formula(x, t), 1),
  join: (f, t) => {
    const edges = [0, ...f.at, 1];
    const i = f.at.filter(edge => edge <= t + 1e-12).length;
    return formula(f.scheds[i], Math.max((t - edges[i]) / (edges[i + 1] - edges[i]), 0));
  },
};

export const isTree = x => typeof x === 'object';
/** The one name in a tree, and its fields. */
export const only = tree => Object.entries(tree)[0];

function formula(tree, t) {
  if (!isTree(tree)) return tree;
  const [name, fields] = only(tree);
  if (!Object.hasOwn(FORMULAS, name)) throw new Error(`there is no shape called '${name}'`);
  return FORMULAS[name](fields, t);
}

/** The value at `pos`, progress from 0 to 1; held at its ends outside. */
export const value = (tree, pos) => formula(tree, Math.min(Math.max(pos, 0), 1));

const MOST = 10000; // steps to look at

/** `x` rounded to a whole number, a half to the even one. */
function whole(x) {
  const low = Math.floor(x);
  if (x - low !== .5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}

/** The values that a run of `total` steps sees, step k at k/total; of a long run, some of them, evenly. */
export function values(tree, total) {
  const n = Math.min(total, MOST);
  const apart = (total - 1) / Math.max(n - 1, 1);
  return Array.from({ length: n }, (_, k) => value(tree, Math.min(whole(k * apart), total - 1) / total));
}

const sum = numbers => numbers.reduce((a, b) => a + b, 0);
const most = numbers => numbers.reduce((a, b) => (b > a ? b : a));
const least = numbers => numbers.reduce((a, b) => (b < a ? b : a));

/** The mean value over the steps of a run. */
export function mean(tree, total) {
  const all = values(tree, total);
  return sum(all) / all.length;
}

// --- numbers as Python writes them ---

/** Is `x`, written with so many digits behind the point, exactly between two numbers? */
const tied = (x, digits) => /^50*$/.test(x.toFixed(60).split('.')[1].slice(digits));

/** `x` with so many digits behind the point; a tie goes to the even digit. */
function fixed(x, digits) {
  const text = (Object.is(x, -0) ? '-' : '') + x.toFixed(digits); // takes the larger of two
  if (!tied(x, digits) || Number(text.at(-1)) % 2 === 0) return text;
  const step = 10 ** -digits;
  return (x > 0 ? Number(text) - step : Number(text) + step).toFixed(digits);
}

/** `x` in at most so many digits: Python's `.3g`. */
export function short(x, digits = 3) {
  if (x === 0) return Object.is(x, -0) ? '-0' : '0';
  const power = Number(x.toExponential(digits - 1).split('e')[1]);
  if (power < -4 || power >= digits) {
    const [front, back] = x.toExponential(digits - 1).split('e').map(Number);
    return `${front}e${back < 0 ? '-' : '+'}${String(Math.abs(back)).padStart(2, '0')}`;
  }
  return String(Number(fixed(x, digits - 1 - power)));
}

const FORMATS = {
  '.0%': x => `${fixed(100 * x, 0)}%`,
  '.1%': x => `${fixed(100 * x, 1)}%`,
  '.3g': x => short(x),
  '': String,
};

const fill = (text, facts) =>
  text.replace(/\{(\w+):?([^}]*)\}/g, (_, name, format) => FORMATS[format](facts[name]));

// --- what is doubtful ---

/** Names of findings with their numbers, in the order of cosine_lr/view/lint.py. */
function* doubts(tree, total, jump) {
  const all = values(tree, total);
  const peak = most(all), end = value(tree, 1), last = all.at(-1);
  if (!all.every(Number.isFinite)) return yield ['not_finite', {}];
  if (peak <= 0) return yield ['never_above_0', { peak }];

  const zeros = all.filter(v => v === 0).length / all.length;
  if (all[0] === 0) yield ['first_at_0', {}];
  if (zeros > .1) yield ['many_at_0', { share: zeros }];
  if (least(all) < 0) yield ['below_0', { low: least(all) }];

  if (Math.abs(last - end) > .01 * peak) yield ['end_not_used', { last: last / peak, end: end / peak }];
  const flat = all.every(v => v === all[0]);
  if (!flat && all.indexOf(peak) === all.length - 1) yield ['climbs_to_the_end', {}];

  const steps = all.slice(1).map((v, k) => Math.abs(v - all[k]) / peak);
  const size = most([0, ...steps]);
  if (size > jump) yield ['jump', { size, step: steps.indexOf(size) + 1 }];
}

const SEVERITIES = ['serious', 'warning', 'note'];

/** Probable mistakes in a run of `total` steps, the most serious first: `{severity, what, cure}`.
    `table` is lint.json, which is made from cosine_lr/view/lint.py. */
export function lint(tree, total, table, jump = .2) {
  const found = [...doubts(tree, total, jump)].map(([name, facts]) => {
    const [severity, what, cure] = table[name];
    return { severity, what: fill(what, facts), cure };
  });
  return found.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}
