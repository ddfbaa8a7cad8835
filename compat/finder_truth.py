"""The best constant rate of 24 tasks, found by full runs, and what our finder and its peers suggest for them.

    .venv-compat/bin/python compat/finder_truth.py        (after `make compat`; some minutes)

The tasks are those of nbs/lab/probe.ipynb, which reads the results from finder_truth.json beside it.
"""
import contextlib
import io
import json
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np
import torch
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch_lr_finder import LRFinder

from cosine_lr import lr_find

PROBE = Path(__file__).resolve().parent.parent/'nbs/lab/probe.ipynb'
SEEDS, FULL_RUNS = range(5), 20 # for the suggestions; for each rate of the grid
PEERS = ('torch', 'fastai', 'torch-lr-finder')
FASTAI = dict(valley=valley, slide=slide, minimum=minimum, steep=steep)


def tasks():
    "What the notebook's cells define."
    cells = json.loads(PROBE.read_text(encoding='utf-8'))['cells']
    sources = {cell['id']: ''.join(cell['source']) for cell in cells}
    scope = {}
    names = ('imports', 'test-imports', 'tasks')
    exec('\n'.join(['from cosine_lr.lab.probe import lr_probe', *(sources[name] for name in names)]), scope)
    return scope


def short(x, digits=4):
    "A number in few digits; None for what is none, or not finite."
    return None if x is None or not np.isfinite(x) else float(f'{x:.{digits}g}')


def median(rates):
    "Of those that a rule found."
    found = rates[np.isfinite(rates)]
    return np.median(found) if len(found) else None


def ours(learn):
    found = lr_find(learn)
    rules = {rule: short(median(rates)) for rule, rates in found.rules.items()}
    return dict(value=short(found.suggestion), low=short(found.low), high=short(found.high),
                reason=found.reason, rules=rules)


def fastai(task, learn):
    with tempfile.TemporaryDirectory() as folder:
        dls = DataLoaders(learn.dls.train, learn.dls.valid)
        opt_func = partial(OptimWrapper, opt=task['opt_func'])
        theirs = Learner(dls, learn.model, loss_func=task['loss_func'], path=folder, opt_func=opt_func)
        with theirs.no_bar(): found = theirs.lr_find(show_plot=False, suggest_funcs=tuple(FASTAI.values()))
    return {f'fastai {name}': short(lr) for name, lr in zip(FASTAI, found)}


def torch_lr_finder(task, learn):
    "As in its README: from the optimizer's own rate, here 1e-7, to 100"
    opt = task['opt_func'](learn.model.parameters(), lr=1e-7)
    finder = LRFinder(learn.model, opt, task['loss_func'], device='cpu')
    finder.range_test(learn.dls.train, end_lr=100, num_iter=100)
    _, suggestion = finder.plot(ax=matplotlib.figure.Figure().subplots(), suggest_lr=True)
    return short(suggestion)


def suggestions(scope, name, seed):
    "Each finder meets the same new model and loader"
    task, fresh = scope['task'](name), partial(scope['learner'], name, seed)
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        return {'ours': ours(fresh()), **fastai(task, fresh()),
                'torch-lr-finder': torch_lr_finder(task, fresh())}


def of_task(scope, name, half):
    "Losses of full runs at each rate of the grid, and what each finder suggests with each seed."
    losses = scope['truth'](name, scope['GRID'], FULL_RUNS).losses
    rows = [suggestions(scope, name, seed) for seed in SEEDS]
    mean = np.where(np.isfinite(losses).all(1), losses.mean(1), np.inf)
    print(f"{name:30} best {scope['GRID'][mean.argmin()]:.3g}, ours {rows[0]['ours']['value']}", flush=True)
    return dict(half=half, losses=[[short(x, 5) for x in row] for row in losses],
                suggestions={finder: [row[finder] for row in rows] for finder in rows[0]})


def main():
    torch.set_num_threads(1)
    matplotlib.use('agg')
    scope = tasks()
    found = {name: of_task(scope, name, half)
             for half in ('TO_LOOK_AT', 'TO_REPORT') for name in scope['names'](scope[half])}
    result = dict(versions={name: version(name) for name in PEERS},
                  grid=[short(lr, 6) for lr in scope['GRID']], tasks=found)
    text = json.dumps(result, separators=(',', ':')).replace('"losses"', '\n"losses"')
    PROBE.with_name('finder_truth.json').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__': main()
