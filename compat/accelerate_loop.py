"""One process of an Accelerate loop: trains with the scheduler in one of three ways, and writes the rates.

Accelerate's wrapper steps a scheduler that it prepared once *per process* at each optimizer step. So that the
learning rate is not stepped twice in two processes: keep the scheduler out of `prepare` ("raw"), or say
`step_scheduler_with_optimizer=False` ("unlinked"), or plan for `num_processes` times the steps ("longer").
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from common import net, plan, problem, sgd, witness
from torch.utils.data import DataLoader, TensorDataset

mode, out = sys.argv[1:]
torch.manual_seed(0)
accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=mode != 'unlinked')
assert accelerator.num_processes == 2
model, loader = net(), DataLoader(TensorDataset(*problem()), 4)
opt = sgd(model)
used = witness(opt)
steps = 4 * len(loader)//2                                 # four epochs, each process has half of the batches
sched = plan(opt, steps*accelerator.num_processes if mode == 'longer' else steps)
model, opt, loader = accelerator.prepare(model, opt, loader)
if mode != 'raw': sched = accelerator.prepare(sched)
for _ in range(4):
    for x, y in loader:
        accelerator.backward(F.cross_entropy(model(x), y))
        opt.step()
        sched.step()
        opt.zero_grad()
with open(f'{out}.{accelerator.process_index}', 'w', encoding='utf-8') as file:
    json.dump([steps, *used], file)
accelerator.wait_for_everyone()
os._exit(0)                                           # gloo's threads can abort an interpreter on its way out
