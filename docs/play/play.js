// The page: knobs, and what is shown of the schedules that they make.
import { lint, mean, short, value } from './schedule.js';
import { code, libraries } from './code.js';
import { KNOBS, MOST_RUNS, RECIPES, SETTINGS, first, read, schedules, write } from './state.js';

const COLORS = ['var(--one)', 'var(--two)', 'var(--three)', 'var(--four)'];
const DASHES = ['none', '9 4', '3 3', '12 4 3 4']; // for those who do not tell the colours apart
const table = await (await fetch('lint.json')).json();
let state;

const $ = id => document.getElementById(id);
const nameOf = i => `${i + 1}: ${state.runs[i].recipe}`;
const peakOf = tree => tree.product.operands[0];
const grouped = n => n.toLocaleString('en');

/** Set a text; the same text is left alone, so that it is not read aloud again. */
function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function element(tag, textContent, more = {}) {
  return Object.assign(document.createElement(tag), { textContent, ...more });
}

// --- the picture ---

const [LEFT, RIGHT, TOP, BOTTOM] = [70, 560, 15, 270]; // of the axes, in the picture's units
const POINTS = 1200;

function svg(tag, attributes, text = '') {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, x] of Object.entries(attributes)) made.setAttribute(name, x);
  made.textContent = text;
  return made;
}

const x = pos => LEFT + pos * (RIGHT - LEFT);
const y = share => BOTTOM - share * (BOTTOM - TOP);

function axes(highest) {
  const parts = [svg('path', { class: 'axis', d: `M${LEFT},${TOP}V${BOTTOM}H${RIGHT}` })];
  for (const share of [0, .5, 1]) {
    const left = { x: LEFT - 8, y: y(share) + 5, 'text-anchor': 'end' };
    const below = { x: x(share), y: BOTTOM + 22, 'text-anchor': 'middle' };
    parts.push(svg('text', left, short(share * highest)));
    parts.push(svg('text', below, grouped(Math.round(share * state.steps))));
  }
  parts.push(svg('text', { x: (LEFT + RIGHT) / 2, y: BOTTOM + 44, 'text-anchor': 'middle' }, 'step'));
  return parts;
}

function curve(tree, i, highest) {
  const at = k => `${x(k / POINTS).toFixed(1)},${y(value(tree, k / POINTS) / highest).toFixed(1)}`;
  const points = Array.from({ length: POINTS + 1 }, (_, k) => at(k));
  return svg('path', { d: `M${points.join('L')}`, stroke: COLORS[i], 'stroke-dasharray': DASHES[i] });
}

/** Names at the ends of the curves, each above the one before. */
function labels(trees, highest) {
  const ends = trees.map((tree, i) => [y(value(tree, 1) / highest) + 5, i]).sort((a, b) => b[0] - a[0]);
  let free = BOTTOM + 5;
  return ends.map(([end, i]) => {
    const height = Math.min(end, free);
    free = height - 22;
    return svg('text', { x: RIGHT + 8, y: height, style: `fill: ${COLORS[i]}` }, nameOf(i));
  });
}

function draw(trees) {
  const highest = Math.max(...trees.map(peakOf));
  const curves = trees.map((tree, i) => curve(tree, i, highest));
  $('chart').replaceChildren(...axes(highest), ...curves, ...labels(trees, highest));
  const what = trees.length === 1 ? 'one schedule' : `${trees.length} schedules`;
  say('title', `Learning rate of ${what} over ${grouped(state.steps)} steps`);
}

// --- the words ---

function row(texts) {
  const tr = document.createElement('tr');
  const [name, ...numbers] = texts;
  tr.append(element('th', name, { scope: 'row' }), ...numbers.map(text => element('td', text)));
  return tr;
}

function showNumbers(trees) {
  $('numbers').replaceChildren(...trees.map((tree, i) => {
    const [start, last] = [value(tree, 0), value(tree, (state.steps - 1) / state.steps)];
    return row([nameOf(i), ...[peakOf(tree), mean(tree, state.steps), start, last].map(x => short(x))]);
  }));
}

