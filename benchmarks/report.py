"""report.md, its figures and the README's table, from report.json alone."""
import json
from pathlib import Path

import numpy as np
from cosine_lr.view.plot import label_lines, new_axes, png

from . import gpt
from .growth import CALLBACKS
from .loops import CONVOLUTIONS, HAND, PEERS
from .measure import exponent, quartiles, ratio
from .sweeps import FLEET, PRODUCTS, SCHEDULES, SEEDS

HERE = Path(__file__).parent
INDEX = HERE.parent/'nbs/index.ipynb'
CELL = 'peers' # of the index, written by `quote`
REDO = 'make bench'


def read(): return json.loads((HERE/'report.json').read_text()) if (HERE/'report.json').exists() else {}


# --- numbers as text ---

def amount(seconds):
    for unit, size in (('s', 1), ('ms', 1e-3), ('µs', 1e-6)):
        if seconds >= size: return f'{seconds/size:.3g} {unit}'
    return f'{seconds*1e9:.3g} ns'


def spread(low, mid, high): return f'{mid:.3g} [{low:.3g}, {high:.3g}]'


def table(head, rows):
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in (head, ['---']*len(head), *rows))


def timings(rows, to):
    "A line for each contestant: median time, ratio to the contestant `to`, and what the work came to"
    facts = [fact for fact in ('accuracy', 'steps') if any(fact in row['facts'] for row in rows.values())]
    lines = []
    for name, row in rows.items():
        low, mid, high = map(amount, quartiles(row['times']))
        known = [f"{row['facts'][fact]:.4g}" if fact in row['facts'] else '' for fact in facts]
        lines.append([name, f'{mid} [{low}, {high}]', spread(*ratio(rows, name)), len(row['times']), *known])
    return table(['', 'median [quartiles]', f'ratio to {to}', 'n', *facts], lines)


def by_width(widths):
    "A line for each width of the model: a fleet beside runs one by one"
    lines = []
    for width, rows in widths.items():
        alone = amount(quartiles(rows['one by one']['times'])[1])
        lines.append([width, alone, spread(*ratio(rows, 'fleet')), len(rows['fleet']['times'])])
    return table(['width', 'one by one, median', 'fleet / one by one', 'n'], lines)


# --- what should hold ---

def fleets(rows): return sorted({int(name.split(',')[0]) for name in rows if name != 'by hand'})


def best_fleet(growth):
    "The size at which a compiled step is nearest to its matrix products alone"
    rows = growth['fleet']
    return min(fleets(rows), key=lambda n: ratio(rows, f'{n}, compiled', f'{n}, products')[1])


def share(growth):
    "What of the compiled step at that size its matrix products take on their own"
    n = best_fleet(growth)
    return spread(*ratio(growth['fleet'], f'{n}, products', f'{n}, compiled'))


def claim(
    part, # of the report
    rows, # of the contestants
    name, # of ours
    to, # of the one that it is compared with
    bound, # of the ratio of their times
    rest=None, # a contestant that does the part of the work which is not ours to shorten
): # part, claim, bound, quartiles of the ratio, n, is the bound kept?, (median, name) of the rest
    low, mid, high = ratio(rows, name, to)
    not_ours = (ratio(rows, rest, to)[1], rest) if rest else None
    return part, f'{name} / {to}', bound, (low, mid, high), len(rows[name]['times']), mid <= bound, not_ours


def loop_claims(model, rows):
    part, convolutions = f'loop, {model}', CONVOLUTIONS if CONVOLUTIONS in rows else None
    yield claim(part, rows, 'Learner', HAND, 1.1)
    for to in ['by hand, DataLoader', *PEERS, *(f'{name}, loader in memory' for name in PEERS)]:
        yield claim(part, rows, 'Learner', to, 1.)
    yield claim(part, rows, 'Learner, compiled', HAND, .35, convolutions)


def gpt_claims(eager, compiled):
    yield claim('loop, GPT', eager, 'Learner', gpt.HAND, 1.03)
    for peer in gpt.PEERS:
        for to in (peer, f'{peer}, loader in memory'): yield claim('loop, GPT', eager, 'Learner', to, 1.)
    yield claim('loop, GPT', compiled, 'Learner, compiled', gpt.COMPILED, 1.02)


