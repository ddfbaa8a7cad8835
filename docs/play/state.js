// What the page shows, as plain data: which schedules, how long a run, how they are compared. It is stored in
// the address, and an address may come from anyone: each value is checked, and what is wrong is left out.
import { mean } from './schedule.js';
import { libraries } from './code.js';

// --- from knobs to a schedule ---

const linear = (start, end) => ({ linear: { start, end } });
const cosine = (start, end) => ({ cosine: { start, end } });
const constant = () => ({ constant: { value: 1 } });
const join = (scheds, at) => ({ join: { scheds, at } });

/** {name: [the climb's shape, the decay from 1 to `low`]}, as in cosine_lr/view/explorer.py */
export const RECIPES = {
  cosine: [linear, low => cosine(1, low)],
  linear: [linear, low => linear(1, low)],
  wsd: [linear, low => join([constant(), linear(1, low)], [.8])],
  flat_cos: [linear, low => join([constant(), cosine(1, low)], [.75])],
  one_cycle: [cosine, low => cosine(1, low)],
  constant: [linear, () => constant()],
};

/** The schedule that a setting of the knobs stands for; `dial` in Python. */
export function dial({ recipe, peak, warm, floor, cycles }) {
  const [climb, decay] = RECIPES[recipe];
  let sched = decay(floor);
  const starts = Array.from({ length: cycles - 1 }, (_, i) => (i + 1) / cycles);
  if (cycles > 1) sched = join(Array(cycles).fill(sched), starts);
  if (warm) sched = join([climb(floor, 1), sched], [warm]);
  return { product: { operands: [peak, sched] } };
}

// --- what may stand in the address ---

const MATCHES = ['own', 'peak', 'mean'];
export const MOST_RUNS = 4;

const one = names => text => (names.includes(text) ? text : undefined);
const number = fits => text => {
  const x = text.trim() === '' ? NaN : Number(text);
  return Number.isFinite(x) && fits(x) ? x : undefined;
};
const between = (low, high) => number(x => x >= low && x <= high);
const whole = (low, high) => number(x => Number.isInteger(x) && x >= low && x <= high);

/** How the text of each value is read; undefined where it is none. */
export const KNOBS = {
  recipe: one(Object.keys(RECIPES)),
  peak: number(x => x >= 1e-12 && x <= 1e6),
  warm: between(0, .5),
  floor: between(0, 1),
  cycles: whole(1, 8),
};
export const SETTINGS = {
  steps: whole(2, 1e7),
  match: one(MATCHES),
  library: one(libraries),
  shown: whole(0, MOST_RUNS - 1),
};

const COSINE = { recipe: 'cosine', peak: .1, warm: .05, floor: 0, cycles: 1 };
export const first = () => ({ ...COSINE });
const start = () => ({
  steps: 1000, match: 'own', library: 'cosine_lr', shown: 0,
  runs: [first(), { ...first(), recipe: 'constant', warm: 0 }],
});

/** The state as it stands behind the # of the address. */
export function write({ runs, ...settings }) {
  const pairs = Object.keys(SETTINGS).map(name => [name, settings[name]]);
  const scheds = runs.map(run => ['schedule', Object.keys(KNOBS).map(name => run[name]).join(' ')]);
  return new URLSearchParams([...pairs, ...scheds]).toString();
}

function readRun(text) {
  const words = text.split(' '), names = Object.keys(KNOBS);
  const run = Object.fromEntries(names.map((name, i) => [name, KNOBS[name](words[i] ?? '')]));
  const fine = words.length === names.length && names.every(name => run[name] !== undefined);
  return fine ? run : undefined;
}

/** [the state that an address holds, the parts of it that could not be read]. */
export function read(hash) {
  const state = start(), runs = [], wrong = [];
  for (const [name, text] of new URLSearchParams(hash.slice(0, 2000))) {
    const part = `${name}=${text.slice(0, 60)}`;
    if (name === 'schedule') {
      const run = runs.length < MOST_RUNS ? readRun(text) : undefined;
      if (run) runs.push(run); else wrong.push(part);
    } else {
      const x = Object.hasOwn(SETTINGS, name) ? SETTINGS[name](text) : undefined;
      if (x === undefined) wrong.push(part); else state[name] = x;
    }
  }
  if (runs.length) state.runs = runs;
  state.shown = Math.min(state.shown, state.runs.length - 1);
  return [state, wrong];
}

// --- comparison ---

/** The schedules as they are compared: each at its own peak, or all at the first one's peak or mean rate. */
export function schedules({ runs, match, steps }) {
  const own = dial(runs[0]);
  const meanAt1 = run => mean(dial({ ...run, peak: 1 }), steps);
  const peaks = {
    own: run => run.peak,
    peak: () => runs[0].peak,
    mean: run => Number((mean(own, steps) / meanAt1(run)).toPrecision(6)),
  };
  return [own, ...runs.slice(1).map(run => dial({ ...run, peak: peaks[match](run) }))];
}
