"""One process of a run with AccelerateCB: trains the digits, writes what it saw, may be killed on the way."""
import argparse
import json
import os
import signal
from functools import partial

import torch
import torch.nn.functional as F
from cosine_lr import Accuracy, Callback, CheckpointCB, Learner, MetricsCB, RecorderCB, ScheduleCB
from cosine_lr import cosine, digits_dls
from cosine_lr.run import AccelerateCB, GradAccumCB
from torch import nn


class KillAt(Callback):
    order = 100
    def __init__(self, step): self.at = step
    def after_step(self, learn):
        rank = int(os.environ.get('RANK', 0))
        if learn.steps == self.at and rank == 1: os.kill(os.getpid(), signal.SIGKILL)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('out')
parser.add_argument('--folder', help='for checkpoints')
parser.add_argument('--kill', type=int, default=0, help='process 1 dies after this step')
parser.add_argument('--group', type=int, default=1, help='batches a step')
args = parser.parse_args()
torch.manual_seed(0)
dls = digits_dls(bs=63)                     # 63 rows for two processes; the last batch of an epoch has 7
many = AccelerateCB(cpu=True)
rec, scores = RecorderCB(), MetricsCB(Accuracy())
cbs = [rec, scores, ScheduleCB(lr=.5*cosine()), many]
if args.folder: cbs.append(CheckpointCB(args.folder, every=5, best=('accuracy', max)))
if args.kill: cbs.append(KillAt(args.kill))
if args.group > 1: cbs.append(GradAccumCB(args.group))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
learn = Learner(model, dls, F.cross_entropy, opt_func=partial(torch.optim.SGD, momentum=.9))
learn.fit(3, cbs=cbs)
seen = dict(processes=many.engine.num_processes, loss=rec['loss'].tolist(), lr=rec['lr'].tolist(),
            rows=scores.rows, step=learn.steps, weights=[p.tolist() for p in learn.model.parameters()])
with open(f'{args.out}.{many.engine.process_index}', 'w', encoding='utf-8') as file: json.dump(seen, file)
many.engine.wait_for_everyone()
os._exit(0)                                           # gloo's threads can abort an interpreter on its way out