def sweep_claims(step, sweep):
    yield claim('fleet', step, f'fleet of {FLEET}', 'by hand', 1/14, PRODUCTS)
    yield claim('fleet', step, f'fleet of {FLEET}, compiled', 'by hand', 1/25, PRODUCTS)
    for to in ('fastai', 'Lightning', 'fastai, loader in memory', 'Lightning, loader in memory'):
        yield claim('sweep', sweep, 'fleet, compiled', to, 1/50)


def schedule_claims(value, million, step):
    yield claim('schedule, one step', value, 'cosine_lr', 'torch', 1.)
    yield claim('schedule, a million', million, 'cosine_lr, tensor', 'torch, written by hand', 1.)
    yield claim('schedule, a million', million, 'cosine_lr, tensor', 'torch, one by one', 1.)
    yield claim('step()', step, 'ScheduleLR, cosine', 'torch, CosineAnnealingLR', 1.)
    yield claim('step()', step, 'ScheduleLR, warm-up and cosine', 'torch, SequentialLR (warm-up, cosine)', 1.)


FINDERS = { # {peer: the most that the ratio may be}
    'torch-lr-finder': .6, 'torch-lr-finder, loader in memory': .6,
    'fastai': .25, 'fastai, loader in memory': .25,
}


def claims(report):
    "All claims of the report, as `claim` gives them"
    for model, rows in report.get('loops', {}).items(): yield from loop_claims(model, rows)
    if 'gpt' in report: yield from gpt_claims(report['gpt']['eager'], report['gpt']['compiled'])
    if 'sweeps' in report: yield from sweep_claims(report['sweeps']['step'], report['sweeps']['sweep'])
    if 'growth' in report:
        n = best_fleet(report['growth'])
        yield claim('fleet, at best', report['growth']['fleet'], f'{n}, compiled', f'{n}, products', 1/.6)
    if 'schedules' in report:
        yield from schedule_claims(*(report['schedules'][name] for name in ('value', 'million', 'step')))
    for rows in report.get('finders', {}).values():
        for to, bound in FINDERS.items():
            yield claim('finder', rows, 'lr_find, one sweep', to, bound, 'by hand')
    if 'footprint' in report: yield claim('import', report['footprint']['import'], 'cosine_lr', 'torch', 1.1)


def claims_table(report):
    lines = []
    for part, what, bound, measured, n, kept, rest in claims(report):
        not_ours = '{:.3g}: {}'.format(*rest) if rest else ''
        answer = 'yes' if kept else '**no**'
        lines.append([part, what, f'{bound:.3g}', spread(*measured), n, answer, not_ours])
    return table(['', 'ratio of times', 'at most', 'measured', 'n', 'kept', 'not ours to shorten'], lines)


# --- figures ---

def _points(rows, names): return np.array([quartiles(rows[name]['times']) for name in names]).T


def _line(ax, x, rows, names, label, scale=1e6):
    low, mid, high = scale*_points(rows, names)
    line, = ax.plot(x, mid, marker='o', ms=3, label=label)
    ax.fill_between(x, low, high, alpha=.2, lw=0, color=line.get_color())


def _law(x, y):
    if min(y) <= 0: return 'not resolved'
    slope, error = exponent(x, y)
    return f'{slope:.2f} ± {error:.2f}'


def _titled(ax, title):
    ax.set_title(title, loc='left', fontsize=10)
    return ax


def _size_figure(rows, xlabel):
    "The loop's own cost against the size of something"
    x, y = np.array(list(map(int, rows))), _points(rows, rows)[1]
    ax = new_axes(xlabel, "the loop's own µs a step")
    _line(ax, x, rows, rows, 'Learner')
    ax.set(xscale='log', ylim=(0, 1.5e6*y.max()))
    law = _law(x, y)
    return _titled(ax, f'exponent {law}'), (
        "The loop's own cost, the time of a step that is not spent in model, loss and optimizer, against the "
        f'{xlabel}: exponent {law}, from {amount(y[0])} to {amount(y[-1])}.')


def _callbacks_figure(rows):
    x, y = np.array([0, *CALLBACKS]), _points(rows, rows)[1]
    ax = new_axes('callbacks that look at each batch', "the loop's own µs a step")
    _line(ax, x, rows, rows, 'Learner')
    ax.set(ylim=(0, None))
    each, law = 1e6*np.polyfit(x, y, 1)[0], _law(x[3:], y[3:] - y[0])
    return _titled(ax, f'{each:.2g} µs a callback; exponent of what they add {law}'), (
        f'Against the number of further callbacks, each with two events a batch: {each:.2g} µs each; '
        f'exponent of what they add, from {x[3]} on, {law}.')


