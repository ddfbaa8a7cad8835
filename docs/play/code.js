// A schedule as source code: for this package, and for others; the same texts as cosine_lr/view/translate.py.
import { isTree, only, short } from './schedule.js';

/** A number as Python writes it. */
export function num(x) {
  const [front, power] = x.toExponential().split('e');
  if (power >= -4 && power < 16) return String(x);
  return `${front}e${power < 0 ? '-' : '+'}${power.slice(1).padStart(2, '0')}`;
}

// --- this package ---

/** The fields of each shape, in the order of its parameters. */
export const FIELDS = {
  constant: ['value'], linear: ['start', 'end'], cosine: ['start', 'end'],
  polynomial: ['start', 'end', 'power'], exponential: ['start', 'end'],
  one_minus_sqrt: ['start', 'end'], rex: ['start', 'end'], k_decay: ['start', 'end', 'k'],
  power: ['start', 'end', 'k'],
  tanh: ['start', 'end', 'low', 'high'], inverse_sqrt: ['scale'],
};
const SIGNS = { sum: ' + ', product: ' * ' };
const MORE = ['one_minus_sqrt', 'rex', 'k_decay', 'power', 'tanh', 'inverse_sqrt']; // of cosine_lr.shapes

function operand(x) {
  const nested = isTree(x) && only(x)[0] in SIGNS;
  return nested ? `(${repr(x)})` : repr(x);
}

/** The code that makes a schedule. */
export function repr(tree) {
  if (!isTree(tree)) return num(tree);
  const [name, f] = only(tree);
  if (name in SIGNS) return f.operands.map(operand).join(SIGNS[name]);
  if (name === 'join') return `join([${f.scheds.map(repr).join(', ')}], at=[${f.at.map(num).join(', ')}])`;
  return `${name}(${FIELDS[name].map(field => num(f[field])).join(', ')})`;
}

function ours(tree, total) {
  const names = [...new Set(repr(tree).match(/[a-z]\w*(?=\()/g))].sort();
  const here = ['ScheduleLR', ...names.filter(name => !MORE.includes(name))];
  const more = names.filter(name => MORE.includes(name));
  const second = more.length ? `from cosine_lr.shapes import ${more.join(', ')}\n` : '';
  return `from cosine_lr import ${here.join(', ')}\n${second}\n`
    + `scheduler = ScheduleLR(optimizer, total_steps=${total}, lr=${repr(tree)})\n`;
}

// --- torch, which can say everything ---

const EXPRESSIONS = {
  constant: '{value}',
  linear: '{start} + ({end} - {start})*{t}',
  cosine: '{end} + ({start} - {end})*(1 + math.cos(math.pi*{t}))/2',
  polynomial: '{end} + ({start} - {end})*(1 - {t})**{power}',
  exponential: '{start}*({end}/{start})**{t}',
  inverse_sqrt: '(1 + {scale}*{t})**-.5',
  one_minus_sqrt: '{end} + ({start} - {end})*(1 - {t}**.5)',
  tanh: '{end} + ({start} - {end})*(1 - math.tanh({low} + ({high} - {low})*{t}))/2',
  k_decay: '{end} + ({start} - {end})*(1 + math.cos(math.pi*{t}**{k}))/2',
  power: '{end} + ({start} - {end})*(1 - {t}**{k})',
  rex: '{end} + ({start} - {end})*(1 - {t})/(1 - {t}/2)',
};

/** A schedule as a Python expression in `t`. */
function expression(tree, t = 't') {
  if (!isTree(tree)) return num(tree);
  const [name, f] = only(tree);
  if (name in SIGNS) return f.operands.map(x => `(${expression(x, t)})`).join(SIGNS[name]);
  if (name === 'join') return conditional(f.scheds, [0, ...f.at, 1], t);
  return EXPRESSIONS[name].replace(/\{(\w+)\}/g, (_, field) => field === 't' ? t : num(f[field]));
}

function conditional(trees, edges, t) {
  const parts = trees.map((tree, i) => {
    const [lo, hi] = [num(edges[i]), num(edges[i + 1])];
    const part = `(${expression(tree, `max((${t} - ${lo})/(${hi} - ${lo}), 0.)`)})`;
    return i < trees.length - 1 ? `${part} if ${t} + 1e-12 < ${hi}` : part;
  });
  return parts.join(' else ');
}

const torch = (tree, total) => `import math
from torch.optim.lr_scheduler import LambdaLR

def value(step):
    t = min(step/${total}, 1.)
    return ${expression(tree)}

for group in optimizer.param_groups: group['lr'] = 1.  # \`value\` is absolute
scheduler = LambdaLR(optimizer, value)
`;

// --- others, which can say simple pieces, one after the other ---

class NoWords extends Error {}

const SIMPLE = ['constant', 'linear', 'cosine', 'polynomial', 'exponential'];

/** The schedule from `lo` to `hi` of the run as a list of {name, steps, start, end, power}. */
function pieces(tree, total, lo = 0, hi = 1, scale = 1) {
  const [name, f] = only(tree);
  if (name === 'join') {
    const edges = [0, ...f.at, 1].map(x => lo + (hi - lo) * x);
    return f.scheds.flatMap((sched, i) => pieces(sched, total, edges[i], edges[i + 1], scale));
  }
  if (name === 'product') {
    const scheds = f.operands.filter(isTree);
    if (scheds.length > 1) throw new NoWords('a product of two schedules');
    const factor = f.operands.filter(x => !isTree(x)).reduce((a, b) => a * b, scale);
    return pieces(scheds[0], total, lo, hi, factor);
  }
  if (name === 'sum') throw new NoWords('a sum');
  if (!SIMPLE.includes(name)) throw new NoWords(`the shape '${name}'`);
  const steps = (hi - lo) * total;
  if (Math.abs(steps - Math.round(steps)) > 1e-6 || Math.round(steps) < 1) {
    throw new NoWords(`a piece of ${short(steps, 6)} steps, not a whole number`);
  }
  const [start, end] = [f.start ?? f.value, f.end ?? f.value];
  return [{ name, steps: Math.round(steps), start: scale * start, end: scale * end, power: f.power ?? 1 }];
}

function optaxCall({ name, steps, start, end, power }) {
  const [first, last] = [num(start), num(end)];
  if (name === 'constant') return `optax.constant_schedule(${first})`;
  if (name === 'linear') return `optax.linear_schedule(${first}, ${last}, ${steps})`;
  if (name === 'polynomial') return `optax.polynomial_schedule(${first}, ${last}, ${num(power)}, ${steps})`;
  if (start === 0) throw new NoWords(`a curve, ${name}, that starts at 0`);
  if (name === 'exponential') return `optax.exponential_decay(${first}, ${steps}, ${num(end / start)})`;
  return `optax.cosine_decay_schedule(${first}, ${steps}, alpha=${num(end / start)})`;
}

function optax(tree, total) {
  const all = pieces(tree, total);
  const calls = all.map(optaxCall);
  if (calls.length === 1) return `import optax\n\nschedule = ${calls[0]}\n`;
  let steps = 0;
  const starts = all.slice(0, -1).map(piece => steps += piece.steps);
  const list = `[\n    ${calls.join(',\n    ')}\n]`;
  return `import optax\n\nschedule = optax.join_schedules(${list}, boundaries=[${starts.join(', ')}])\n`;
}

const near = (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));