function showDoubts(trees) {
  const lines = trees.flatMap((tree, i) => lint(tree, state.steps, table).map(
    ({ severity, what, cure }) => `${nameOf(i)}: ${severity}: ${what}; ${cure}`));
  const texts = lines.length ? lines : ['Nothing is doubtful.'];
  const shown = [...$('doubts').children].map(item => item.textContent);
  if (texts.join('\n') !== shown.join('\n')) $('doubts').replaceChildren(...texts.map(t => element('li', t)));
}

function show() {
  const trees = schedules(state);
  draw(trees);
  showNumbers(trees);
  showDoubts(trees);
  say('code', code(trees[state.shown], state.library, state.steps));
  for (const [i, option] of [...$('shown').options].entries()) option.text = nameOf(i);
  for (const [i, input] of document.querySelectorAll('[name=peak]').entries()) showPeak(input, trees[i], i);
  say('said', '');
  history.replaceState(null, '', `#${write(state)}`);
}

/** The peak in its field, which is closed where the first schedule decides. */
function showPeak(input, tree, i) {
  input.disabled = i > 0 && state.match !== 'own';
  if (input.disabled || input.wasDisabled) input.value = peakOf(tree);
  input.wasDisabled = input.disabled;
  input.step = Number(`1e${Math.floor(Math.log10(peakOf(tree))) - 1}`); // for the arrow keys
}

// --- the knobs ---

/** Take what stands in a field, if it is right; say so where it is not. */
function take(field, readers, into) {
  const x = readers[field.name](field.value);
  field.setAttribute('aria-invalid', String(x === undefined));
  if (x === undefined) return;
  into[field.name] = x;
  showReading(field);
  show();
}

function showReading(field) {
  const reading = field.parentElement.querySelector('.reading');
  if (!reading) return;
  const share = field.name !== 'cycles';
  reading.textContent = share ? `${Math.round(100 * field.value)} %` : field.value;
  if (share) field.setAttribute('aria-valuetext', reading.textContent);
}

function makeCard(run, i) {
  const card = $('card').content.cloneNode(true).firstElementChild;
  card.querySelector('legend').textContent = `Schedule ${i + 1}`;
  card.querySelector('[name=recipe]').append(...Object.keys(RECIPES).map(recipe => new Option(recipe)));
  for (const field of card.querySelectorAll('select, input')) {
    field.value = run[field.name];
    showReading(field);
    field.addEventListener('input', () => take(field, KNOBS, run));
  }
  const remove = card.querySelector('[name=remove]');
  remove.disabled = state.runs.length === 1;
  remove.setAttribute('aria-label', `Remove schedule ${i + 1}`);
  remove.addEventListener('click', () => {
    state.runs.splice(i, 1);
    build();
    $('cards').children[Math.max(i - 1, 0)].querySelector('select').focus();
  });
  return card;
}

function build() {
  state.shown = Math.min(state.shown, state.runs.length - 1);
  $('cards').replaceChildren(...state.runs.map(makeCard));
  $('shown').replaceChildren(...state.runs.map((_, i) => new Option(nameOf(i), i)));
  for (const name of Object.keys(SETTINGS)) {
    $(name).value = state[name];
    $(name).setAttribute('aria-invalid', 'false');
  }
  $('add').disabled = state.runs.length === MOST_RUNS;
  show();
}

function open() {
  const [found, wrong] = read(location.hash.slice(1));
  state = found;
  build();
  if (wrong.length) say('said', `Left out of the address, because it could not be read: ${wrong.join(', ')}`);
}

async function copy(text, what, element) {
  try {
    await navigator.clipboard.writeText(text);
    say('said', `${what} is copied.`);
  } catch {
    getSelection().selectAllChildren(element);
    say('said', `${what} cannot be copied by this page: select and copy it by hand.`);
  }
}

$('library').append(...libraries.map(library => new Option(library)));
for (const name of Object.keys(SETTINGS)) {
  $(name).name = name;
  $(name).addEventListener('input', () => take($(name), SETTINGS, state));
}
$('add').addEventListener('click', () => {
  state.runs.push(first());
  build();
  $('cards').lastElementChild.querySelector('select').focus();
});
$('copy').addEventListener('click', () => copy($('code').textContent, 'The code', $('code')));
$('link').addEventListener('click', () => copy(location.href, 'The link', $('link')));
addEventListener('hashchange', open);
open();