def _fleet_figure(growth):
    rows = growth['fleet']
    x = np.array(fleets(rows))
    ax, laws = new_axes('runs in the fleet', 'µs a step of one run', size=(5.2, 3.2)), {}
    ends = {'as it is': '', 'compiled': ', compiled', 'its matrix products alone': ', products'}
    for label, end in ends.items():
        names = [f'{n}{end}' for n in x]
        _line(ax, x, rows, names, label)
        laws[label] = _law(x, x*_points(rows, names)[1])
    hand = quartiles(rows['by hand']['times'])[1]*1e6
    ax.plot(x[[0, -1]], [hand, hand], '--', color='.5', label='by hand')
    ax.set(xscale='log', yscale='log')
    label_lines(ax)
    laws = f"{laws['as it is']}, compiled {laws['compiled']}"
    return _titled(ax, f'time for all runs: exponent {laws}'), (
        "A fleet's time for a step of one run, without validation, and that of its five matrix products "
        f'alone: at best, for a fleet of {best_fleet(growth)}, they are {share(growth)} of the compiled '
        f'step. Exponent of the time for all its runs: {laws} (1 would be no gain from size).')


def growth_figures(growth):
    "{name: (axes, the sentence under the figure)}"
    return dict(parameters=_size_figure(growth['parameters'], 'parameters of the model'),
                steps=_size_figure(growth['steps'], 'steps of the run'),
                callbacks=_callbacks_figure(growth['callbacks']), fleet=_fleet_figure(growth))


# --- the report ---

ON_LOOPS = (
    "One thread, processor's time. A step with its share of everything an epoch has, validation too; the "
    'first epoch, with set-up and compiling, is left out. Weights and batches\nare the same for all, so the '
    'accuracies are too. `Learner` runs with progress bar, metrics, recorder and schedule; the peers without '
    'progress bar, logger or checkpoints.\n"Loader in memory": the peer gets our loader, which cuts a batch '
    'from tensors at once, in place of a plain `DataLoader`.')
ON_FINDERS = 'One thread, processor\'s time; 140 steps, from the call to the end, what is put back included.'
ON_GPT = (
    f'A GPT of width {gpt.WIDTH}, {gpt.BS} windows of {gpt.CONTEXT} characters a step, AdamW, a cosine; '
    "one thread, processor's time for a step, without validation. By hand, what is compiled is the model "
    "and the optimizer's step.")
ON_WIDTHS = (
    f'{gpt.MEMBERS} runs of that model at several widths, in a fleet and one by one: the time of one core '
    'for a step of one run, with validation. A ratio below 1: the fleet is cheaper. Both ways, several '
    'cores can share the runs: each takes a process of its own.')
ON_SCHEDULES = 'One thread, processor\'s time. "One by one": 2000 measured, times 500.'
ON_SWEEPS = (
    'Two threads, time on the wall. A step of one run, first without, then with its share of validation; and '
    f'a sweep of {SCHEDULES} schedules × {SEEDS} seeds over 7 epochs, from the call to the results. The '
    'fleet\'s sweep is measured whole.\nOf the others, one run is measured (of Optuna, one trial: a '
    'schedule with all seeds), and multiplied: the whole would take them minutes to hours.')
ON_GROWTH = ('One thread; two for the fleet. Medians, with quartiles shaded. Model, loss and optimizer are '
             'left out for callbacks and steps.')
ON_FOOTPRINT = ("Packages: what `pip install` brings beside torch's own, itself included. Wheel: the "
                'installed files, zipped. Lines: of Python, blank ones and tests left out.')
KINDS = { # of schedules' timings: (heading, base)
    'value': ('One value', 'torch'), 'million': ('A million values', 'torch, written by hand'),
    'step': ("A scheduler's step", 'torch, CosineAnnealingLR'),
}