/** The warm-up, a piece of no steps if there is none; the names of what follows; the pieces that follow. */
function warmupDecay(tree, total) {
  const all = pieces(tree, total);
  all.slice(1).forEach(({ start }, i) => {
    const { end } = all[i];
    if (!near(end, start)) throw new NoWords(`a jump, from ${short(end, 6)} to ${short(start, 6)}`);
  });
  const climbs = all.length > 1 && all[0].name === 'linear' && all[0].end > all[0].start;
  const warmup = climbs ? all.shift() : { steps: 0, start: 0, end: 0 };
  if (all[0].start === 0) throw new NoWords(`a curve, ${all[0].name}, that starts at 0`);
  return [warmup, all.map(piece => piece.name).join(' '), all];
}

function transformersCall(names, total, warmup, first, last) {
  const warm = warmup.steps, held = ['constant linear', 'constant cosine'].includes(names);
  const floor = warm && held ? last.end : 0; // wsd_schedule keeps the warm-up above it too
  if (warmup.start && !floor) throw new NoWords('a warm-up that starts above 0');
  if (!near(warmup.start, floor)) {
    throw new NoWords(`an end at ${short(floor, 6)} without a warm-up that starts there`);
  }
  if (names === 'constant') return ['constant_schedule_with_warmup', `${warm}`];
  if (['cosine', 'linear'].includes(names) && last.end === 0) {
    return [`${names}_schedule_with_warmup`, `${warm}, ${total}`];
  }
  if (names === 'polynomial') {
    const how = `lr_end=${num(last.end)}, power=${num(first.power)}`;
    return ['polynomial_decay_schedule_with_warmup', `${warm}, ${total}, ${how}`];
  }
  if (held) {
    const how = `decay_type='${last.name}', min_lr_ratio=${num(last.end / first.start)}`;
    return ['wsd_schedule', `${warm}, ${last.steps}, num_stable_steps=${first.steps}, ${how}`];
  }
  throw new NoWords(`a warm-up followed by ${names} down to ${num(last.end)}`);
}

function transformers(tree, total) {
  const [warmup, names, all] = warmupDecay(tree, total);
  const [name, options] = transformersCall(names, total, warmup, all[0], all.at(-1));
  return `from transformers import get_${name}\n\n# with an optimizer whose lr is ${num(all[0].start)}\n`
    + `scheduler = get_${name}(optimizer, ${options})\n`;
}

function kerasCall(names, warmup, first, last) {
  const [peak, end, ratio] = [num(first.start), num(last.end), num(last.end / first.start)];
  if (warmup.steps && names !== 'cosine') throw new NoWords(`a warm-up followed by ${names}`);
  if (warmup.steps) {
    const how = `warmup_target=${peak}, warmup_steps=${warmup.steps}`;
    return `CosineDecay(${num(warmup.start)}, ${last.steps}, alpha=${ratio}, ${how})`;
  }
  if (names === 'cosine') return `CosineDecay(${peak}, ${last.steps}, alpha=${ratio})`;
  if (names === 'exponential') return `ExponentialDecay(${peak}, ${last.steps}, ${ratio})`;
  if (['linear', 'polynomial'].includes(names)) {
    return `PolynomialDecay(${peak}, ${last.steps}, end_learning_rate=${end}, power=${num(first.power)})`;
  }
  throw new NoWords(names);
}

function keras(tree, total) {
  const [warmup, names, all] = warmupDecay(tree, total);
  const call = kerasCall(names, warmup, all[0], all.at(-1));
  return `import keras\n\nlearning_rate = keras.optimizers.schedules.${call}\n`;
}

const LIBRARIES = { cosine_lr: ours, torch, optax, transformers, keras };
export const libraries = Object.keys(LIBRARIES);

/** Source code that makes the schedule in a library, or a comment: what the library has no words for. */
export function code(tree, library, total) {
  try { return LIBRARIES[library](tree, total); }
  catch (e) {
    if (!(e instanceof NoWords)) throw e;
    const cure = "in torch, use sched.to('torch', …) or ScheduleLR";
    return `# ${library} has no words for ${e.message}; ${cure}\n`;
  }
}