def blocks(report, folder): # `folder`: where the figures go, if anywhere
    "The blocks of the report's sections: headings, paragraphs, tables and figures"
    if 'loops' in report: yield from ('## Training loops', ON_LOOPS)
    for model, rows in report.get('loops', {}).items(): yield from (f'### {model}', timings(rows, HAND))
    if 'gpt' in report:
        yield from ('## A small language model', ON_GPT, timings(report['gpt']['eager'], gpt.HAND),
                    timings(report['gpt']['compiled'], gpt.COMPILED), ON_WIDTHS,
                    by_width(report['gpt']['widths']))
    for rows in report.get('finders', {}).values():
        yield from ('## Learning-rate finder', ON_FINDERS, timings(rows, 'by hand'))
    if 'schedules' in report:
        yield from ('## Schedules', ON_SCHEDULES)
        for name, (title, to) in KINDS.items():
            yield from (f'### {title}', timings(report['schedules'][name], to))
    if 'sweeps' in report:
        yield from ('## Sweeps', ON_SWEEPS)
        for name in ('step', 'validated', 'sweep'): yield timings(report['sweeps'][name], 'by hand')
        first = amount(report['sweeps']['first'])
        yield f'The first compiled sweep of a process, compiling included, took {first}.'
    if 'growth' in report:
        yield from ('## Growth', ON_GROWTH)
        for name, (ax, sentence) in growth_figures(report['growth']).items():
            image = png(ax)
            if folder: (folder/f'{name}.png').write_bytes(image)
            yield from (sentence, f'![{sentence}]({name}.png)')
    if 'footprint' in report:
        weights = [[name, f"{w['wheel_mb']:.2f}", w['packages'], w['lines']]
                   for name, w in report['footprint']['weight'].items()]
        yield from ('## Footprint', ON_FOOTPRINT, table(['', 'wheel, MB', 'packages', 'lines'], weights),
                    timings(report['footprint']['import'], 'torch'))


ABOUT = (f'Made by `{REDO}`. Contestants take turns in one process, in an order drawn anew each round, and '
         'after each turn the base of the comparison has one; a ratio is that of two such neighbours: median '
         '[quartiles] over n rounds. The line of the base itself shows how far two turns of the same work '
         'differ.')


def made(part, about):
    return (f"- {part}: {about['date']}, {about['machine']}, {about['cores']} cores, load "
            f"{about['load']:.1f}; {about['rounds']} rounds in {about['minutes']:.1f} min")


def text(report, folder=None):
    "The report; its figures are written to `folder`"
    parts = '\n'.join(made(part, about) for part, about in report['made'].items())
    versions = ', '.join(f'{name} {version}' for name, version in sorted(report['versions'].items()))
    head = ['# Beside its peers', ABOUT, parts, versions, '## What should hold', claims_table(report)]
    return '\n\n'.join([*head, *blocks(report, folder)]) + '\n'


def readme_table(report):
    "The README's section: ratios to the loop by hand"
    loops, about = report['loops'], report['made']['loops']
    models = {'mlp': 'MLP', 'cnn': 'small CNN'}
    minutes = sum(about['minutes'] for about in report['made'].values())
    names = ('Learner', 'Learner, compiled', 'by hand, DataLoader', *PEERS)
    rows = [[name, *(spread(*ratio(loops[model], name)) for model in loops)] for name in names]
    extras = []
    if 'sweeps' in report:
        def part(kind): return 1/ratio(report['sweeps'][kind], f'fleet of {FLEET}, compiled')[1]
        extras.append(f"A compiled fleet of {FLEET} takes 1/{part('step'):.0f} of the loop by hand for a "
                      f"step of one run, 1/{part('validated'):.0f} with validation.")
    if 'finders' in report:
        def beside(peer): return ratio(report['finders']['mlp'], 'lr_find, one sweep', peer)[1]
        extras.append(f"`lr_find` takes {beside('torch-lr-finder'):.2f} of torch-lr-finder's time and "
                      f"{beside('fastai'):.2f} of fastai's.")
    intro = ('CPU time per step, relative to a hand-written in-memory loop (= 1): digits, batch 64, '
             f"validation after each\nepoch, one thread; median [quartiles] of {about['rounds']} rounds.")
    end = (f"Measured on {about['date']} on {about['cores']} cores ({about['machine']}) by `{REDO}`, which "
           f"takes about {minutes:.0f} minutes and writes [the whole report](../benchmarks/report.md):\n"
           'which targets were met, sweeps, how costs grow, imports and packages.')
    rows = table(['', *(models[model] for model in loops)], rows)
    return '\n'.join(['## Beside its peers', intro, '', rows, '', *extras, end])


def quote(report, index=INDEX):
    "Write the table into the index"
    nb = json.loads(index.read_text(encoding='utf-8'))
    cell = next(cell for cell in nb['cells'] if cell['id'] == CELL)
    cell['source'] = readme_table(report).splitlines(keepends=True)
    index.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')


def write(report):
    (HERE/'report.json').write_text(json.dumps(report, indent=1) + '\n')
    (HERE/'report.md').write_text(text(report, HERE), encoding='utf-8')
    if 'loops' in report: quote(report)
